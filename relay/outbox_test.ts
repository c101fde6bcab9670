import assert from "node:assert/strict";
import fc from "fast-check";
import { compact, Outbox } from "./outbox.ts";

/** Bytes given to the socket and not yet written above which more waits in an outbox. */
const MAX_IN_FLIGHT = 16 * 1024;

/** An outbox, and a socket that has written nothing until told to. */
class Fixture {
  /** What the socket was given, in order. */
  readonly given: Uint8Array[] = [];
  /** Ids that were called back. */
  readonly written: (number | string | undefined)[] = [];
  readonly samples: number[] = [];
  readonly outbox = new Outbox(
    (envelope, onWritten) => {
      this.given.push(envelope);
      this.#callbacks.push(onWritten);
    },
    (id) => {
      this.written.push(id);
      this.onWritten();
    },
    (seconds) => this.samples.push(seconds),
  );
  /** Called when a message was written. */
  onWritten = () => {};
  readonly #callbacks: ((error?: Error | null) => void)[] = [];

  /** How many messages the socket was given and has not written. */
  get pending(): number {
    return this.#callbacks.length;
  }

  /** Hands over messages of some sizes; their ids count up. */
  push(...sizes: number[]): void {
    for (const size of sizes) this.outbox.push(new Uint8Array(size), 1, this.#id++);
  }
  #id = 0;

  /** The socket has written some messages, or could not. */
  write(count = Infinity, error?: Error): void {
    for (; count > 0 && this.#callbacks.length > 0; count--) this.#callbacks.shift()!(error);
  }
}

/** What an outbox should be, as plainly as can be. */
interface Model {
  /** What was handed over and is not written, oldest first. */
  readonly left: { readonly id: number | undefined; readonly size: number }[];
  /** How many of them the socket was given. */
  given: number;
  /** No more is given. */
  closed: boolean;
  /** It was taken, and what is written or fails from then on does not count. */
  over: boolean;
}

const anyStep = fc.oneof(
  fc.record({
    do: fc.constant("push" as const),
    size: fc.oneof(
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: MAX_IN_FLIGHT / 4, max: MAX_IN_FLIGHT + 1 }),
    ),
    id: fc.boolean(),
  }),
  fc.record({ do: fc.constant("push many" as const), count: fc.integer({ min: 1, max: 1500 }) }),
  fc.record({ do: fc.constant("write" as const), count: fc.integer({ min: 1, max: 1500 }) }),
  { weight: 3, arbitrary: fc.record({ do: fc.constant("write" as const), count: fc.nat(3) }) },
);
const anyEnd = fc.constantFrom("take all", "fail", "close");

Deno.test("Outbox behaves as its model, whatever is handed over and written", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 40 }), anyEnd, fc.array(anyStep), (...given) => {
      const [before, end, after] = given;
      const fixture = new Fixture();
      const { outbox } = fixture;
      const model: Model = { left: [], given: 0, closed: false, over: false };
      const written: (number | undefined)[] = [];
      let failing: Error | undefined;
      let nextId = 0;

      const give = () => {
        const inFlight = () => sum(model.left.slice(0, model.given));
        while (!model.closed && model.given < model.left.length && inFlight() < MAX_IN_FLIGHT) {
          model.given++;
        }
      };
      const push = (size: number, hasId: boolean) => {
        const id = hasId ? nextId : undefined;
        outbox.push(new Uint8Array(size), nextId++, id);
        model.left.push({ id, size });
        if (!model.closed) give();
      };
      const check = () => {
        assert.equal(outbox.length, model.left.length);
        assert.equal(outbox.bytes, sum(model.left));
        assert.deepEqual(fixture.written, written);
        if (!model.over) assert.equal(fixture.pending, model.given);
      };
      const run = (steps: typeof before) => {
        for (const step of steps) {
          if (step.do === "push") {
            push(step.size, step.id);
          } else if (step.do === "push many") {
            for (let i = 0; i < step.count; i++) push(i % 7, true);
          } else {
            for (let i = 0; i < step.count && fixture.pending > 0; i++) {
              fixture.write(1, failing);
              if (failing !== undefined || model.over) continue;
              written.push(model.left.shift()!.id);
              model.given--;
              give();
            }
          }
          if (failing === undefined) check();
        }
      };

      run(before);
      model.closed = true;
      if (end === "close") {
        outbox.close();
        run(after);
      } else if (end === "fail") {
        failing = new Error("not open");
        fixture.write(1, failing);
        run(after.filter((step) => step.do === "write"));
      }
      const left = outbox.takeAll();
      assert.deepEqual(
        left.map(({ id, envelope }) => ({ id, size: envelope.length })),
        model.left,
      );
      model.left.length = 0;
      model.over = true;
      fixture.write(Infinity);
      assert.equal(outbox.length, 0);
      assert.equal(outbox.bytes, 0);
      assert.deepEqual(fixture.written, written);
    }),
    { numRuns: 200, endOnFailure: true },
  );
});

Deno.test("Outbox gives the socket the very messages, in order, and no more than 16 KiB ahead", () => {
  const fixture = new Fixture();
  const messages = Array.from({ length: 7 }, (_, i) => new Uint8Array(5 * 1024).fill(i));
  messages.forEach((message, i) => fixture.outbox.push(message, 1, i));
  assert.equal(fixture.given.length, 4, "what reaches the limit is the last");
  assert.equal(fixture.outbox.length, 7);
  assert.equal(fixture.outbox.bytes, 7 * 5 * 1024);
  fixture.write(1);
  assert.equal(fixture.given.length, 5);
  fixture.write();
  assert.ok(fixture.given.every((message, i) => message === messages[i]));
  assert.deepEqual(fixture.written, [0, 1, 2, 3, 4, 5, 6]);
  assert.equal(fixture.outbox.bytes, 0);
  fixture.push(MAX_IN_FLIGHT - 1, 1, 1);
  assert.equal(fixture.given.length, 7 + 2, "what is written does not count, to the byte");
});

