import assert from "node:assert/strict";
import {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  EncryptionKeypair,
  type Envelope,
  type EnvelopeInit,
  Keypair,
  type KeyType,
  RegistryError,
  signEnvelope,
  type Twin,
  type TwinRegistry,
  unixNow,
  verifyEnvelope,
} from "@rmb/protocol";
import { CodedError, ErrorCode } from "./codes.ts";
import { Identity, isOfRelay } from "./identity.ts";
import { directSignatures } from "./signatures.ts";

/** A twin with its keys, and its identity on a registry that knows all of them. */
interface Person {
  readonly twin: Twin;
  readonly keypair: Keypair;
  readonly encryption: EncryptionKeypair;
  readonly identity: Identity;
}

/** Looks twins up in a map, and fails for those that stand there as errors. */
const twins = new Map<number, Twin | Error>();
const registry: Pick<TwinRegistry, "twin"> = {
  twin(id) {
    const twin = twins.get(id);
    return twin instanceof Error ? Promise.reject(twin) : Promise.resolve(twin);
  },
};

function person(
  id: number,
  type: KeyType,
  pk: (own: Uint8Array) => Uint8Array | undefined,
): Person {
  const secret = `0x${id.toString(16).padStart(64, "0")}`;
  const keypair = Keypair.fromSecret(secret, type);
  const encryption = EncryptionKeypair.fromSecret(secret)!;
  const twin = { id, account: keypair.publicKey, relays: [], pk: pk(encryption.publicKey) };
  twins.set(id, twin);
  return {
    twin,
    keypair,
    encryption,
    identity: new Identity({ twin: id }, directSignatures(keypair), encryption, registry),
  };
}

const alice = person(7, "sr25519", (own) => own);
const bob = person(9, "ed25519", (own) => own);
const withoutPk = person(11, "sr25519", () => undefined);
const unusablePk = person(12, "sr25519", () => new Uint8Array(33).fill(0xff));
const UNKNOWN = 99;
const UNREACHABLE = 100;
twins.set(UNREACHABLE, new RegistryError("no chain"));

const PLAIN = new TextEncoder().encode('{"ä":1}');
const REQUEST: EnvelopeInit = {
  uid: "uid",
  expiration: 60n,
  message: { case: "request", value: { command: "calculator.add" } },
  payload: { case: "plain", value: PLAIN },
  schema: "application/json",
  tags: "a,b",
};

/** An envelope from one to another as it arrives, whatever is wrong with it. */
async function received(
  from: Person,
  to: Person,
  fields: EnvelopeInit = {},
  signer: Keypair | undefined = from.keypair,
): Promise<Envelope> {
  const envelope = createEnvelope({
    ...REQUEST,
    timestamp: BigInt(unixNow()),
    source: { twin: from.twin.id },
    destination: { twin: to.twin.id },
    ...fields,
  });
  await signEnvelope(envelope, signer);
  return decodeEnvelope(encodeEnvelope(envelope));
}

/** The same without a signature. */
async function unsigned(from: Person, to: Person, fields: EnvelopeInit = {}): Promise<Envelope> {
  const envelope = await received(from, to, fields);
  delete envelope.signature;
  return envelope;
}

async function cipherOf(from: Person, to: Person): Promise<EnvelopeInit> {
  const value = await from.encryption.encrypt(PLAIN, to.encryption.publicKey);
  return { payload: { case: "cipher", value } };
}

