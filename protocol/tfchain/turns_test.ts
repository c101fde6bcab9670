import assert from "node:assert/strict";
import { RegistryError } from "../errors.ts";
import { Turns } from "./turns.ts";

Deno.test.sanitizer({ ops: true, resources: true });

/** Lets what can go on now do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

Deno.test("Turns does 64 things at once, and the others in order", async () => {
  const turns = new Turns();
  const begun: number[] = [];
  const ends = Array.from({ length: 100 }, () => Promise.withResolvers<number>());
  const done = ends.map(({ promise }, i) =>
    turns.take(() => {
      begun.push(i);
      return promise;
    })
  );
  await settle();
  assert.equal(begun.length, 64);
  ends[5]!.resolve(5);
  await done[5];
  ends[6]!.reject(new Error("told to"));
  await assert.rejects(done[6]!, /told to/);
  await settle();
  assert.deepEqual(begun, Array.from({ length: 66 }, (_, i) => i));
  ends.forEach(({ resolve }, i) => resolve(i));
  const results = await Promise.allSettled(done);
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 99);
  assert.equal(await turns.take(() => Promise.resolve("again")), "again");
});

Deno.test("Turns refuses who waits too long, and too many", async () => {
  const turns = new Turns();
  const { promise, resolve } = Promise.withResolvers<void>();
  const { setTimeout } = globalThis;
  const expire: (() => void)[] = [];
  Object.assign(globalThis, { setTimeout: (call: () => void) => void expire.push(call) });
  const all = Array.from({ length: 64 + 10_000 + 1 }, () => turns.take(() => promise));
  Object.assign(globalThis, { setTimeout });
  const busy = new RegistryError("Too much is being looked up on the chain");
  await assert.rejects(all.pop()!, busy);
  const settled = Promise.allSettled(all);
  expire.slice(0, 9000).forEach((call) => call());
  resolve();
  const results = await settled;
  assert.equal(results.filter(({ status }) => status === "rejected").length, 9000);
});
