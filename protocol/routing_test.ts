import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import assert from "node:assert/strict";
import fc from "fast-check";
import { createEnvelope, decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { FormatError } from "./errors.ts";
import type { Envelope } from "./gen/types_pb.ts";
import { readRouting, type Routing } from "./routing.ts";
import { anyEnvelope, mutated, randomNumbers, runs, unlessRefused } from "./tests/fuzz.ts";

/** The routing fields of an envelope that was decoded in full. */
function routingOf(envelope: Envelope): Routing {
  const { uid, tags, timestamp, expiration, source, destination, message } = envelope;
  return {
    uid,
    tags,
    timestamp: Number(timestamp),
    expiration: Number(expiration),
    source: { twin: source?.twin ?? 0, connection: source?.connection },
    destination: { twin: destination?.twin ?? 0, connection: destination?.connection },
    kind: message.case,
  };
}

/** The routing fields that were read, as they are compared. */
function fieldsOf(
  { uid, tags, timestamp, expiration, source, destination, kind }: Routing,
): Routing {
  return { uid, tags, timestamp, expiration, source, destination, kind };
}

/** Checks that both readers refuse the bytes, or both take them and agree on what they say. */
function checkAgreement(bytes: Uint8Array): boolean {
  const routing = unlessRefused(() => readRouting(bytes), FormatError);
  const envelope = unlessRefused(() => decodeEnvelope(bytes), FormatError);
  assert.deepEqual(routing && fieldsOf(routing), envelope && routingOf(envelope));
  return envelope !== undefined;
}

/** A field of an envelope or of a message in it, encoded. */
type Field = (writer: BinaryWriter) => BinaryWriter;

const varint = (field: number, value: number | bigint | string): Field => (writer) =>
  writer.tag(field, WireType.Varint).uint64(value);
const text = (field: number, value: string): Field => (writer) =>
  writer.tag(field, WireType.LengthDelimited).string(value);
const bytes = (field: number, ...value: number[]): Field => (writer) =>
  writer.tag(field, WireType.LengthDelimited).bytes(Uint8Array.from(value));
const fixed32 = (field: number): Field => (writer) => writer.tag(field, WireType.Bit32).fixed32(7);
const fixed64 = (field: number): Field => (writer) => writer.tag(field, WireType.Bit64).fixed64(7);
const raw = (...value: number[]): Field => (writer) => writer.raw(Uint8Array.from(value));
const nested = (field: number, ...fields: Field[]): Field => (writer) =>
  bytes(field, ...encoded(...fields))(writer);

function encoded(...fields: Field[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of fields) field(writer);
  return writer.finish() as Uint8Array;
}

/** Field numbers by wire type and, for the nested messages, their own texts and numbers. */
const NUMBERS = [3, 4];
const TEXTS = [1, 2, 10, 11, 17];
const BYTES = [9, 13, 14];
const ADDRESSES = [5, 6];
const MESSAGES = [7, 8, 12, 15, 16];
const NESTED_TEXTS = [[5, 2], [6, 2], [7, 1], [12, 2]] as const;
const NESTED_NUMBERS = [[5, 1], [6, 1], [12, 1]] as const;
const FIELDS = [...NUMBERS, ...TEXTS, ...BYTES, ...ADDRESSES, ...MESSAGES];

/** A field with a value that is right for it. */
const good = (field: number) => NUMBERS.includes(field) ? varint(field, 1) : bytes(field);

const INVALID_UTF8 = [
  [0xff],
  [0xc3], // Cut short.
  [0xc0, 0x80], // Overlong.
  [0xed, 0xa0, 0x80], // A surrogate.
  [0xf4, 0x90, 0x80, 0x80], // Beyond Unicode.
  [...new Array(100).fill(0x61), 0x80], // In text too long for the short way.
];

const refused: Record<string, Field[][]> = {
  "a field that has another wire type": FIELDS.flatMap((field) => [
    [NUMBERS.includes(field) ? bytes(field) : varint(field, 1)],
    [fixed32(field)],
    [fixed64(field)],
  ]),
  "a field of a nested message that has another wire type": [
    ...NESTED_TEXTS.map(([field, inner]) => [nested(field, varint(inner, 1))]),
    ...NESTED_NUMBERS.map(([field, inner]) => [nested(field, bytes(inner))]),
    ...[...NESTED_TEXTS, ...NESTED_NUMBERS].map((
      [field, inner],
    ) => [nested(field, fixed32(inner))]),
  ],
  "a field that comes twice, but relays": FIELDS.filter((field) => field !== 17).map((field) => [
    good(field),
    text(17, "between"),
    good(field),
  ]),
  "a field of a nested message that comes twice": [
    ...NESTED_TEXTS.map(([field, inner]) => [nested(field, text(inner, "a"), text(inner, "a"))]),
    ...NESTED_NUMBERS.map(([field, inner]) => [nested(field, varint(inner, 1), varint(inner, 1))]),
  ],
  "two messages": MESSAGES.flatMap((a) => MESSAGES.map((b) => [good(a), good(b)])),
  "two payloads": [13, 14].flatMap((a) => [13, 14].map((b) => [good(a), good(b)])),
  "a group": [...FIELDS, 18, 1000].flatMap((field) => [
    [raw(...encoded((writer) => writer.tag(field, WireType.StartGroup).tag(field, 4)))],
    [raw(...encoded((writer) => writer.tag(field, WireType.EndGroup)))],
  ]),
  "a group in a nested message": [...ADDRESSES, ...MESSAGES].flatMap((field) =>
    [1, 2, 3, 18].map((inner) => [
      nested(field, (writer) => writer.tag(inner, WireType.StartGroup).tag(inner, 4)),
    ])
  ),
  "field number 0 and wire types that do not exist": [
    [raw(0x00, 0x00)],
    [raw(0x02, 0x00)],
    [raw(0x0e)],
    [raw(0x0f)],
    [nested(5, raw(0x00, 0x00))],
    [nested(7, raw(0x00, 0x00))],
  ],
  "a tag of more than 32 bits": [
    [raw(0xff, 0xff, 0xff, 0xff, 0x1f)],
    [raw(0x98, 0x80, 0x80, 0x80, 0x80, 0x00, 0x01)],
    [nested(5, raw(0x88, 0x80, 0x80, 0x80, 0x80, 0x00, 0x01))],
  ],
  "numbers of more than 64 bits": [...NUMBERS, 18].flatMap((field) => [
    [(w) => raw(...new Array(9).fill(0xff), 0x02)(w.tag(field, WireType.Varint))],
    [(w) => raw(...new Array(10).fill(0x80), 0x00)(w.tag(field, WireType.Varint))],
    [(w) => raw(...new Array(10).fill(0x80), 0x01)(w.tag(field, WireType.Varint))],
  ]),
  "nested numbers of more than 32 bits": NESTED_NUMBERS.flatMap(([field, inner]) => [
    [nested(field, varint(inner, 2 ** 32))],
    [nested(field, varint(inner, 0xffff_ffff_ffff_ffffn))],
    [nested(field, (w) => raw(0x81, 0x80, 0x80, 0x80, 0x80, 0x00)(w.tag(inner, 0)))],
  ]),
  "numbers that end early": [...NUMBERS, 18].flatMap((field) => [
    [(w) => w.tag(field, WireType.Varint)],
    [(w) => raw(0x80)(w.tag(field, WireType.Varint))],
    [(w) => raw(...new Array(9).fill(0x80))(w.tag(field, WireType.Varint))],
  ]),
  "fixed numbers that end early": [
    [(w) => raw(1, 2, 3)(w.tag(18, WireType.Bit32))],
    [(w) => raw(1, 2, 3, 4, 5, 6, 7)(w.tag(18, WireType.Bit64))],
  ],
  "lengths beyond the end": [...TEXTS, ...BYTES, ...ADDRESSES, ...MESSAGES, 18].flatMap((field) =>
    [[0x01], [0x80, 0x01], [0xff, 0xff, 0xff, 0x7f]].map((length): Field[] => [
      (w) => raw(...length)(w.tag(field, WireType.LengthDelimited)),
    ])
  ),
  "lengths of more than 28 bits": [...TEXTS, ...BYTES, ...ADDRESSES, ...MESSAGES, 18].flatMap(
    (field) =>
      [
        [0x80, 0x80, 0x80, 0x80, 0x00],
        [0x81, 0x80, 0x80, 0x80, 0x10], // 2^32 + 1, which is 1 to those who look at 32 bits.
        [0xff, 0xff, 0xff, 0xff, 0x0f],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
      ].map((length): Field[] => [
        (w) => raw(...length, 0x61)(w.tag(field, WireType.LengthDelimited)),
      ]),
  ),
  "a nested field that overruns its message": [
    ...NESTED_TEXTS.map(([field, inner]) => [bytes(field, inner << 3 | 2, 3), text(1, "a")]),
    ...NESTED_NUMBERS.map(([field, inner]) => [bytes(field, inner << 3, 0x80), varint(3, 1)]),
    ...[...ADDRESSES, ...MESSAGES].flatMap((field) => [
      [bytes(field, 18 << 3 & 0x7f | 0x80, 1, 0x80), varint(3, 1)],
      [bytes(field, 18 << 3 & 0x7f | 0x82, 1, 0x03), varint(3, 1)],
      [bytes(field, 18 << 3 & 0x7f | 0x85, 1, 0x00), text(1, "abcd")],
    ]),
  ],
  "text that is not UTF-8": TEXTS.flatMap((field) =>
    INVALID_UTF8.map((value) => [bytes(field, ...value)])
  ),
  "nested text that is not UTF-8": NESTED_TEXTS.flatMap(([field, inner]) =>
    INVALID_UTF8.map((value) => [nested(field, bytes(inner, ...value))])
  ),
  "more than 1024 relays": [new Array(1025).fill(text(17, ""))],
};

for (const [name, cases] of Object.entries(refused)) {
  Deno.test(`readRouting() and decodeEnvelope() refuse ${name}`, () => {
    for (const fields of cases) {
      const bytes = encoded(...fields);
      assert.throws(() => readRouting(bytes), FormatError, `readRouting took ${bytes}`);
      assert.throws(() => decodeEnvelope(bytes), FormatError, `decodeEnvelope took ${bytes}`);
    }
  });
}

const accepted: Record<string, Field[][]> = {
  "each field alone, and none at all": [[], ...FIELDS.map((field) => [good(field)])],
  "one message and one payload together": MESSAGES.map((field) => [good(field), good(14)]),
  "fields in any order": [FIELDS.filter((field) => ![7, 8, 12, 15, 13].includes(field)).map(good)],
  "the largest numbers": [
    [varint(3, 0xffff_ffff_ffff_ffffn), varint(4, 2 ** 32)],
    [nested(5, varint(1, 0xffff_ffff)), nested(12, varint(1, 0xffff_ffff))],
  ],
  "numbers longer than they need be": [
    [raw(0x18, 0x81, 0x00)],
    [raw(0x18, ...new Array(9).fill(0x80), 0x00)],
    [nested(5, raw(0x08, 0x81, 0x80, 0x80, 0x80, 0x00))],
  ],
  "1024 relays": [new Array(1024).fill(text(17, "relay.grid.tf"))],
  "unknown fields of every wire type": [18, 100, 2 ** 29 - 1].flatMap((field) =>
    [varint(field, 0xffff_ffff_ffff_ffffn), text(field, "new"), fixed32(field), fixed64(field)]
      .map((unknown) => [text(1, "a"), unknown, unknown, varint(3, 1)])
  ),
  "unknown fields in nested messages": [...ADDRESSES, ...MESSAGES].flatMap((field) =>
    [varint(18, 1), text(18, "new"), bytes(18, 0xff), fixed32(18), fixed64(18)]
      .map((unknown) => [nested(field, unknown, unknown)])
  ),
  "fields of old versions, reserved now": [
    [nested(7, text(2, "twin"))],
    [nested(8, varint(1, 1), text(2, "b"))],
  ],
  "text with a byte order mark, NUL and the highest code point": [
    [text(1, "\ufeffa"), text(2, "\0"), nested(5, text(2, "\u{10ffff}"))],
    [text(1, "\ufeff".repeat(100)), text(2, "\u{10ffff}".repeat(100))],
  ],
  "bytes that are no text in fields that are none": BYTES.map((field) => [bytes(field, 0xff)]),
};

for (const [name, cases] of Object.entries(accepted)) {
  Deno.test(`readRouting() and decodeEnvelope() accept ${name}`, () => {
    for (const fields of cases) {
      const bytes = encoded(...fields);
      assert.deepEqual(fieldsOf(readRouting(bytes)), routingOf(decodeEnvelope(bytes)));
    }
  });
}

Deno.test("readRouting() reads the fields of any envelope", () => {
  fc.assert(
    fc.property(anyEnvelope, (fields) => {
      const envelope = createEnvelope(fields);
      assert.deepEqual(fieldsOf(readRouting(encodeEnvelope(envelope))), routingOf(envelope));
    }),
    { numRuns: runs(500) },
  );
});

Deno.test("readRouting() reads from a view into larger bytes", () => {
  const bytes = encodeEnvelope(createEnvelope({ uid: "a", source: { twin: 7 } }));
  const around = new Uint8Array(bytes.length + 20).fill(0xff);
  around.set(bytes, 10);
  const routing = readRouting(around.subarray(10, 10 + bytes.length));
  assert.deepEqual(fieldsOf(routing), fieldsOf(readRouting(bytes)));
});

Deno.test("readRouting() and decodeEnvelope() agree on altered envelopes", () => {
  let [taken, refused] = [0, 0];
  fc.assert(
    fc.property(anyEnvelope, fc.integer(), (fields, seed) => {
      const random = randomNumbers(seed);
      const bytes = encodeEnvelope(createEnvelope(fields));
      for (let i = 0; i < 40; i++) checkAgreement(mutated(bytes, random)) ? taken++ : refused++;
    }),
    { numRuns: runs(500) },
  );
  // Or else the alterations are too tame, or too wild, to show anything.
  assert.ok(taken > 1000 && refused > 1000, `${taken} taken, ${refused} refused`);
});

Deno.test("readRouting() and decodeEnvelope() agree on envelopes cut short and put together", () => {
  fc.assert(fc.property(anyEnvelope, anyEnvelope, (a, b) => {
    const first = encodeEnvelope(createEnvelope(a));
    const second = encodeEnvelope(createEnvelope(b));
    for (let end = 0; end < first.length; end++) checkAgreement(first.subarray(0, end));
    checkAgreement(Uint8Array.of(...first, ...second));
  }));
});

Deno.test("readRouting() and decodeEnvelope() agree on random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void checkAgreement(bytes)),
    { numRuns: runs(2000) },
  );
});

Deno.test("readRouting() and decodeEnvelope() take time in proportion to the size", () => {
  const size = 4 * 1024 * 1024;
  const long: Record<string, Uint8Array> = {
    "a number without end": new Uint8Array(size).fill(0x80).fill(0x18, 0, 1),
    "an unknown number without end": new Uint8Array(size).fill(0x80).fill(0x7a, 0, 1),
    "tiny unknown fields": Uint8Array.from({ length: size }, (_, i) => [0x90, 0x01, 0x00][i % 3]!),
    "one long text": encoded(bytes(1, ...new Uint8Array(100_000).fill(0x61))),
    "one payload": encodeEnvelope(
      createEnvelope({ payload: { case: "plain", value: new Uint8Array(size) } }),
    ),
  };
  for (const [name, bytes] of Object.entries(long)) {
    const start = performance.now();
    checkAgreement(bytes);
    assert.ok(performance.now() - start < 2000, name);
  }
});