/** Checks that an envelope is refused, with which code and why. */
async function checkRefused(
  action: Promise<unknown>,
  code: number,
  message: RegExp,
): Promise<void> {
  await assert.rejects(action, (error) => {
    assert.ok(error instanceof CodedError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("seal() makes an envelope that its receiver opens", async () => {
  for (const [from, to] of [[alice, bob], [bob, alice], [alice, alice]] as const) {
    const { bytes, timeLeft } = await from.identity.seal(REQUEST, { twin: to.twin.id });
    assert.equal(timeLeft, 60);
    const envelope = decodeEnvelope(bytes);
    assert.equal(envelope.payload.case, "cipher");
    await to.identity.open(envelope);
    const { uid, message, payload, schema, tags, expiration } = envelope;
    const fields = { uid, message, payload, schema, tags, expiration };
    assert.deepEqual(createEnvelope(fields), createEnvelope(REQUEST));
  }
});

Deno.test("seal() signs what it sends with source, destination and the present time", async () => {
  const before = unixNow();
  const to = { twin: 9, connection: "bot" };
  const envelope = decodeEnvelope((await alice.identity.seal(REQUEST, to)).bytes);
  assert.ok(await verifyEnvelope(envelope, alice.keypair.publicKey));
  assert.deepEqual([envelope.source?.twin, envelope.source?.connection], [7, undefined]);
  assert.deepEqual([envelope.destination?.twin, envelope.destination?.connection], [9, "bot"]);
  assert.ok(envelope.timestamp >= before && envelope.timestamp <= unixNow());
});

Deno.test("seal() encrypts empty payloads too, and shows nothing of any", async () => {
  const empty = { ...REQUEST, payload: { case: "plain", value: new Uint8Array() } } as const;
  const sealed = decodeEnvelope((await alice.identity.seal(empty, { twin: 9 })).bytes);
  assert.equal(sealed.payload.case, "cipher");
  assert.equal(sealed.payload.value?.length, 28);
  const { bytes } = await alice.identity.seal(REQUEST, { twin: 9 });
  const text = new TextDecoder().decode(bytes);
  assert.ok(text.includes("calculator.add"));
  assert.ok(!text.includes("ä"));
});

Deno.test("seal() does not encrypt without a usable key on both sides", async () => {
  const keyless = new Identity({ twin: 7 }, directSignatures(alice.keypair), undefined, registry);
  for (
    const [identity, twin] of [
      [alice.identity, withoutPk.twin.id],
      [alice.identity, unusablePk.twin.id],
      [keyless, bob.twin.id],
    ] as const
  ) {
    const { payload } = decodeEnvelope((await identity.seal(REQUEST, { twin })).bytes);
    assert.deepEqual(payload, { case: "plain", value: PLAIN });
  }
});

Deno.test("seal() refuses requests while its key is not published, and answers in clear if none is", async () => {
  // Receivers would decrypt with the key that is published.
  const signatures = directSignatures(alice.keypair);
  const response: EnvelopeInit = { ...REQUEST, message: { case: "response", value: {} } };
  for (const [{ twin: { id } }, answer] of [[withoutPk, "plain"], [bob, "cipher"]] as const) {
    const unpublished = new Identity({ twin: id }, signatures, alice.encryption, registry);
    const reason = new RegExp(`^can't encrypt: twin ${id} does not publish this encryption key$`);
    await checkRefused(unpublished.seal(REQUEST, { twin: 9 }), ErrorCode.other, reason);
    const { payload } = decodeEnvelope((await unpublished.seal(response, { twin: 9 })).bytes);
    assert.equal(payload.case, answer);
  }
});

Deno.test("seal() waits for the key to be published, and does not move the deadline", async () => {
  const attempted = Promise.withResolvers<void>();
  const signatures = directSignatures(alice.keypair);
  const fresh = person(13, "sr25519", () => undefined);
  const { encryption } = fresh;
  const identity = new Identity({ twin: 13 }, signatures, encryption, registry, attempted.promise);
  const timestamp = BigInt(unixNow() - 40);
  const sealing = identity.seal({ ...REQUEST, timestamp }, { twin: 9 });
  twins.set(13, { ...fresh.twin, pk: encryption.publicKey });
  attempted.resolve();
  const { bytes, timeLeft } = await sealing;
  assert.equal(decodeEnvelope(bytes).payload.case, "cipher");
  assert.ok(timeLeft <= 20 && timeLeft >= 18, `${timeLeft}`);
});

Deno.test("seal() encrypts while it can't be asked which key is published", async () => {
  const unreachable = new Identity(
    { twin: UNREACHABLE },
    directSignatures(alice.keypair),
    alice.encryption,
    registry,
  );
  const { bytes } = await unreachable.seal(REQUEST, { twin: bob.twin.id });
  assert.equal(decodeEnvelope(bytes).payload.case, "cipher");
});

Deno.test("seal() leaves out an absent payload, and then needs not know the receiver", async () => {
  const { payload: _, ...error } = REQUEST;
  for (const twin of [9, UNKNOWN, UNREACHABLE]) {
    const { bytes } = await alice.identity.seal(error, { twin });
    assert.equal(decodeEnvelope(bytes).payload.case, undefined);
  }
});

Deno.test("seal() refuses a receiver of a payload that is unknown or can't be looked up", async () => {
  const seal = (twin: number) => alice.identity.seal(REQUEST, { twin });
  await checkRefused(seal(UNKNOWN), ErrorCode.unknownTwin, /^twin 99 is unknown$/);
  await checkRefused(seal(0), ErrorCode.unknownTwin, /^twin 0 is unknown$/);
  await checkRefused(seal(UNREACHABLE), ErrorCode.other, /^twin 100 can't be looked up now$/);
});

Deno.test("seal() never moves the deadline, and refuses what is past it", async () => {
  const now = unixNow();
  const seal = (timestamp: number) =>
    alice.identity.seal({ ...REQUEST, timestamp: BigInt(timestamp) }, { twin: 9 });
  const { timeLeft } = await seal(now - 40);
  assert.ok(timeLeft <= 20 && timeLeft >= 18, `${timeLeft}`);
  assert.equal((await seal(now + 1000)).timeLeft, 60);
  await checkRefused(seal(now - 60), ErrorCode.other, /^message has expired$/);
  const still = { ...REQUEST, expiration: 0n };
  await checkRefused(alice.identity.seal(still, { twin: 9 }), ErrorCode.other, /expired/);
});

Deno.test("seal() refuses what no relay takes", async () => {
  const value = new Uint8Array(64 * 1024 * 1024);
  const long = { ...REQUEST, payload: { case: "plain", value } } as const;
  const sealed = alice.identity.seal(long, { twin: withoutPk.twin.id });
  await checkRefused(sealed, ErrorCode.other, /is too long, at most 67108863 can be sent$/);
});

Deno.test("open() accepts what is not encrypted, also from a twin with a pk", async () => {
  const { payload: _, ...none } = REQUEST;
  for (const from of [alice, withoutPk, unusablePk]) {
    const envelope = await received(from, bob);
    await bob.identity.open(envelope);
    assert.deepEqual(envelope.payload, { case: "plain", value: PLAIN });
    const bare = await received(from, bob, { ...none, payload: { case: undefined } });
    await bob.identity.open(bare);
    assert.equal(bare.payload.case, undefined);
  }
});

Deno.test("open() refuses what has expired (102)", async () => {
  const timestamp = BigInt(unixNow());
  for (const fields of [{ expiration: 0n }, { timestamp: timestamp - 60n }, { timestamp: 0n }]) {
    const envelope = await received(alice, bob, fields);
    await checkRefused(bob.identity.open(envelope), 102, /^message has expired$/);
  }
  await bob.identity.open(await received(alice, bob, { timestamp: timestamp - 50n }));
});

Deno.test("open() refuses twins that are unknown (103)", async () => {
  for (const source of [{ twin: UNKNOWN }, { twin: 0 }, undefined]) {
    const envelope = await received(alice, bob, { source } as EnvelopeInit);
    await checkRefused(bob.identity.open(envelope), 103, /^twin (99|0) is unknown$/);
  }
});

Deno.test("open() refuses signatures that do not hold (104)", async () => {
  const expected = /^signature does not hold for the account of twin 7$/;
  await checkRefused(bob.identity.open(await unsigned(alice, bob)), 104, expected);
  const forged = await received(alice, bob, {}, bob.keypair);
  await checkRefused(bob.identity.open(forged), 104, expected);
  for (const length of [0, 1, 64, 65, 66]) {
    const malformed = await unsigned(alice, bob);
    malformed.signature = new Uint8Array(length).fill(0x73);
    await checkRefused(bob.identity.open(malformed), 104, expected);
  }
});

Deno.test("open() refuses whatever was altered on the way (104)", async () => {
  const alterations: readonly ((envelope: Envelope) => void)[] = [
    (envelope) => envelope.uid = "other",
    (envelope) => envelope.tags = "other",
    (envelope) => envelope.schema = "other",
    (envelope) => envelope.expiration += 1n,
    (envelope) => envelope.timestamp += 1n,
    (envelope) => envelope.source!.connection = "other",
    (envelope) => envelope.destination!.connection = "other",
    (envelope) => envelope.message = { case: "request", value: { command: "x" } as never },
    (envelope) => envelope.payload.value![0]! ^= 1,
  ];
  for (const fields of [{}, await cipherOf(alice, bob)]) {
    for (const alter of alterations) {
      const envelope = await received(alice, bob, fields);
      alter(envelope);
      await checkRefused(bob.identity.open(envelope), 104, /signature/);
    }
  }
});

Deno.test("open() refuses what is for someone else (500)", async () => {
  const expected = /^message is for someone else$/;
  for (
    const destination of [{ twin: 7 }, { twin: 0 }, { twin: 9, connection: "bot" }, {
      twin: 9,
      connection: "",
    }, undefined]
  ) {
    const envelope = await received(alice, bob, { destination } as EnvelopeInit);
    await checkRefused(bob.identity.open(envelope), 500, expected);
  }
});

Deno.test("open() refuses to guess while a sender can't be looked up (500)", async () => {
  const envelope = await received(alice, bob, { source: { twin: UNREACHABLE } });
  await checkRefused(bob.identity.open(envelope), 500, /^twin 100 can't be looked up now$/);
});

Deno.test("open() refuses ciphers from a twin without a pk (105)", async () => {
  const envelope = await received(withoutPk, bob, await cipherOf(withoutPk, bob));
  await checkRefused(bob.identity.open(envelope), 105, /^twin 11 has no pk to decrypt with$/);
});

Deno.test("open() refuses ciphers that it can't decrypt (106)", async () => {
  const open = async (identity: Identity, from: Person, fields: EnvelopeInit) =>
    await identity.open(await received(from, bob, fields));
  const good = await cipherOf(alice, bob);
  const short: EnvelopeInit = { payload: { case: "cipher", value: new Uint8Array(27) } };
  const keyless = new Identity({ twin: 9 }, directSignatures(bob.keypair), undefined, registry);
  await checkRefused(open(bob.identity, unusablePk, good), 106, /the sender's pk is no key/);
  await checkRefused(open(bob.identity, alice, await cipherOf(alice, alice)), 106, /another key/);
  await checkRefused(open(bob.identity, alice, short), 106, /27 bytes are too few/);
  await checkRefused(open(keyless, alice, good), 106, /^receiver has no encryption key$/);
  await open(bob.identity, alice, good);
});

Deno.test("open() decrypts nothing and tells nothing before the signature holds", async () => {
  // Each is wrong in its way and in all those after it: the first counts.
  const expired = { expiration: 0n };
  const unknown = { source: { twin: UNKNOWN } };
  const astray = { destination: { twin: 7 } };
  const garbled: EnvelopeInit = { payload: { case: "cipher", value: new Uint8Array(40) } };
  const wrong = { ...unknown, ...astray, ...garbled };
  const open = async (envelope: Promise<Envelope>) => await bob.identity.open(await envelope);
  await checkRefused(open(unsigned(alice, bob, { ...wrong, ...expired })), 102, /expired/);
  await checkRefused(open(unsigned(alice, bob, wrong)), 103, /unknown/);
  await checkRefused(open(unsigned(alice, bob, { ...astray, ...garbled })), 104, /signature/);
  await checkRefused(open(received(alice, bob, { ...astray, ...garbled })), 500, /someone else/);
  await checkRefused(open(received(alice, bob, garbled)), 106, /Cannot decrypt/);
});

const ERROR = { case: "error", value: { code: 0, message: "no" } } as const;

Deno.test("open() accepts a relay's unsigned error, with source 0 or none", async () => {
  for (const source of [undefined, { twin: 0 }]) {
    const fields = { source, destination: undefined, message: ERROR, payload: undefined };
    const envelope = await unsigned(alice, bob, fields as unknown as EnvelopeInit);
    assert.ok(isOfRelay(envelope));
    await bob.identity.open(envelope);
  }
});

Deno.test("open() refuses a relay's error that has expired (102)", async () => {
  const fields = { source: { twin: 0 }, message: ERROR, expiration: 0n };
  await checkRefused(bob.identity.open(await unsigned(alice, bob, fields)), 102, /expired/);
});

Deno.test("open() accepts nothing else unsigned", async () => {
  const { payload: _, ...bare } = REQUEST;
  for (const kind of ["request", "response", "ping", "pong", undefined] as const) {
    for (const source of [undefined, { twin: 0 }, { twin: 7 }]) {
      const message = kind === "request" ? REQUEST.message : { case: kind, value: {} };
      const fields = { ...bare, source, message } as unknown as EnvelopeInit;
      const envelope = await unsigned(alice, bob, fields);
      assert.ok(!isOfRelay(envelope));
      const code = source?.twin === 7 ? 104 : 103;
      await checkRefused(bob.identity.open(envelope), code, /signature|unknown/);
    }
  }
  const error = await unsigned(alice, bob, { message: ERROR });
  await checkRefused(bob.identity.open(error), 104, /signature/);
});
