/** What every {@linkcode Mailbox} must do, as tests. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { createEnvelope, encodeEnvelope, readRouting, unixNow } from "@rmb/protocol";
import {
  type Mailbox,
  MailboxFullError,
  MAX_QUEUED,
  MAX_QUEUED_TIME,
  type QueuedAgain,
  type QueuedEnvelope,
} from "./mailbox.ts";
import type { Store } from "./store.ts";
import { Clock } from "./tests/clock.ts";

/** Where a mailbox keeps what waits; empty at first. Disposing of it removes it. */
export interface MailboxStore extends AsyncDisposable {
  /** Opens the store that is kept there. One at a time: the one before is disposed of. */
  open(): Promise<Store>;
}

/**
 * Tests a kind of mailbox.
 *
 * @param name Its name.
 * @param makeStore Makes a store.
 */
export function testMailbox(name: string, makeStore: () => Promise<MailboxStore>): void {
  const testStore = (behaviour: string, run: (store: MailboxStore) => Promise<void>) =>
    Deno.test(`${name} ${behaviour}`, async () => {
      await using store = await makeStore();
      await run(store);
    });
  const test = (behaviour: string, run: (mailbox: Mailbox) => Promise<void>) =>
    testStore(behaviour, async (store) => {
      await using opened = await store.open();
      await run(opened.mailbox);
    });

  test("has nothing at first", async (mailbox) => {
    assert.deepEqual(await mailbox.read("7"), []);
    await mailbox.remove("7", []);
    await mailbox.putBack("7", []);
    assert.deepEqual(await drain(mailbox, "7"), []);
  });

  test("keeps the order of appends, awaited or not", async (mailbox) => {
    const texts = numbered("message", 1000);
    const stored = texts.map((text, i) => {
      const appended = mailbox.append("7", ...message(text));
      return i % 100 === 0 ? appended.then(() => mailbox.read("7")) : appended;
    });
    await mailbox.append("7", ...message("last"));
    await Promise.all(stored);
    assert.deepEqual(await drain(mailbox, "7"), [...texts, "last"]);
  });

  test("reads what was appended before, awaited or not", async (mailbox) => {
    const stored = mailbox.append("7", ...message("one"));
    assert.deepEqual(await read(mailbox, "7"), ["one"]);
    await stored;
  });

  test("keeps the bytes as they are, none and a megabyte included", async (mailbox) => {
    const large = new Uint8Array(65536);
    const inLarge = bytes("in a larger buffer");
    large.set(inLarge, 1);
    const envelopes = [
      bytes(""),
      bytes("zero", LATER, Uint8Array.of(0)),
      bytes("all", LATER, Uint8Array.from({ length: 256 }, (_, i) => i)),
      bytes("random", LATER, crypto.getRandomValues(new Uint8Array(65536))),
      bytes("large", LATER, new Uint8Array(1024 * 1024 + 1).fill(1)),
      bytes("after the large one"),
      large.subarray(1, 1 + inLarge.length), // A view.
    ];
    for (const envelope of envelopes) await mailbox.append("7", envelope, LATER);
    await mailbox.putBack("7", envelopes.map((envelope) => ({ envelope, expires: LATER })));
    envelopes.push(...envelopes);
    const read: Uint8Array[] = [];
    for await (const { envelope } of consume(mailbox, "7")) read.push(new Uint8Array(envelope));
    assert.deepEqual(read, envelopes.map((envelope) => envelope.slice()));
  });

  test("reads on behind what was read", async (mailbox) => {
    for (const text of ["one", "two", "three"]) await mailbox.append("7", ...message(text));
    const [first, , third] = await mailbox.read("7");
    const texts = async (after: QueuedEnvelope["id"]) =>
      (await mailbox.read("7", after)).map(({ envelope }) => text(envelope));
    assert.deepEqual(await texts(first!.id), ["two", "three"]);
    assert.deepEqual(await texts(third!.id), []);
    await mailbox.remove("7", [first!.id, third!.id]);
    const appended = mailbox.append("7", ...message("four"));
    assert.deepEqual(await texts(third!.id), ["four"]);
    await appended;
  });

  test("reads the same until it is removed", async (mailbox) => {
    for (const text of ["one", "two", "three"]) await mailbox.append("7", ...message(text));
    const queued = await mailbox.read("7");
    assert.deepEqual(await mailbox.read("7"), queued);
    await mailbox.remove("7", [queued[1]!.id]);
    assert.deepEqual(await drain(mailbox, "7"), ["one", "three"]);
    await mailbox.remove("7", queued.map(({ id }) => id)); // Gone already.
    assert.deepEqual(await drain(mailbox, "7"), []);
  });

  test("puts back to the front, in order", async (mailbox) => {
    for (const text of ["five", "six"]) await mailbox.append("7", ...message(text));
    await mailbox.putBack("7", again("three", "four"));
    await mailbox.putBack("7", again("one", "two"));
    const stored = mailbox.append("7", ...message("seven"));
    await mailbox.putBack("7", again("zero"));
    await stored;
    const all = ["zero", "one", "two", "three", "four", "five", "six", "seven"];
    assert.deepEqual(await drain(mailbox, "7"), all);
  });

  test("puts back and removes at once", async (mailbox) => {
    for (const text of ["one", "two", "three"]) await mailbox.append("7", ...message(text));
    const [one, two] = await mailbox.read("7");
    await mailbox.putBack("7", again("two again", "straight"), [one!.id, two!.id]);
    assert.equal(await mailbox.depth(), 3);
    assert.deepEqual(await drain(mailbox, "7"), ["two again", "straight", "three"]);
    await mailbox.putBack("7", [], [one!.id]);
    using clock = new Clock();
    clock.advance(60); // It need not be counted each time that it is asked for.
    assert.equal(await mailbox.depth(), 0);
  });

  test("puts back into a queue that is empty", async (mailbox) => {
    await mailbox.putBack("7", again("one", "two"));
    await mailbox.append("7", ...message("three"));
    assert.deepEqual(await drain(mailbox, "7"), ["one", "two", "three"]);
  });

  test("does not read what has expired, or expires while it waits", async (mailbox) => {
    const now = unixNow();
    await mailbox.putBack("7", [{ envelope: bytes("expired", now), expires: now }]);
    await mailbox.append("7", ...message("long expired", 0));
    await mailbox.append("7", ...message("soon to expire", now + 60));
    await mailbox.append("7", ...message("good", now + 120));
    assert.deepEqual(await read(mailbox, "7"), ["soon to expire", "good"]);
    using clock = new Clock();
    clock.advance(90);
    assert.deepEqual(await read(mailbox, "7"), ["good"]);
  });

  test("keeps nothing for longer than an hour, whatever it is told", async (mailbox) => {
    for (const expires of [unixNow() + 1e6, 2 ** 64, Infinity]) {
      await mailbox.append("7", ...message("appended", expires));
      await mailbox.putBack("7", [{ envelope: bytes("put back", expires), expires }]);
    }
    using clock = new Clock();
    clock.advance(MAX_QUEUED_TIME - 60);
    assert.equal((await mailbox.read("7")).length, 6);
    clock.advance(120);
    assert.deepEqual(await mailbox.read("7"), []);
  });

  test("has room again when what filled a queue has expired", async (mailbox) => {
    const fill = Array.from(
      { length: MAX_QUEUED },
      () => mailbox.append("7", ...message("x", unixNow() + 60)),
    );
    await Promise.all(fill);
    await assert.rejects(mailbox.append("7", ...message("x")), MailboxFullError);
    using clock = new Clock();
    clock.advance(90);
    await mailbox.append("7", ...message("fresh"));
    assert.deepEqual(await drain(mailbox, "7"), ["fresh"]);
  });

  test("refuses what is too much for one session, and goes on for others", async (mailbox) => {
    const texts = numbered("", MAX_QUEUED);
    await Promise.all(texts.map((text) => mailbox.append("7", ...message(text))));
    const refused = assert.rejects(mailbox.append("7", ...message("too much")), MailboxFullError);
    await mailbox.append("7:bot", ...message("another's"));
    await refused;

    // What was on its way when its session ended is not lost, however full the queue.
    await mailbox.putBack("7", again("before"));
    await assert.rejects(mailbox.append("7", ...message("too much")), MailboxFullError);
    const [first, second] = await mailbox.read("7");
    await mailbox.remove("7", [first!.id]);
    await assert.rejects(mailbox.append("7", ...message("too much")), MailboxFullError);
    await mailbox.remove("7", [second!.id]);
    await mailbox.append("7", ...message("room again"));
    assert.deepEqual(await drain(mailbox, "7"), [...texts.slice(1), "room again"]);
    assert.deepEqual(await drain(mailbox, "7:bot"), ["another's"]);
  });

  test("keeps sessions apart, those with an empty id or an odd one too", async (mailbox) => {
    const sessions = [
      "7",
      "7:",
      "7:sid",
      "7:SID",
      "77",
      "7:a:b",
      "7:é",
      "7:e\u0301",
      "7:a\0b",
      "7:a\0c",
    ];
    for (const session of sessions) await mailbox.append(session, ...message(session));
    for (const session of sessions) assert.deepEqual(await drain(mailbox, session), [session]);
  });

  testStore("keeps all, in order, until it is opened again", async (store) => {
    let stored: Promise<void>;
    {
      await using opened = await store.open();
      const { mailbox } = opened;
      await mailbox.append("7", ...message("two"));
      await mailbox.putBack("7", again("one"));
      stored = mailbox.append("7", ...message("three"));
    }
    await stored;
    await using opened = await store.open();
    const { mailbox } = opened;
    await mailbox.append("7", ...message("four"));
    await mailbox.putBack("7", again("zero"));
    assert.deepEqual(await drain(mailbox, "7"), ["zero", "one", "two", "three", "four"]);
  });

  testStore("counts what waits from before it was opened", async (store) => {
    {
      await using opened = await store.open();
      const { mailbox } = opened;
      const texts = numbered("", MAX_QUEUED);
      await Promise.all(texts.map((text) => mailbox.append("7", ...message(text))));
    }
    await using opened = await store.open();
    const { mailbox } = opened;
    await assert.rejects(mailbox.append("7", ...message("too much")), MailboxFullError);
  });

  Deno.test(`${name} behaves as lists do, whatever is called in whatever order`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 60 }), async (steps) => {
        await using store = await makeStore();
        await followModel(store, steps);
      }),
      { numRuns: 40 },
    );
  });
}

