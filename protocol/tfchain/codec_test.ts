import { blake2b } from "@noble/hashes/blake2.js";
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatHex, parseHex } from "../account.ts";
import { FormatError, RegistryError } from "../errors.ts";
import { Keypair, verifySignature } from "../keys.ts";
import { Codec, twinOf } from "./codec.ts";
import {
  compact,
  optional,
  runtime,
  tfchainCodec,
  tfchainMetadata,
  toHex,
  twinBytes,
  u32,
} from "./tests/metadata.ts";

Deno.test.sanitizer({ ops: true, resources: true });

const codec = await tfchainCodec();
const utf8 = new TextEncoder();

// Indices in the metadata of TFChain.
const TFGRID = 25;
const [TWIN_STORED, TWIN_UPDATED, TWIN_DELETED] = [11, 12, 15];
const UPDATE_TWIN = 18;
const BALANCES = 20;

/** An event as stored in a block, of an extrinsic or of none. */
function event(extrinsic: number | undefined, ...bytes: number[]): number[] {
  const phase = extrinsic === undefined ? [1] : [0, ...u32(extrinsic)];
  return [...phase, ...bytes, ...compact(0)];
}

/** What an extrinsic weighed, its class, and whether it pays. */
const DISPATCH_INFO = [...compact(9), ...compact(0), 0, 0];

Deno.test("Codec finds twins where TFChain has them", () => {
  const pallet = "0x19a2526838feefd7695a3b5715b415b1"; // xxHash of "TfgridModule"
  const hashed = (bytes: Uint8Array) => formatHex(blake2b(bytes, { dkLen: 16 })).slice(2);
  const id = Uint8Array.from(u32(7));
  assert.ok(codec.twinKey(7).startsWith(pallet));
  assert.ok(codec.twinKey(7).endsWith(hashed(id) + "07000000"));
  const { publicKey } = Keypair.fromSecret("//Alice");
  assert.ok(codec.twinIdKey(publicKey).startsWith(pallet));
  assert.ok(
    codec.twinIdKey(publicKey).endsWith(hashed(publicKey) + formatHex(publicKey).slice(2)),
  );
});

Deno.test("readNumber() reads numbers as they are stored, and nothing else", () => {
  assert.equal(codec.readNumber("0x07000000"), 7);
  assert.equal(codec.readNumber("0xFFFFFFFF"), 2 ** 32 - 1);
  assert.equal(codec.readNumber("0x00e40b5402000000"), 10_000_000_000);
  const wrong = ["", "0x", "garbage", "0x0z000000", "0x070000", "0xffffffffffffffff", 7, {}, [1]];
  for (const bytes of wrong as string[]) {
    assert.throws(() => codec.readNumber(bytes), FormatError, `${bytes}`);
  }
});

Deno.test("readTwin() reads a twin of TFChain", () => {
  const pk = Uint8Array.of(2, ...new Uint8Array(32).fill(0x11));
  const bytes = twinBytes({ id: 4_000_000_000, relay: utf8.encode("relay.grid.tf_a-b.c:80"), pk });
  assert.deepEqual(codec.readTwin(toHex(...bytes)), {
    id: 4_000_000_000,
    account: new Uint8Array(32).fill(3),
    relays: ["relay.grid.tf", "a-b.c:80"],
    pk,
  });
});

Deno.test("readTwin() takes what is unset or empty for none", () => {
  for (const empty of [undefined, new Uint8Array()]) {
    const { relays, pk } = codec.readTwin(toHex(...twinBytes({ relay: empty, pk: empty })));
    assert.deepEqual([relays, pk], [[], undefined]);
  }
});

Deno.test("readTwin() leaves out of a relay text what is no domain", () => {
  const relays = (relay: string) =>
    codec.readTwin(toHex(...twinBytes({ relay: utf8.encode(relay) }))).relays;
  assert.deepEqual(relays("a.b_http://c_ _d/e_f?g_h@i_[::1]:8080_é_127.0.0.1:80_x:_j#"), [
    "a.b",
    "[::1]:8080",
    "127.0.0.1:80",
  ]);
});

