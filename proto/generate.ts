/**
 * Generates the TypeScript of the protobuf messages, each file into the package that speaks it.
 * With `--check` it writes nothing and fails if a generated file is not what would be generated.
 *
 *     deno task generate [--check]
 */

/** Which .proto file goes into which folder. */
const TARGETS = [
  { proto: "types.proto", folder: "protocol/gen" },
  { proto: "peer.proto", folder: "peer/gen" },
];

/** The generators, which nothing else needs: so they are named here, not in deno.json. */
const BUF = "npm:@bufbuild/buf@1.74.0";
const PROTOC_GEN_ES = "npm:@bufbuild/protoc-gen-es@2.17.0";

const root = new URL("../", import.meta.url);

/** Runs buf on one .proto file, writing below `out`. */
async function generate(proto: string, out: string): Promise<void> {
  const template = {
    version: "v2",
    plugins: [{
      local: [Deno.execPath(), "run", "-A", PROTOC_GEN_ES],
      out,
      opt: ["target=ts"],
    }],
  };
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", BUF, "generate", "--path", proto]
      .concat("--template", JSON.stringify(template)),
    cwd: new URL("proto/", root),
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`buf could not generate "${proto}"`);
}

/**
 * Has message types name themselves where they would refer to the library's type: what our packages
 * publish is documented here, theirs is not.
 */
function standAlone(code: string): string {
  return code
    .replaceAll(
      /Message<"([\w.]+)"> & \{/g,
      '{\n  /** The message\'s full name. */\n  readonly $typeName: "$1";\n',
    )
    .replace('import type { Message } from "@bufbuild/protobuf";\n', "");
}

const check = Deno.args.includes("--check");
const scratch = await Deno.makeTempDir({ prefix: "rmb-generate-" });
let stale = 0;
try {
  for (const { proto, folder } of TARGETS) {
    await generate(proto, scratch);
    const name = proto.replace(".proto", "_pb.ts");
    const fresh = standAlone(await Deno.readTextFile(`${scratch}/${name}`));
    const target = new URL(`${folder}/${name}`, root);
    if (check) {
      const current = await Deno.readTextFile(target).catch(() => "");
      if (current === fresh) continue;
      console.error(`${folder}/${name} is stale: run "deno task generate"`);
      stale++;
    } else {
      await Deno.mkdir(new URL(".", target), { recursive: true });
      await Deno.writeTextFile(target, fresh);
      console.log(`${folder}/${name}`);
    }
  }
} finally {
  await Deno.remove(scratch, { recursive: true });
}
if (stale > 0) Deno.exit(1);
