import assert from "node:assert/strict";
import fc from "fast-check";
import { FormatError } from "./errors.ts";
import { formatSession, MAX_TWIN_ID, parseSession, sameSession, type Session } from "./session.ts";
import { anyText, anyTwin, runs, unlessRefused } from "./tests/fuzz.ts";

const anySession: fc.Arbitrary<Session> = fc.record(
  { twin: anyTwin, connection: anyText },
  { requiredKeys: ["twin"], noNullPrototype: true },
);

Deno.test("parseSession() reads what formatSession() writes", () => {
  fc.assert(fc.property(anySession, (session) => {
    assert.deepEqual(parseSession(formatSession(session)), session);
  }));
});

Deno.test("parseSession() splits at the first colon", () => {
  assert.deepEqual(parseSession("7:a:b"), { twin: 7, connection: "a:b" });
});

Deno.test("parseSession() tells an empty session id from an absent one", () => {
  assert.deepEqual(parseSession("7"), { twin: 7 });
  assert.deepEqual(parseSession("7:"), { twin: 7, connection: "" });
});

Deno.test("parseSession() rejects ids above u32", () => {
  assert.deepEqual(parseSession(String(MAX_TWIN_ID)), { twin: MAX_TWIN_ID });
  assert.throws(() => parseSession(String(MAX_TWIN_ID + 1)), FormatError);
  assert.throws(() => parseSession("99999999999999999999:sid"), FormatError);
});

Deno.test("parseSession() rejects what is not decimal digits, and quotes it", () => {
  for (const text of ["", ":", ":sid", " 7", "7 ", "+7", "-7", "7.0", "1e3", "0x7", "٧", "7\n"]) {
    assert.throws(() => parseSession(text), (error) => {
      assert.ok(error instanceof FormatError);
      assert.ok(error.message.endsWith(`got "${text}"`), error.message);
      return true;
    });
  }
});

Deno.test("parseSession() reads any text or throws a short FormatError", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 5000 }), (text) => {
      try {
        parseSession(text);
      } catch (error) {
        assert.ok(error instanceof FormatError);
        assert.ok(error.message.length < 200);
      }
    }),
    { numRuns: runs(200) },
  );
});

Deno.test("parseSession() never reads two different ids from one text", () => {
  fc.assert(fc.property(fc.stringMatching(/^\d{0,12}(:.{0,4})?$/), (text) => {
    const session = unlessRefused(() => parseSession(text), FormatError);
    if (session !== undefined) assert.equal(session.twin, Number(text.split(":")[0]));
  }));
});

Deno.test("sameSession() holds for equal twin and session id only", () => {
  fc.assert(fc.property(anySession, anySession, (a, b) => {
    assert.ok(sameSession(a, { ...a }));
    assert.equal(sameSession(a, b), formatSession(a) === formatSession(b));
  }));
  assert.equal(sameSession({ twin: 7 }, { twin: 7, connection: "" }), false);
  assert.equal(sameSession({ twin: 7 }, { twin: 7, connection: undefined }), true);
});
