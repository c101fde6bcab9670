/** What every {@linkcode FederationQueue} must do, as tests. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import type { Store } from "../store.ts";
import {
  type FederatedEnvelope,
  type FederationQueue,
  FederationQueueFullError,
  MAX_FEDERATED,
} from "./queue.ts";

/** Where a store keeps what it has; empty at first. Disposing of it removes it. */
export interface StorePlace extends AsyncDisposable {
  /** Opens the store that is kept there. One at a time: the one before is disposed of. */
  open(): Promise<Store>;
}

/**
 * Tests the federation queue of a kind of store.
 *
 * @param name Its name.
 * @param makePlace Makes a place for a store.
 */
export function testFederationQueue(name: string, makePlace: () => Promise<StorePlace>): void {
  const testPlace = (behaviour: string, run: (place: StorePlace) => Promise<void>) =>
    Deno.test(`${name} ${behaviour}`, async () => {
      await using place = await makePlace();
      await run(place);
    });
  const test = (behaviour: string, run: (queue: FederationQueue) => Promise<void>) =>
    testPlace(behaviour, async (place) => {
      await using store = await place.open();
      await run(store.federation);
    });

  test("keeps the order of pushes, awaited or not", async (queue) => {
    const texts = numbered(1000);
    const stored: Promise<void>[] = [];
    for (const [i, text] of texts.entries()) {
      const pushed = queue.push(bytes(text));
      stored.push(pushed);
      if (i % 100 === 0) await pushed;
    }
    assert.deepEqual(await takeTexts(queue, texts.length), texts);
    await Promise.all(stored);
  });

  test("takes each envelope once, and no more at once than asked for", async (queue) => {
    const texts = numbered(50);
    await Promise.all(texts.map((text) => queue.push(bytes(text))));
    const taken: string[] = [];
    while (taken.length < texts.length) {
      const some = await take(queue, 3, new AbortController().signal);
      assert.ok(some.length > 0 && some.length <= 3, `${some.length} of 3`);
      taken.push(...some.map(({ envelope }) => text(envelope)));
    }
    assert.deepEqual(taken, texts);
    await nothingLeft(queue);
  });

  test("keeps the bytes as they are, none and a megabyte included", async (queue) => {
    const large = crypto.getRandomValues(new Uint8Array(65536));
    const envelopes = [
      new Uint8Array(),
      Uint8Array.of(0),
      Uint8Array.from({ length: 256 }, (_, i) => i),
      new Uint8Array(1024 * 1024 + 1).fill(1),
      bytes("after the large one"),
      large.subarray(1, 100), // A view of a larger buffer.
    ];
    for (const envelope of envelopes) await queue.push(envelope);
    const taken = await takeAll(queue, envelopes.length);
    const expected = envelopes.map((envelope) => envelope.slice());
    assert.deepEqual(taken.map(({ envelope }) => new Uint8Array(envelope)), expected);
    for (const [i, { id }] of taken.entries()) {
      assert.deepEqual(new Uint8Array((await queue.read(id))!), expected[i]);
    }
  });

  test("take() waits until there is something", async (queue) => {
    const taking = takeAll(queue, 1);
    await queue.push(bytes("one"));
    assert.deepEqual((await taking).map(({ envelope }) => text(envelope)), ["one"]);
    const [second, third] = [takeAll(queue, 1), takeAll(queue, 1)];
    await Promise.all([queue.push(bytes("two")), queue.push(bytes("three"))]);
    const texts = [...await second, ...await third].map(({ envelope }) => text(envelope));
    assert.deepEqual(texts.sort(), ["three", "two"]);
  });

  test("take() ends with nothing when it is aborted, and loses nothing by it", async (queue) => {
    assert.deepEqual(await take(queue, 1, AbortSignal.abort()), []);
    for (let i = 0; i < 10; i++) {
      const abort = new AbortController();
      const taking = take(queue, 1, abort.signal);
      // Before it waits, and while it does.
      if (i % 2 === 1) await new Promise((resolve) => setTimeout(resolve, i));
      abort.abort();
      assert.deepEqual(await taking, []);
      await queue.push(bytes(String(i)));
      assert.deepEqual(await takeTexts(queue, 1), [String(i)]);
    }
    await queue.push(bytes("last"));
    assert.deepEqual(await take(queue, 1, AbortSignal.abort()), []);
    assert.deepEqual(await takeTexts(queue, 1), ["last"]);
  });

  test("reads what is taken until it is removed", async (queue) => {
    for (const text of ["one", "two", "three"]) await queue.push(bytes(text));
    const [one, two, three] = await takeAll(queue, 3);
    const read = async ({ id }: FederatedEnvelope) => {
      const envelope = await queue.read(id);
      return envelope === undefined ? undefined : text(envelope);
    };
    assert.equal(await read(two!), "two");
    assert.equal(await read(two!), "two");
    await queue.remove([two!.id]);
    assert.equal(await read(two!), undefined);
    await queue.remove([two!.id, one!.id]); // Gone already, in part.
    assert.equal(await read(one!), undefined);
    assert.equal(await read(three!), "three");
    await queue.remove([]);
  });

  test("takes pushes of many at once, each its own in order", async (queue) => {
    const pushers = ["a", "b", "c", "d"];
    const texts = numbered(250);
    const push = async (pusher: string) => {
      for (const text of texts) await queue.push(bytes(`${pusher}${text}`));
    };
    const [taken] = await Promise.all([
      takeTexts(queue, pushers.length * texts.length),
      ...pushers.map(push),
    ]);
    for (const pusher of pushers) {
      const own = taken.filter((text) => text.startsWith(pusher));
      assert.deepEqual(own, texts.map((text) => `${pusher}${text}`));
    }
  });

  test("refuses what is too much, and takes more when there is room again", async (queue) => {
    const pushes = Array.from({ length: MAX_FEDERATED }, () => queue.push(bytes("x")));
    await inTime(Promise.all(pushes), "all pushes");
    await assert.rejects(queue.push(bytes("too much")), FederationQueueFullError);
    const taken = await takeAll(queue, 100);
    await assert.rejects(queue.push(bytes("too much")), FederationQueueFullError);
    await queue.remove(taken.map(({ id }) => id));
    const fits = () => queue.push(bytes("fits")).then(() => true, () => false);
    await until(fits, "room again");
  });

  testPlace("keeps all, in order, until it is opened again", async (place) => {
    let stored: Promise<void>;
    {
      await using store = await place.open();
      await store.federation.push(bytes("one"));
      stored = store.federation.push(bytes("two"));
    }
    await stored;
    await using store = await place.open();
    await store.federation.push(bytes("three"));
    assert.deepEqual(await takeTexts(store.federation, 3), ["one", "two", "three"]);
  });

  testPlace("has what was taken and not removed taken again when it is opened", async (place) => {
    {
      await using store = await place.open();
      for (const text of numbered(6)) await store.federation.push(bytes(text));
      const taken = await takeAll(store.federation, 4);
      await store.federation.remove([taken[0]!.id, taken[2]!.id]);
    }
    {
      await using store = await place.open();
      const taken = await takeAll(store.federation, 4);
      assert.deepEqual(taken.map(({ envelope }) => text(envelope)), ["1", "3", "4", "5"]);
      assert.equal(text((await store.federation.read(taken[1]!.id))!), "3");
      await store.federation.remove(taken.map(({ id }) => id));
    }
    await using store = await place.open();
    await nothingLeft(store.federation);
  });

  Deno.test(`${name} behaves as a list does, whatever is called in whatever order`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 30 }), async (steps) => {
        await using place = await makePlace();
        await followModel(place, steps);
      }),
      { numRuns: 30 },
    );
  });
}

