import assert from "node:assert/strict";
import {
  createEnvelope,
  encodeEnvelope,
  type EnvelopeInit,
  Keypair,
  type Routing,
  signEnvelope,
  unixNow,
} from "@rmb/protocol";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import { MemoryRegistry } from "../tests/memory_registry.ts";
import { type Acceptance, Inbound } from "./inbound.ts";

const MAX_MESSAGE = 100_000;
const alice = Keypair.fromSecret("//Alice");
const bob = Keypair.fromSecret("//Bob", "ed25519");

/** An inbound of a relay with the domain `here.test`: twin 7 sends, twin 9 is here, twin 8 elsewhere. */
class Fixture {
  readonly registry = new MemoryRegistry();
  readonly accepted: { uid: string; bytes: Uint8Array }[] = [];
  acceptance: Acceptance = "taken";
  readonly inbound = new Inbound({
    registry: this.registry,
    domains: ["other.test", "here.test"],
    maxMessage: MAX_MESSAGE,
    bodyTime: 100,
    accept: (envelope: Uint8Array, { uid }: Routing) => {
      this.accepted.push({ uid, bytes: envelope });
      return Promise.resolve(this.acceptance);
    },
  });

  constructor() {
    this.registry.add(7, ["elsewhere.test"], alice.publicKey);
    this.registry.add(70, [], bob.publicKey);
    this.registry.add(8, ["elsewhere.test"]);
    this.registry.add(9, ["elsewhere.test", "here.test"]);
  }
}

const usual = (): EnvelopeInit => ({
  uid: "one",
  source: { twin: 7, connection: "bot" },
  destination: { twin: 9 },
  timestamp: BigInt(unixNow()),
  expiration: 60n,
  message: { case: "request", value: { command: "do" } },
  payload: { case: "plain", value: new Uint8Array(100) },
});

async function encode(
  fields: EnvelopeInit = {},
  signer: Keypair | undefined = alice,
): Promise<Uint8Array> {
  const envelope = createEnvelope({ ...usual(), ...fields });
  await signEnvelope(envelope, signer);
  return encodeEnvelope(envelope);
}

Deno.test("Inbound takes what is signed by its sender and for a twin of this relay", async () => {
  const { inbound, accepted } = new Fixture();
  const request = await encode();
  const error = await encode({ message: { case: "error", value: { code: 1, message: "no" } } });
  const response = await encode(
    { uid: "two", source: { twin: 70 }, message: { case: "response", value: {} } },
    bob,
  );
  for (const envelope of [request, error, response]) {
    assert.deepEqual(await inbound.receive(envelope), { status: 202, reason: "" });
  }
  assert.deepEqual(accepted.map(({ uid }) => uid), ["one", "one", "two"]);
  assert.equal(accepted[0]!.bytes, request);
});

const refused: Record<string, [EnvelopeInit, number, string]> = {
  "no source": [{ source: undefined }, 400, "message with missing source"],
  "no destination": [{ destination: undefined }, 400, "message with missing destination"],
  "no message": [{ message: { case: undefined } }, 400, "envelope without a message"],
  "a ping": [{ message: { case: "ping", value: {} } }, 400, "a ping goes to no other relay"],
  "a pong": [{ message: { case: "pong", value: {} } }, 400, "a pong goes to no other relay"],
  "what has expired": [{ timestamp: 1n }, 400, "message has expired"],
  "too much": [
    { payload: { case: "plain", value: new Uint8Array(MAX_MESSAGE) } },
    413,
    "message is longer than 100000 bytes",
  ],
  "an unknown destination": [{ destination: { twin: 5 } }, 403, "unknown twin destination"],
  "a destination elsewhere": [{ destination: { twin: 8 } }, 403, "twin 8 does not use this relay"],
  "a destination without a relay": [
    { destination: { twin: 70 } },
    403,
    "twin 70 does not use this relay",
  ],
  "an unknown source": [{ source: { twin: 5 } }, 403, "unknown twin source"],
  "another's signature": [{ source: { twin: 70 } }, 403, "not signed by twin 70"],
};

