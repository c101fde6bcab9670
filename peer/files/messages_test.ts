import { FormatError } from "@rmb/protocol";
import fc from "fast-check";
import assert from "node:assert/strict";
import {
  formatAcknowledgement,
  formatEnding,
  formatJson,
  formatOffer,
  isUploadId,
  type Offer,
  parseAcknowledgement,
  parseEnding,
  parseOffer,
  parseTarget,
  parseUploadOrder,
  partUid,
  safeName,
} from "./messages.ts";

const UPLOAD = "0b5d8f5e-9d0f-4f0c-a4ae-3f6c6d2f7a10";
const bytesOf = (text: string) => new TextEncoder().encode(text);
const size = fc.nat({ max: Number.MAX_SAFE_INTEGER });

Deno.test("uids name an upload and what of it is meant", () => {
  assert.deepEqual(parseTarget(UPLOAD), { upload: UPLOAD, part: undefined });
  assert.deepEqual(parseTarget(`${UPLOAD}/close`), { upload: UPLOAD, part: "close" });
  fc.assert(fc.property(fc.uuid(), size, (upload, part) => {
    assert.deepEqual(parseTarget(partUid(upload, part)), { upload, part });
  }));
});

Deno.test("a uid that is none of ours is refused, and nothing of it gets near a path", () => {
  const bad = [
    ...["", "/", "..", "../../etc/passwd", `../${UPLOAD}`, UPLOAD.toUpperCase(), `${UPLOAD}/`],
    ...[`${UPLOAD}/-1`, `${UPLOAD}/01`, `${UPLOAD}/1.5`, `${UPLOAD}/9007199254740993`],
    ...[`${UPLOAD}/../x`, `${UPLOAD}\n`, `${UPLOAD}/0/0`, `${UPLOAD}\0`, `${UPLOAD}/closed`],
  ];
  for (const uid of bad) assert.throws(() => parseTarget(uid), FormatError, uid);
  fc.assert(fc.property(fc.string(), (uid) => {
    try {
      assert.ok(isUploadId(parseTarget(uid).upload));
    } catch (error) {
      assert.ok(error instanceof FormatError);
    }
  }));
});

Deno.test("offers, acknowledgements and endings are read as they were written", () => {
  const offer = fc.record<Offer>({
    size,
    command: fc.option(fc.string({ minLength: 1, maxLength: 256 }), { nil: undefined }),
    name: fc.option(fc.stringMatching(/^[\w -]{1,80}\.[a-z]{1,4}$/), { nil: undefined }),
    acknowledge: fc.boolean(),
  }, { noNullPrototype: true });
  fc.assert(fc.property(offer, (offer) => {
    assert.deepEqual(parseOffer(formatOffer(offer)), offer);
  }));
  fc.assert(fc.property(size, (offset) => {
    assert.equal(parseAcknowledgement(formatAcknowledgement(offset)), offset);
    const ending = { size: offset, sha256: "0f".repeat(32) };
    assert.deepEqual(parseEnding(formatEnding(ending)), ending);
    assert.equal(parseEnding(formatEnding(undefined)), undefined);
  }));
});

Deno.test("the reference's offer is one without acknowledgements", () => {
  const offer = parseOffer(bytesOf('{"size":12,"cmd":null}'));
  assert.deepEqual(offer, { size: 12, command: undefined, name: undefined, acknowledge: false });
  assert.equal(parseOffer(bytesOf('{"size":0,"cmd":"a.b","more":[]}')).command, "a.b");
});

Deno.test("an answer without an offset is no acknowledgement, whatever it is", () => {
  for (
    const text of ["", "null", "{}", '"x"', '{"offset":-1}', '{"offset":"1"}', '{"offset":1.5}']
  ) {
    assert.equal(parseAcknowledgement(bytesOf(text)), undefined, text);
  }
});

Deno.test("anything else is refused with what is wrong with it", () => {
  const cases: readonly [(payload: Uint8Array) => unknown, unknown, RegExp][] = [
    [parseOffer, {}, /"size" must be/],
    [parseOffer, { size: -1 }, /"size" must be/],
    [parseOffer, { size: 2 ** 53 }, /"size" must be/],
    [parseOffer, { size: 1, cmd: 5 }, /"cmd" must be text/],
    [parseOffer, { size: 1, cmd: "x".repeat(257) }, /"cmd" must have at most 256/],
    [parseOffer, [], /not a JSON object/],
    [parseOffer, { size: 1, name: "x".repeat(70_000) }, /longer than 65536 bytes/],
    [parseUploadOrder, { cmd: "x" }, /"path" must be text/],
    [parseUploadOrder, { path: "" }, /"path" must be text, not empty/],
    [parseEnding, { size: 1 }, /"sha256" must be text/],
    [parseEnding, { size: 1, sha256: "AB".repeat(32) }, /"sha256" must be 64/],
    [parseEnding, { sha256: "ab".repeat(32) }, /"size" must be/],
  ];
  for (const [parse, json, message] of cases) {
    assert.throws(() => parse(formatJson(json)), { name: "FormatError", message });
  }
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom(parseOffer, parseEnding), (bytes, parse) => {
      assert.throws(() => parse(bytes), FormatError);
    }),
  );
});

Deno.test("names of files can't lead anywhere", () => {
  assert.equal(safeName("/var/log/big file.log"), "big file.log");
  assert.equal(safeName("C:\\data\\x.bin"), "x.bin");
  assert.equal(safeName("a\nb\x1b[2J.txt"), "ab[2J.txt");
  assert.equal(safeName("été.txt"), "été.txt");
  for (const name of ["", ".", "..", "a/..", "/", "x/\0"]) assert.equal(safeName(name), undefined);
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (name) => {
    const safe = safeName(name) ?? "x";
    assert.ok(safe.length > 0 && safe.length <= 255 && safe !== "." && safe !== "..");
    assert.doesNotMatch(safe, /[/\\\p{Cc}]/u);
    assert.ok(safe.isWellFormed());
  }));
});
