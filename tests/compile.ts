/**
 * Compiles the programs into bin/, with the permissions that deno.json names for them.
 *
 *     deno task compile
 *
 * Deno downloads the runtime that goes into a binary; where it can't, DENORT_BIN may name one.
 */
let failed = false;
const programs = [
  { name: "relay", include: [] },
  { name: "peer", include: ["peer/signature_worker.ts"] },
];
for (const { name, include } of programs) {
  const output = `bin/rmb-${name}`;
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["compile", "--quiet", "--no-prompt", `-P=${name}`, "--output", output],
      ...include.flatMap((file) => ["--include", file]),
      `${name}/mod.ts`,
    ],
    cwd: new URL("../", import.meta.url),
    stdin: "null",
  }).output().then((result) => {
    if (!result.success) Deno.stderr.writeSync(result.stderr);
    return result;
  });
  console.log(success ? `${output} is compiled` : `${output} could not be compiled`);
  failed ||= !success;
}
if (failed) {
  console.error(
    "If it was the runtime that could not be downloaded: set DENORT_BIN to a denort binary of " +
      `Deno ${Deno.version.deno}, from its release page`,
  );
  Deno.exit(1);
}
