import assert from "node:assert/strict";
import { Lanes } from "@rmb/protocol/endpoint";
import { CommandQueue, CommandQueues } from "./command_queues.ts";

const MIB = 1024 * 1024;

/** Pushes requests of a twin, as far as they are let in, and says how many were. */
function push(queue: CommandQueue, twin: number, count: number, bytes = 100): number {
  for (let i = 0; i < count; i++) {
    if (queue.refusal(twin) !== undefined) return i;
    const place = { twin, bytes };
    queue.reserve(place);
    queue.settle(place, true);
  }
  return count;
}

Deno.test("CommandQueue gives a twin a quarter when it is half full, and all of it to nobody", () => {
  const queue = new CommandQueue({ length: 0, bytes: 0 });
  assert.equal(push(queue, 7, 20_000), 5000);
  assert.match(queue.refusal(7)!, /too many of twin 7 wait/);
  assert.equal(push(queue, 8, 20_000), 2500);
  assert.equal(push(queue, 9, 20_000), 2500);
  assert.equal(queue.refusal(10), "too many wait");
});

Deno.test("CommandQueue counts bytes as it does requests", () => {
  const queue = new CommandQueue({ length: 3, bytes: 100 * MIB });
  assert.equal(push(queue, 7, 100, 10 * MIB), 7);
  assert.equal(push(queue, 8, 100, 30 * MIB), 3);
  assert.equal(queue.refusal(9), "too many wait");
});

Deno.test("CommandQueue learns from the list's length what was popped, the oldest first", () => {
  const queue = new CommandQueue({ length: 4000, bytes: 4000 });
  assert.equal(push(queue, 7, 2500), 2500);
  const refused = { twin: 7, bytes: 1 };
  const settle = (length: number) => {
    queue.reserve(refused);
    queue.settle(refused, false, length);
  };
  assert.notEqual(queue.refusal(7), undefined);
  settle(6500);
  assert.notEqual(queue.refusal(7), undefined);
  settle(2500); // What was there before is gone: the list is not half full any more.
  assert.equal(push(queue, 7, 9000), 2500);
  settle(100);
  assert.equal(push(queue, 7, 9000), 4900);
  settle(0);
  assert.equal(push(queue, 8, 9000), 5000);
});

Deno.test("CommandQueue counts what others push to the list too", () => {
  const queue = new CommandQueue({ length: 0, bytes: 0 });
  const place = { twin: 7, bytes: 1 };
  queue.reserve(place);
  queue.settle(place, true, 10_000);
  assert.equal(queue.refusal(7), "too many wait");
});

Deno.test("CommandQueues look at a list once, and again if that failed", async () => {
  let looks = 0;
  const queues = new CommandQueues((command) => {
    if (++looks === 1) return Promise.reject(new Error("no Redis"));
    return Promise.resolve({ length: command.length, bytes: 0 });
  });
  await assert.rejects(queues.get("a"), /no Redis/);
  const [first, second] = await Promise.all([queues.get("a"), queues.get("a")]);
  assert.equal(first, second);
  await queues.get("b");
  assert.equal(looks, 3);
});

Deno.test("Lanes do one thing after the other in each, whatever fails", async () => {
  const lanes = new Lanes();
  const done: string[] = [];
  const gate = Promise.withResolvers<void>();
  const work = (name: string, wait?: Promise<void>) => async () => {
    await wait;
    done.push(name);
    if (name === "a1") throw new Error(name);
    return name;
  };
  const first = lanes.run("a", work("a1", gate.promise));
  const second = lanes.run("a", work("a2"));
  assert.equal(await lanes.run("b", work("b1")), "b1");
  gate.resolve();
  await assert.rejects(first, /a1/);
  assert.equal(await second, "a2");
  assert.deepEqual(done, ["b1", "a1", "a2"]);
  assert.equal(await lanes.run("a", work("a3")), "a3");
});
