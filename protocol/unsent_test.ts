import assert from "node:assert/strict";
import fc from "fast-check";
import { UnsentMessages } from "./unsent.ts";

/** Three messages of 10 bytes, handed over. */
function threeMessages(): UnsentMessages<string> {
  const unsent = new UnsentMessages<string>();
  for (const message of ["a", "b", "c"]) unsent.push(message, 10);
  return unsent;
}

Deno.test("settle() lets go of messages that the kernel has in full, oldest first", () => {
  const unsent = threeMessages();
  const settled: string[] = [];
  const settle = (bufferedAmount: number) => unsent.settle(bufferedAmount, (m) => settled.push(m));
  settle(30);
  assert.deepEqual(settled, []);
  settle(21); // The first but for one byte.
  assert.deepEqual(settled, []);
  settle(20);
  assert.deepEqual(settled, ["a"]);
  assert.deepEqual([unsent.length, unsent.bytes], [2, 20]);
  settle(0);
  assert.deepEqual(settled, ["a", "b", "c"]);
  assert.deepEqual([unsent.length, unsent.bytes], [0, 0]);
});

Deno.test("settle() lets go of nothing while the socket holds more than was noted", () => {
  const unsent = threeMessages();
  unsent.settle(1000, () => assert.fail("settled"));
  assert.equal(unsent.length, 3);
});

Deno.test("takeAll() takes what is left, oldest first, and leaves nothing", () => {
  const unsent = threeMessages();
  unsent.settle(20);
  assert.deepEqual(unsent.takeAll(), ["b", "c"]);
  assert.deepEqual([unsent.length, unsent.bytes], [0, 0]);
  assert.deepEqual(unsent.takeAll(), []);
  unsent.push("d", 1);
  assert.deepEqual([unsent.length, unsent.bytes], [1, 1]);
});

Deno.test("every message is settled or taken once, in order, whatever the socket does", () => {
  const anyStep = fc.oneof(
    { weight: 4, arbitrary: fc.record({ push: fc.nat(5) }) },
    { weight: 3, arbitrary: fc.record({ drain: fc.nat(12) }) },
    { weight: 1, arbitrary: fc.constant({ close: true }) },
  );
  fc.assert(fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
    const unsent = new UnsentMessages<number>();
    const held: { message: number; size: number }[] = []; // What it should hold.
    let buffered = 0; // The socket's bytes, oldest first.
    let next = 0;
    for (const step of steps) {
      if ("push" in step) {
        held.push({ message: next, size: step.push });
        unsent.push(next++, step.push);
        buffered += step.push;
      } else if ("drain" in step) {
        buffered = Math.max(0, buffered - step.drain);
        unsent.settle(buffered, (message) => assert.equal(message, held.shift()!.message));
        const rest = held.reduce((sum, { size }) => sum + size, 0);
        assert.ok(held.length === 0 || rest - held[0]!.size < buffered);
      } else {
        assert.deepEqual(unsent.takeAll(), held.splice(0).map(({ message }) => message));
        buffered = 0;
      }
      assert.equal(unsent.length, held.length);
      assert.equal(unsent.bytes, held.reduce((sum, { size }) => sum + size, 0));
    }
  }));
});

Deno.test("a queue that never runs empty is trimmed and keeps its order", () => {
  const unsent = new UnsentMessages<number>();
  const settled: number[] = [];
  for (let i = 0; i < 10_000; i++) {
    unsent.push(i, 1);
    unsent.settle(3, (message) => settled.push(message));
  }
  assert.deepEqual(settled, Array.from({ length: 9997 }, (_, i) => i));
  assert.deepEqual(unsent.takeAll(), [9997, 9998, 9999]);
});