Deno.test("readTwin() reads any relay and pk, and refuses anything else", () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(fc.property(bytes, bytes, (relay, pk) => {
    const twin = codec.readTwin(toHex(...twinBytes({ relay, pk })));
    assert.deepEqual(twin.pk, pk.length > 0 ? pk : undefined);
    for (const domain of twin.relays) assert.equal(new URL(`https://${domain}`).pathname, "/");
  }));
  fc.assert(fc.property(bytes, (bytes) => {
    try {
      codec.readTwin(formatHex(bytes));
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
    }
  }));
  const whole = twinBytes({ relay: utf8.encode("a.b"), pk: Uint8Array.of(2) });
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => codec.readTwin(toHex(...whole.slice(0, length))), FormatError);
  }
  assert.throws(() => codec.readTwin(toHex(...whole, 0)), FormatError);
});

Deno.test("readNumber() reads ids and times", () => {
  assert.equal(codec.readNumber(toHex(...u32(7))), 7);
  assert.equal(codec.readNumber(toHex(...u32(4_000_000_000))), 4_000_000_000);
  assert.equal(codec.readNumber("0x0068e5cf8b010000"), 0x018bcfe56800);
});

Deno.test("readEvents() tells which twins are new, have changed or are gone", () => {
  const events = codec.readEvents(toHex(
    ...compact(5),
    ...event(undefined, 0, 0, ...DISPATCH_INFO),
    ...event(1, TFGRID, TWIN_STORED, ...twinBytes({ id: 1, relay: utf8.encode("a.b") })),
    ...event(2, TFGRID, TWIN_UPDATED, ...twinBytes({ id: 2 })),
    ...event(2, TFGRID, TWIN_DELETED, ...u32(3)),
    ...event(2, 0, 0, ...DISPATCH_INFO),
  ));
  assert.deepEqual(events.map(twinOf), [undefined, 1, 2, 3, undefined]);
  assert.deepEqual(events.map(({ extrinsic }) => extrinsic), [undefined, 1, 2, 2, 2]);
  assert.equal(events[4]!.name, "system.ExtrinsicSuccess");
  assert.deepEqual(codec.readEvents("0x00"), []);
});

Deno.test("readEvents() refuses events that it can't read", () => {
  const whole = [...compact(1), ...event(1, TFGRID, TWIN_UPDATED, ...twinBytes({}))];
  assert.equal(codec.readEvents(toHex(...whole)).length, 1);
  for (
    const bytes of [
      [],
      whole.slice(0, -1),
      whole.slice(0, 20),
      [...whole, 0],
      [...compact(1), ...event(1, 99, 0)],
      [...compact(1), ...event(1, TFGRID, 250)],
    ]
  ) {
    assert.throws(() => codec.readEvents(toHex(...bytes)), FormatError);
  }
});

Deno.test("readFailure() says what the metadata says of a failure", () => {
  const failure = (...error: number[]) => {
    const bytes = [...compact(1), ...event(1, 0, 1, ...error, ...DISPATCH_INFO)];
    const [event_] = codec.readEvents(toHex(...bytes));
    assert.equal(event_!.name, "system.ExtrinsicFailed");
    return codec.readFailure(event_!);
  };
  const MODULE = 3;
  assert.equal(failure(MODULE, TFGRID, 27, 0, 0, 0), "TwinNotExists");
  assert.equal(
    failure(MODULE, BALANCES, 2, 0, 0, 0),
    "InsufficientBalance: Balance too low to send value.",
  );
  assert.equal(failure(2), "BadOrigin");
});

const head = { number: 70, hash: `0x${"cd".repeat(32)}`, parentHash: `0x${"ce".repeat(32)}` };