for (const [what, [fields, status, reason]] of Object.entries(refused)) {
  Deno.test(`Inbound refuses ${what}`, async () => {
    const { inbound, accepted } = new Fixture();
    assert.deepEqual(await inbound.receive(await encode(fields)), { status, reason });
    assert.deepEqual(accepted, []);
  });
}

Deno.test("Inbound refuses what is no envelope, not signed, or changed since", async () => {
  const { inbound, accepted } = new Fixture();
  const garbage = new TextEncoder().encode("garbage");
  assert.deepEqual(await inbound.receive(garbage), { status: 400, reason: "not an envelope" });
  const notSigned = { status: 403, reason: "not signed by twin 7" };
  const envelope = createEnvelope(usual());
  assert.deepEqual(await inbound.receive(encodeEnvelope(envelope)), notSigned);
  await signEnvelope(envelope, alice);
  envelope.destination = createEnvelope({ destination: { twin: 9, connection: "x" } }).destination!;
  assert.deepEqual(await inbound.receive(encodeEnvelope(envelope)), notSigned);
  envelope.signature = Uint8Array.of(0x73, 1);
  assert.deepEqual(await inbound.receive(encodeEnvelope(envelope)), notSigned);
  assert.deepEqual(accepted, []);
});

Deno.test("Inbound says with a status what became of a message, and whether to try again", async () => {
  const fixture = new Fixture();
  const { inbound } = fixture;
  const envelope = await encode();
  const statuses: [Acceptance, number, string][] = [
    ["offline", 404, "destination offline"],
    ["full", 507, "queue of the destination is full"],
    ["failed", 500, "message can't be stored now"],
  ];
  for (const [acceptance, status, reason] of statuses) {
    fixture.acceptance = acceptance;
    assert.deepEqual(await inbound.receive(envelope), { status, reason });
  }
  fixture.registry.failing = true;
  const unchecked = { status: 503, reason: "twins can't be looked up now" };
  assert.deepEqual(await inbound.receive(envelope), unchecked);
});

/** A body that comes in chunks, and ends, breaks off, or does neither. */
function body(chunks: readonly Uint8Array[], end: "ends" | "breaks" | "hangs" = "ends") {
  let read = 0;
  const stream: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const value = chunks[read];
        if (value !== undefined) {
          read++;
          return Promise.resolve({ value });
        }
        if (end === "ends") return Promise.resolve({ done: true, value: undefined });
        if (end === "breaks") return Promise.reject(new Error("connection reset"));
        return new Promise(() => {});
      },
    }),
  };
  return { stream, read: () => read };
}

Deno.test("Inbound.receiveBody() takes a message in any pieces", async () => {
  const { inbound, accepted } = new Fixture();
  const envelope = await encode({
    payload: { case: "plain", value: new Uint8Array(20_000).fill(7) },
  });
  for (const size of [1, 100, 4096, 30_000]) {
    const chunks = [];
    for (let i = 0; i < envelope.length; i += size) chunks.push(envelope.subarray(i, i + size));
    chunks.push(new Uint8Array());
    const declared = size === 1 ? undefined : envelope.length;
    assert.equal((await inbound.receiveBody(body(chunks).stream, declared)).status, 202);
    assert.deepEqual(new Uint8Array(accepted.at(-1)!.bytes), new Uint8Array(envelope));
  }
});

Deno.test("Inbound.receiveBody() refuses what is too long before it is read, or as soon as it is", async () => {
  const { inbound } = new Fixture();
  const reason = "message is longer than 100000 bytes";
  const unread = body([new Uint8Array(1000)]);
  assert.deepEqual(await inbound.receiveBody(unread.stream, 100_001), { status: 413, reason });
  assert.equal(unread.read(), 0);
  const chunks = Array.from({ length: 1000 }, () => new Uint8Array(1000));
  const long = body(chunks);
  assert.deepEqual(await inbound.receiveBody(long.stream, undefined), { status: 413, reason });
  assert.equal(long.read(), 101);
});

