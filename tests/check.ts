/**
 * All that `deno task check` checks. Prints a line for each check, and the output of those that fail.
 *
 *     deno task check
 */
const deno = Deno.execPath();
const packages = ["protocol", "relay", "peer"];
const documents = [
  "README.md",
  ...packages.map((name) => `${name}/README.md`),
  ...[...Deno.readDirSync("docs")]
    .filter(({ name }) => name.endsWith(".md"))
    .map(({ name }) => `docs/${name}`),
];

/** Entry points of the packages, whose every public symbol must be documented. */
async function entryPoints(): Promise<string[]> {
  const files: string[] = [];
  for (const name of packages) {
    const { exports } = JSON.parse(await Deno.readTextFile(`${name}/deno.json`));
    const paths = typeof exports === "string" ? [exports] : Object.values<string>(exports);
    files.push(...paths.map((path) => `${name}/${path.slice(2)}`));
  }
  return files;
}

const checks: Record<string, string[]> = {
  "format": ["fmt", "--check"],
  "lint": ["lint"],
  "types": ["check", "."],
  "types of the examples in documentation": ["check", "--doc-only", ...documents, ...packages],
  "documentation of every public symbol": ["doc", "--lint", ...await entryPoints()],
  "generated code is current": ["task", "generate", "--check"],
  "publishing": ["publish", "--dry-run", "--allow-dirty"],
};

let failed = 0;
for (const [name, args] of Object.entries(checks)) {
  const { success, stdout, stderr } = await new Deno.Command(deno, {
    args,
    cwd: new URL("../", import.meta.url),
    env: { NO_COLOR: "1" },
  }).output();
  console.log(`${success ? "ok    " : "FAILED"} ${name}`);
  if (success) continue;
  failed++;
  await Deno.stdout.write(stdout);
  await Deno.stdout.write(stderr);
}
if (failed > 0) Deno.exit(1);
