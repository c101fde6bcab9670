import assert from "node:assert/strict";
import { Places } from "./places.ts";

/** Work that goes on until it is told to end. */
function work() {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const state = {
    begun: false,
    end: resolve,
    fail: reject,
    run: () => (state.begun = true, promise),
  };
  return state;
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("Places lets no more in than there are, the others in the order in which they came", async () => {
  const places = new Places(2);
  const works = Array.from({ length: 5 }, work);
  const done = works.map(({ run }) => places.within(run));
  const begun = () => works.map(({ begun }) => begun ? 1 : 0).join("");
  assert.equal(begun(), "11000");
  works[1]!.end();
  await turn();
  assert.equal(begun(), "11100");
  works[2]!.fail(new Error("told so"));
  await assert.rejects(done[2]!, /told so/);
  await turn();
  assert.equal(begun(), "11110");
  for (const { end } of works) end();
  await Promise.all(done.filter((_, i) => i !== 2));
  assert.equal(begun(), "11111");
});

Deno.test("Places lets no small one past a large one, and a too large one in alone", async () => {
  const places = new Places(10);
  const [first, huge, small] = [work(), work(), work()];
  const done = [places.within(first.run, 6), places.within(huge.run, 50), places.within(small.run)];
  assert.deepEqual([first.begun, huge.begun, small.begun], [true, false, false]);
  first.end();
  await turn();
  assert.deepEqual([huge.begun, small.begun], [true, false]);
  huge.end();
  small.end();
  await Promise.all(done);
  assert.ok(small.begun);
});