Deno.test("Outbox gives the socket a message of any size when nothing is under way", () => {
  const fixture = new Fixture();
  fixture.push(64 * MAX_IN_FLIGHT, 0, 1);
  assert.equal(fixture.given.length, 1);
  fixture.write(1);
  assert.equal(fixture.given.length, 3);
});

Deno.test("Outbox counts a message as written before it says so", () => {
  const fixture = new Fixture();
  const seen: number[][] = [];
  fixture.onWritten = () => seen.push([fixture.outbox.length, fixture.outbox.bytes]);
  fixture.push(5, 7);
  fixture.write();
  assert.deepEqual(seen, [[1, 7], [0, 0]]);
});

Deno.test("Outbox can be handed more while it says that a message was written", () => {
  const fixture = new Fixture();
  fixture.onWritten = () => {
    if (fixture.written.length < 3000) fixture.push(1);
  };
  fixture.push(1);
  fixture.write();
  assert.deepEqual(fixture.written, Array.from({ length: 3000 }, (_, i) => i));
  assert.equal(fixture.outbox.length, 0);
});

Deno.test("Outbox gives the socket no more when it is closed, and counts what that still writes", () => {
  const fixture = new Fixture();
  fixture.push(MAX_IN_FLIGHT, 1);
  fixture.outbox.close();
  fixture.push(1);
  fixture.write();
  assert.equal(fixture.given.length, 1);
  assert.deepEqual(fixture.written, [0]);
  assert.deepEqual(fixture.outbox.takeAll().map(({ id }) => id), [1, 2]);
});

Deno.test("Outbox keeps what could not be written, and gives the socket no more", () => {
  const fixture = new Fixture();
  fixture.push(MAX_IN_FLIGHT / 2, MAX_IN_FLIGHT / 2, 1);
  fixture.write(1);
  fixture.write(1, new Error("not open"));
  fixture.push(1);
  assert.equal(fixture.given.length, 3);
  fixture.write(Infinity, new Error("not open"));
  assert.deepEqual(fixture.written, [0]);
  assert.deepEqual(fixture.outbox.takeAll().map(({ id }) => id), [1, 2, 3]);
});

Deno.test("Outbox hands back when messages expire, in order, and nothing twice", () => {
  const fixture = new Fixture();
  fixture.outbox.push(new Uint8Array([1]), 10, undefined);
  fixture.outbox.push(new Uint8Array([2]), 20, "a");
  assert.deepEqual(fixture.outbox.takeAll(), [
    { envelope: new Uint8Array([1]), expires: 10, id: undefined },
    { envelope: new Uint8Array([2]), expires: 20, id: "a" },
  ]);
  assert.deepEqual(fixture.outbox.takeAll(), []);
});

Deno.test("Outbox says nothing of what is written after all was taken", () => {
  const fixture = new Fixture();
  fixture.push(1, 2, 3);
  fixture.write(1);
  assert.deepEqual(fixture.outbox.takeAll().map(({ id }) => id), [1, 2]);
  fixture.write(1);
  fixture.write(1, new Error("closed"));
  assert.deepEqual(fixture.written, [0]);
  assert.equal(fixture.outbox.bytes, 0);
});

Deno.test("Outbox takes the time of one message in 64, and of none that waits for that one", () => {
  const fixture = new Fixture();
  fixture.push(...Array(63).fill(0));
  fixture.write();
  assert.deepEqual(fixture.samples, []);
  fixture.push(...Array(65).fill(0));
  fixture.write(1);
  assert.equal(fixture.samples.length, 1);
  assert.ok(fixture.samples[0]! >= 0 && fixture.samples[0]! < 10);
  fixture.write();
  assert.equal(fixture.samples.length, 1, "the 128th came while the 64th was under way");
  fixture.push(...Array(64).fill(0));
  fixture.write();
  assert.equal(fixture.samples.length, 2);
});

Deno.test("Outbox keeps of what waits no memory that is not its own", () => {
  const read = new Uint8Array(64 * 1024);
  const fixture = new Fixture();
  fixture.push(MAX_IN_FLIGHT);
  fixture.outbox.push(read.subarray(10, 20).fill(7), 1, 1);
  const [, waiting] = fixture.outbox.takeAll();
  assert.deepEqual(waiting?.envelope, new Uint8Array(10).fill(7));
  assert.equal(waiting?.envelope.buffer.byteLength, 10);
});

Deno.test("compact() copies only what has much more memory behind it than its own", () => {
  const memory = new Uint8Array(1000).fill(3);
  const half = memory.subarray(500);
  assert.equal(compact(half), half);
  const little = memory.subarray(0, 10);
  assert.deepEqual(compact(little), little);
  assert.notEqual(compact(little).buffer, little.buffer);
  const small = new Uint8Array(64).subarray(0, 0);
  assert.equal(compact(small), small, "so little that a copy saves nothing");
});

function sum(messages: readonly { readonly size: number }[]): number {
  return messages.reduce((total, { size }) => total + size, 0);
}
