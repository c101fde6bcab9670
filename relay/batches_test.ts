import assert from "node:assert/strict";
import { Batches } from "./batches.ts";
import { FakeTimers } from "./tests/fake_timers.ts";

Deno.test("Batches has what waits happen in order, when all before it is done", () => {
  using timers = new FakeTimers("Timeout");
  const batches = new Batches();
  const done: string[] = [];
  batches.afterAll(() => done.push("at once"));
  const [a, b] = [batches.enter(), batches.enter()];
  batches.afterAll(() => done.push("behind a and b"));
  batches.afterAll(() => done.push("likewise"));
  const c = batches.enter();
  batches.afterAll(() => done.push("behind all"));
  batches.leave(c);
  batches.leave(b);
  assert.deepEqual(done, ["at once"]);
  batches.leave(a);
  assert.deepEqual(done, ["at once", "behind a and b", "likewise", "behind all"]);
  assert.equal(timers.count, 0);
});

Deno.test("Batches has nothing wait for long, nor too much of it, nor any when it is closed", () => {
  using timers = new FakeTimers("Timeout");
  const batches = new Batches();
  const stuck = batches.enter();
  let done = 0;
  for (let i = 0; i < 150; i++) batches.afterAll(() => done++);
  assert.equal(done, 50, "at most 100 wait");
  timers.advance(499);
  assert.equal(done, 50);
  timers.advance(1);
  assert.equal(done, 150);
  batches.afterAll(() => done++);
  batches.close();
  batches.leave(stuck);
  assert.equal(done, 150);
  assert.equal(timers.count, 0);
});