const LATER = unixNow() + 3000;
const SESSIONS = ["7", "7:", "7:bot", "9"] as const;

const anySession = fc.constantFrom(...SESSIONS);
const anyStep = fc.oneof(
  fc.record({ do: fc.constant("append" as const), session: anySession, count: fc.nat(150) }),
  fc.record({ do: fc.constant("expired" as const), session: anySession, count: fc.nat(3) }),
  fc.record({ do: fc.constant("putBack" as const), session: anySession, count: fc.nat(5) }),
  fc.record({ do: fc.constant("read" as const), session: anySession, keep: fc.nat(4) }),
  fc.record({ do: fc.constant("reopen" as const) }),
);
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

/** Does the same to a mailbox and to lists, and compares what is read. */
async function followModel(store: MailboxStore, steps: readonly Step[]): Promise<void> {
  const model = new Map<string, string[]>(SESSIONS.map((session) => [session, []]));
  const stored: Promise<void>[] = [];
  let opened = await store.open();
  let next = 0;
  try {
    for (const step of steps) {
      if (step.do === "reopen") {
        await opened[Symbol.asyncDispose]();
        opened = await store.open();
        continue;
      }
      const { mailbox } = opened;
      const list = model.get(step.session)!;
      if (step.do === "read") {
        const queued = await mailbox.read(step.session);
        const texts = queued.map(({ envelope }) => text(envelope));
        assert.deepEqual(texts, list.slice(0, texts.length));
        assert.equal(texts.length === 0, list.length === 0, "reads none only if there are none");
        // Every so many of them are not delivered.
        const delivered = queued.filter((_, i) => step.keep === 0 || i % (step.keep + 1) !== 0);
        await mailbox.remove(step.session, delivered.map(({ id }) => id));
        const gone = new Set(delivered.map(({ envelope }) => text(envelope)));
        model.set(step.session, list.filter((text) => !gone.has(text)));
        continue;
      }
      const texts = Array.from({ length: step.count }, () => String(next++));
      if (step.do === "putBack") {
        await mailbox.putBack(step.session, again(...texts));
        list.unshift(...texts);
      } else {
        const expires = step.do === "expired" ? unixNow() - 1 : LATER;
        for (const text of texts) {
          stored.push(mailbox.append(step.session, ...message(text, expires)));
        }
        if (step.do === "append") list.push(...texts);
      }
    }
    for (const session of SESSIONS) {
      assert.deepEqual(await drain(opened.mailbox, session), model.get(session));
    }
    await Promise.all(stored);
  } finally {
    await opened[Symbol.asyncDispose]();
  }
}

