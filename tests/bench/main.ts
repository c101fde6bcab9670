/**
 * Measures the relay, each thing beside the least that anyone could do it with, in turns so that all have
 * the same machine. Linux only: CPU time and memory are read from /proc. Prints Markdown.
 *
 *     deno task bench                       all of it: about 8 minutes
 *     deno task bench forwarding sqlite    some of it
 */
import { benchCryptography } from "./cryptography.ts";
import { benchForwarding } from "./forwarding.ts";
import { benchSqlite } from "./storing.ts";

const BENCHMARKS: Readonly<Record<string, () => Promise<void>>> = {
  forwarding: benchForwarding,
  sqlite: benchSqlite,
  cryptography: benchCryptography,
};

const names = Deno.args.length > 0 ? Deno.args : Object.keys(BENCHMARKS);
const unknown = names.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0) {
  console.error(`No benchmark "${unknown}": there are ${Object.keys(BENCHMARKS).join(", ")}`);
  Deno.exit(2);
}
for (const name of names) {
  console.log(`\n## ${name}\n`);
  await BENCHMARKS[name]!();
}
Deno.exit(0);
