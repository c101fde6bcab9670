/**
 * Measures relay, gateway and client, each thing beside the least that anyone could do it with, in turns so that all have
 * the same machine. Linux only: CPU time and memory are read from /proc. Prints Markdown.
 *
 *     deno task bench                          all of it: about 12 minutes
 *     deno task bench forwarding idle          some of it
 *     deno task bench redis --redis URL        with a Redis that runs already
 */
import { benchClient } from "./client.ts";
import { benchCryptography } from "./cryptography.ts";
import { benchFederation } from "./federation.ts";
import { benchFiles } from "./files.ts";
import { benchForwarding } from "./forwarding.ts";
import { benchGateway } from "./gateway.ts";
import { benchIdle } from "./idle.ts";
import { benchRedis } from "./redis.ts";
import { benchStartup } from "./startup.ts";
import { benchSqlite } from "./storing.ts";

const args = [...Deno.args];
const at = args.indexOf("--redis");
const [, redis] = at < 0 ? [] : args.splice(at, 2);

const benchmarks: Readonly<Record<string, () => Promise<void>>> = {
  forwarding: benchForwarding,
  sqlite: benchSqlite,
  redis: () => benchRedis(redis),
  federation: benchFederation,
  files: benchFiles,
  gateway: benchGateway,
  client: benchClient,
  idle: benchIdle,
  cryptography: benchCryptography,
  startup: benchStartup,
};

const names = args.length > 0 ? args : Object.keys(benchmarks);
const unknown = names.filter((name) => !(name in benchmarks));
if (unknown.length > 0) {
  console.error(`No benchmark "${unknown}": there are ${Object.keys(benchmarks).join(", ")}`);
  Deno.exit(2);
}
for (const name of names) {
  console.log(`\n## ${name}\n`);
  const start = performance.now();
  await benchmarks[name]!();
  console.error(`\n${name} took ${Math.round((performance.now() - start) / 1000)} s`);
}
Deno.exit(0);