for (const type of ["sr25519", "ed25519"] as const) {
  for (const [name, relays] of Object.entries({ short: ["a.b", "c.d"], long: manyRelays() })) {
    Deno.test(`signUpdate() makes a transaction as TFChain takes it: ${type}, ${name}`, async () => {
      const keypair = Keypair.fromSecret("//Alice", type);
      const pk = new Uint8Array(33).fill(2);
      const bytes = parseHex(await codec.signUpdate(keypair, { relays, pk }, 5, head));

      const call = [TFGRID, UPDATE_TWIN, ...optional(utf8.encode(relays.join("_")))];
      call.push(...optional(pk));
      const era = [0x65, 0x00]; // 64 blocks from the 70th, as Substrate writes it.
      const extra = [...era, ...compact(5), ...compact(0)];
      const tag = type === "ed25519" ? 0 : 1;
      const signed = [0x84, 0, ...keypair.publicKey, tag];
      const length = signed.length + 64 + extra.length + call.length;
      const begin = [...compact(length), ...signed];
      assert.deepEqual([...bytes.subarray(0, begin.length)], begin);
      assert.deepEqual([...bytes.subarray(begin.length + 64)], [...extra, ...call]);

      const { specVersion, transactionVersion } = runtime.version;
      const payload = Uint8Array.from([
        ...call,
        ...extra,
        ...u32(specVersion),
        ...u32(transactionVersion),
        ...parseHex(runtime.genesisHash),
        ...parseHex(head.hash),
      ]);
      const signature = bytes.slice(begin.length - 1, begin.length + 64);
      signature[0] = type.charCodeAt(0);
      const message = payload.length > 256 ? blake2b(payload, { dkLen: 32 }) : payload;
      assert.equal(payload.length > 256, name === "long");
      assert.ok(await verifySignature(keypair.publicKey, message, signature));
    });
  }
}

function manyRelays(): string[] {
  return Array.from({ length: 40 }, (_, i) => `relay${i}.test`);
}

Deno.test("signUpdate() unsets what is to be unset", async () => {
  const update = { relays: [], pk: undefined };
  const bytes = await codec.signUpdate(Keypair.fromSecret("//Alice"), update, 0, head);
  assert.ok(bytes.endsWith(toHex(TFGRID, UPDATE_TWIN, 0, 0).slice(2)));
});

Deno.test("readHead() reads a header and computes its hash", () => {
  const zero = `0x${"00".repeat(32)}`;
  const header = {
    number: "0x46",
    parentHash: head.parentHash,
    stateRoot: zero,
    extrinsicsRoot: zero,
    digest: { logs: [] },
  };
  const encoded = [...parseHex(head.parentHash), ...compact(70), ...new Uint8Array(64), 0];
  assert.deepEqual(codec.readHead(header), {
    number: 70,
    parentHash: head.parentHash,
    hash: formatHex(blake2b(Uint8Array.from(encoded), { dkLen: 32 })),
  });
  for (
    const wrong of [
      null,
      "text",
      {},
      { ...header, number: -1 },
      { ...header, number: "seven" },
      { ...header, parentHash: "0x00" },
      { ...header, stateRoot: undefined },
    ]
  ) {
    assert.throws(() => codec.readHead(wrong), FormatError);
  }
});

const renamed: [from: string, to: string, reason: RegExp][] = [
  ["TfgridModule", "Tfgrid_odule", /^it is TFChain: it has no TfgridModule, so it can't say who/],
  ["TwinIdByAccountID", "TwinIdByAccountXX", /it has no TfgridModule.TwinIdByAccountID/],
  ["TwinUpdated", "TwinXpdated", /it has no event TfgridModule.TwinUpdated/],
  ["update_twin", "xpdate_twin", /it has no call TfgridModule.update_twin\(relay, pk\)/],
  ["account_id", "account_xx", /it has no field "accountId" in its TfgridModule.Twins/],
];
for (const [from, to, reason] of renamed) {
  Deno.test(`Codec.open() says that a chain has no ${from}`, async () => {
    const hex = (text: string) => formatHex(utf8.encode(text)).slice(2);
    const metadata = (await tfchainMetadata()).replaceAll(hex(from), hex(to));
    await assert.rejects(Codec.open(runtime, metadata), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.match(error.message, reason);
      return true;
    });
  });
}

Deno.test("Codec.open() refuses what is no metadata", async () => {
  const metadata = await tfchainMetadata();
  for (const wrong of ["0x", "text", metadata.slice(0, 40_000)]) {
    await assert.rejects(Codec.open(runtime, wrong), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.match(error.message, /^it is TFChain: its metadata can't be read: /);
      return true;
    });
  }
});
