/** What can be seen of compiling without the runtime that goes into a binary. */
import assert from "node:assert/strict";
import { compileArguments, excludedFolders, PROGRAMS, TARGETS } from "./compile_arguments.ts";

const root = new URL("../", import.meta.url);

Deno.test("binaries have the permissions of their program, its files, and the commit", async () => {
  const { permissions } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  for (const program of PROGRAMS) {
    const { args, output } = compileArguments(program, "x86_64-pc-windows-msvc", ["/unwanted"]);
    assert.equal(output, `bin/rmb-${program.name}-x86_64-pc-windows-msvc.exe`);
    assert.ok(args.includes(`-P=${program.name}`) && permissions[program.name]);
    assert.ok(args.join(" ").includes("--include bin/commit.txt"));
    assert.ok(args.join(" ").includes("--exclude /unwanted"));
    for (const file of program.include) await Deno.stat(new URL(file, root));
    assert.equal(args.at(-1), `${program.name}/mod.ts`);
  }
  const names = TARGETS.flatMap((target) =>
    PROGRAMS.map((program) => compileArguments(program, target, []).output)
  );
  assert.equal(new Set(names).size, 10);
});

Deno.test("compiling for what there is not is wrong usage", async () => {
  for (const args of [["--target", "pdp11"], ["--target"], ["--most"]]) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-P=test", "tests/compile.ts", ...args],
      cwd: root,
    }).output();
    assert.equal(code, 2);
    assert.match(new TextDecoder().decode(stderr), /Cannot compile for ".+": there are\nx86_64-/);
  }
});

Deno.test({
  name: "binaries have what the programs need, and no package that only tests need",
  ignore: Deno.build.os !== "linux", // Where any executable can take the place of the runtime.
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
      const { npmCache } = JSON.parse(new TextDecoder().decode(info.stdout));
      await Deno.mkdir(new URL("bin/", root), { recursive: true });
      await Deno.writeTextFile(new URL("bin/commit.txt", root), "unknown");
      for (const program of PROGRAMS) {
        const { args, output } = compileArguments(
          program,
          undefined,
          await excludedFolders(npmCache),
        );
        const { success, stderr } = await new Deno.Command(Deno.execPath(), {
          args: args.filter((arg) => arg !== "--quiet")
            .map((arg) => arg === output ? `${folder}/${program.name}` : arg),
          cwd: root,
          env: { DENORT_BIN: "/bin/true", NO_COLOR: "1" },
        }).output();
        const text = new TextDecoder().decode(stderr);
        assert.ok(success, text);
        assert.match(text, /commit\.txt|bin\/\*/); // A folder of one file is listed as all of it.
        for (const file of program.include) {
          assert.ok(text.includes(file.split("/").at(-1)!), `${file} is not in\n${text}`);
        }
        assert.doesNotMatch(text, /\b(buf-linux|playwright-core|typescript|fast-check)\b/);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("binaries can be compiled where the runtime can be had", async (t) => {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-P=test", "tests/compile.ts"],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) {
    assert.match(new TextDecoder().decode(stderr), /Setting up base binary/); // And nothing else.
    assert.match(new TextDecoder().decode(stderr), /set DENORT_BIN to a denort binary of Deno \d/);
    console.log("no runtime to compile with can be had here: binaries are not tested");
    return;
  }
  assert.match(new TextDecoder().decode(stdout), /bin\/rmb-relay\S* is compiled/);
  for (const { name } of PROGRAMS) {
    await t.step(`rmb-${name} runs`, async () => {
      const { output } = compileArguments({ name, include: [] }, undefined, []);
      const command = new Deno.Command(new URL(output, root).pathname, { args: ["--version"] });
      const version = new TextDecoder().decode((await command.output()).stdout);
      assert.match(version, /^\d+\.\d+\.\d+ \([0-9a-f]{12}(, changed)?\)\n$/);
    });
  }
});
