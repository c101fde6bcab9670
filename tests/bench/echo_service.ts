/** A local program that echoes the requests of `bench.echo`, many at a time: REDIS_URL. */
import { unixNow } from "@rmb/protocol";
import { connectRedis } from "../fixtures/local_program.ts";

const [url] = Deno.args;
const popping = await connectRedis(url!);
const pushing = await connectRedis(url!);
console.log("echoing");
for (;;) {
  const popped = await popping.brPop("msgbus.bench.echo", 0);
  const more = await popping.rPopCount("msgbus.bench.echo", 100);
  for (const text of [popped!.element, ...more ?? []]) {
    const { ref, src, ret, dat, shm } = JSON.parse(text);
    const response = { ver: 1, ref, dat, dst: src, shm, now: unixNow(), err: null };
    pushing.lPush(ret, JSON.stringify(response));
  }
}
