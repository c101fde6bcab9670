/**
 * A caller as any program in any language could be one: it pushes a request to a Redis list, and pops
 * the answer from the list that it chose.
 *
 *     caller.ts <redis url> <twin id> <number>…
 */
import { createClient } from "@redis/client";

const [url, twin, ...numbers] = Deno.args;
const redis = createClient({ url: url!, maintNotifications: "disabled" });
redis.on("error", () => {});
await redis.connect();
const replies = `caller.${crypto.randomUUID()}`;
const request = JSON.stringify({
  ver: 1,
  ref: "sum",
  cmd: "calculator.add",
  exp: 60,
  dat: btoa(JSON.stringify(numbers.map(Number))),
  dst: [Number(twin)],
  ret: replies,
  shm: "application/json",
  now: Math.floor(Date.now() / 1000),
});
console.log(`request  ${request}`);
await redis.lPush("msgbus.system.local", request);
const popped = await redis.brPop(replies, 30);
redis.destroy();
if (popped === null) {
  console.log("no answer within 30 s");
  Deno.exit(1);
}
const answer = JSON.parse(popped.element);
console.log(`answer   ${popped.element}`);
console.log(
  answer.err === null
    ? `answer   ${numbers.join(" + ")} = ${atob(answer.dat)}, says twin ${answer.src}`
    : `error    ${answer.err.code}: ${answer.err.message}`,
);
if (answer.err !== null) Deno.exit(1);