Deno.test("Inbound.receiveBody() waits for no message for long", async () => {
  const { inbound } = new Fixture();
  const start = (await encode()).subarray(0, 50);
  const late = { status: 408, reason: "message is not complete after 100 ms" };
  assert.deepEqual(await inbound.receiveBody(body([start], "hangs").stream, 200), late);
  const early = { status: 400, reason: "message ends early" };
  assert.deepEqual(await inbound.receiveBody(body([start], "breaks").stream, 200), early);
});

Deno.test("Inbound.receiveBody() takes no more messages at once than it has room for", async () => {
  const { registry } = new Fixture();
  const { promise: acceptance, resolve } = Promise.withResolvers<Acceptance>();
  const inbound = new Inbound({
    registry,
    domains: ["here.test"],
    maxMessage: 1000,
    accept: () => acceptance,
  });
  const envelope = await encode();
  const receive = () => inbound.receiveBody(body([envelope]).stream, undefined);
  const taken = Array.from({ length: 256 }, receive);
  await new Promise((resolve) => setTimeout(resolve));
  const unread = body([envelope]);
  const busy = { status: 503, reason: "relay is overloaded, try again later" };
  assert.deepEqual(await inbound.receiveBody(unread.stream, envelope.length), busy);
  assert.equal(unread.read(), 0);
  resolve("taken");
  assert.ok((await Promise.all(taken)).every(({ status }) => status === 202));
  assert.equal((await receive()).status, 202);
});

Deno.test("Inbound.receiveBody() takes messages while many others are not complete", async () => {
  const { inbound } = new Fixture();
  const envelope = await encode();
  const hanging = Array.from(
    { length: 1000 },
    () => inbound.receiveBody(body([envelope.subarray(0, 10)], "hangs").stream, undefined),
  );
  assert.equal((await inbound.receiveBody(body([envelope]).stream, undefined)).status, 202);
  const answers = await inTime(Promise.all(hanging), "an end of those that hang");
  assert.ok(answers.every(({ status }) => status === 408));
});

Deno.test("Inbound.receiveBody() reads no more bytes at once than it has room for", async () => {
  const { registry } = new Fixture();
  const inbound = new Inbound({
    registry,
    domains: ["here.test"],
    maxMessage: 64 * 1024 * 1024,
    bodyTime: 300,
    accept: () => Promise.resolve("taken"),
  });
  const chunk = new Uint8Array(1024 * 1024);
  const most = body(Array.from({ length: 63 }, () => chunk), "hangs");
  const hanging = inbound.receiveBody(most.stream, undefined);
  await until(() => most.read() === 63, "63 MiB");
  const rest = body([chunk, chunk]);
  assert.equal((await inbound.receiveBody(rest.stream, undefined)).status, 503);
  assert.equal((await hanging).status, 408);
  const envelope = await encode();
  assert.equal((await inbound.receiveBody(body([envelope]).stream, undefined)).status, 202);
});

Deno.test("Inbound.receiveBody() gives up what takes long for want of room", async () => {
  const { registry } = new Fixture();
  const inbound = new Inbound({
    registry,
    domains: ["here.test"],
    maxMessage: 64 * 1024 * 1024,
    accept: () => Promise.resolve("taken"),
  });
  const chunk = new Uint8Array(1024 * 1024);
  const most = body(Array.from({ length: 63 }, () => chunk), "hangs");
  const hanging = inbound.receiveBody(most.stream, undefined);
  await until(() => most.read() === 63, "63 MiB");
  const more = () => inbound.receiveBody(body([chunk, chunk]).stream, undefined);
  await until(async () => (await more()).status === 400, "room for what is no envelope");
  assert.equal((await hanging).status, 503);
});