const anyStep = fc.oneof(
  fc.record({ do: fc.constant("push" as const), count: fc.nat(50) }),
  fc.record({ do: fc.constant("take" as const), count: fc.nat(50) }),
  fc.record({ do: fc.constant("remove" as const), every: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant("reopen" as const) }),
);
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

/** Does the same to a queue and to lists, and compares what is taken. */
async function followModel(place: StorePlace, steps: readonly Step[]): Promise<void> {
  let store = await place.open();
  let waiting: string[] = [];
  let taken: FederatedEnvelope[] = [];
  let next = 0;
  const order = (texts: string[]) => texts.sort((a, b) => Number(a) - Number(b));
  try {
    for (const step of steps) {
      const queue = store.federation;
      if (step.do === "push") {
        const texts = Array.from({ length: step.count }, () => String(next++));
        await Promise.all(texts.map((text) => queue.push(bytes(text))));
        waiting.push(...texts);
      } else if (step.do === "take") {
        const count = Math.min(step.count, waiting.length);
        const some = await takeAll(queue, count);
        assert.deepEqual(some.map(({ envelope }) => text(envelope)), waiting.splice(0, count));
        taken.push(...some);
      } else if (step.do === "remove") {
        const done = taken.filter((_, i) => i % step.every === 0);
        await queue.remove(done.map(({ id }) => id));
        taken = taken.filter((one) => !done.includes(one));
      } else {
        await store[Symbol.asyncDispose]();
        store = await place.open();
        waiting = order([...waiting, ...taken.map(({ envelope }) => text(envelope))]);
        taken = [];
      }
    }
    assert.deepEqual(await takeTexts(store.federation, waiting.length), waiting);
  } finally {
    await store[Symbol.asyncDispose]();
  }
}

function take(queue: FederationQueue, count: number, signal: AbortSignal) {
  return inTime(queue.take(count, signal), "an answer to take()");
}

/** Takes so many, in as many calls as it needs. */
async function takeAll(queue: FederationQueue, count: number): Promise<FederatedEnvelope[]> {
  const { signal } = new AbortController();
  const taken: FederatedEnvelope[] = [];
  while (taken.length < count) {
    const some = await take(queue, count - taken.length, signal);
    assert.ok(some.length > 0, "takes none only when aborted");
    taken.push(...some);
  }
  return taken;
}

async function takeTexts(queue: FederationQueue, count: number): Promise<string[]> {
  return (await takeAll(queue, count)).map(({ envelope }) => text(envelope));
}

/** There is nothing to take before what is pushed now. */
async function nothingLeft(queue: FederationQueue): Promise<void> {
  await queue.push(bytes("the only one"));
  assert.deepEqual(await takeTexts(queue, 1), ["the only one"]);
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
