/**
 * A service as any program in any language could be one: it pops requests from a Redis list, and
 * pushes its responses to the list that they name.
 *
 *     service.ts <redis url>
 */
import { createClient } from "@redis/client";

const redis = createClient({ url: Deno.args[0]!, maintNotifications: "disabled" });
redis.on("error", () => {});
await redis.connect();
console.log("waiting for requests in msgbus.calculator.add");
for (;;) {
  const popped = await redis.brPop("msgbus.calculator.add", 0);
  if (popped === null) continue;
  const request = JSON.parse(popped.element);
  const numbers: number[] = JSON.parse(atob(request.dat));
  console.log(`request  ${popped.element}`);
  console.log(`request  from twin ${request.src}: add ${JSON.stringify(numbers)}`);
  const response = JSON.stringify({
    ver: 1,
    ref: request.ref,
    dat: btoa(JSON.stringify(numbers.reduce((sum, number) => sum + number, 0))),
    dst: request.src,
    shm: "application/json",
    now: Math.floor(Date.now() / 1000),
  });
  await redis.lPush(request.ret, response);
  console.log(`response ${response}`);
}
