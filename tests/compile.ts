/**
 * Compiles the programs into bin/, with the permissions that deno.json names for them, and writes their
 * checksums beside them.
 *
 *     deno task compile                        for this machine
 *     deno task compile --all                  for all platforms
 *     deno task compile --target TARGET…       for some of them
 *
 * Deno downloads the runtime that goes into a binary; where it can't, DENORT_BIN may name one.
 */
import { createHash } from "node:crypto";
import { compileArguments, excludedFolders, PROGRAMS, TARGETS } from "./compile_arguments.ts";

const root = new URL("../", import.meta.url);
const [option, ...values] = Deno.args;
const targets = option === "--all" ? TARGETS : option === "--target" ? values : [undefined];
const unknown = targets.filter((target) => target !== undefined && !TARGETS.includes(target));
if (
  (option !== undefined && !/^--(all|target)$/.test(option)) || unknown.length > 0 ||
  targets.length === 0
) {
  console.error(
    `Cannot compile for "${unknown.join(" ") || option}": there are\n${TARGETS.join("\n")}`,
  );
  Deno.exit(2);
}

/** What `--version` says beside the version; "unknown" outside a checkout. */
async function commit(): Promise<string> {
  try {
    const git = (...args: string[]) => new Deno.Command("git", { args, cwd: root }).output();
    const [head, changes] = await Promise.all([
      git("rev-parse", "--short=12", "HEAD"),
      git("status", "--porcelain"),
    ]);
    if (!head.success) return "unknown";
    const text = new TextDecoder().decode(head.stdout).trim();
    return changes.stdout.length > 0 ? `${text}, changed` : text;
  } catch {
    return "unknown";
  }
}

const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
const excluded = await excludedFolders(JSON.parse(new TextDecoder().decode(info.stdout)).npmCache);

await Deno.mkdir(new URL("bin/", root), { recursive: true });
await Deno.writeTextFile(new URL("bin/commit.txt", root), await commit());
let failed = false;
const sums: string[] = [];
for (const target of targets) {
  for (const program of PROGRAMS) {
    const { args, output } = compileArguments(program, target, excluded);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: root,
      stdin: "null",
    }).output();
    if (!success) Deno.stderr.writeSync(stderr);
    console.log(success ? `${output} is compiled` : `${output} could not be compiled`);
    failed ||= !success;
    if (!success) continue;
    const hash = createHash("sha256").update(await Deno.readFile(new URL(output, root)));
    sums.push(`${hash.digest("hex")}  ${output.slice("bin/".length)}\n`);
  }
}
await Deno.writeTextFile(new URL("bin/SHA256SUMS", root), sums.join(""));
if (failed) {
  console.error(
    "If it was the runtime that could not be downloaded: set DENORT_BIN to a denort binary of " +
      `Deno ${Deno.version.deno}, from its release page`,
  );
  Deno.exit(1);
}