/** Reads a session's queue to its end, removing what was read. */
async function* consume(mailbox: Mailbox, session: string) {
  for (;;) {
    const queued = await mailbox.read(session);
    if (queued.length === 0) return;
    yield* queued;
    await mailbox.remove(session, queued.map(({ id }) => id));
  }
}

async function drain(mailbox: Mailbox, session: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { envelope } of consume(mailbox, session)) texts.push(text(envelope));
  return texts;
}

async function read(mailbox: Mailbox, session: string): Promise<string[]> {
  return (await mailbox.read(session)).map(({ envelope }) => text(envelope));
}

function again(...texts: string[]): QueuedAgain[] {
  return texts.map((text) => ({ envelope: bytes(text), expires: LATER }));
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** What is appended for a text: an envelope that has it as its uid, and when that expires. */
function message(text: string, expires: number = LATER): [envelope: Uint8Array, expires: number] {
  return [bytes(text, expires), expires];
}

function bytes(text: string, expires: number = LATER, value = new Uint8Array()): Uint8Array {
  const latest = 2n ** 64n - 1n;
  const expiration = expires < Number(latest) ? BigInt(expires) : latest;
  return encodeEnvelope(
    createEnvelope({ uid: text, expiration, payload: { case: "plain", value } }),
  );
}

function text(envelope: Uint8Array): string {
  return readRouting(envelope).uid;
}
