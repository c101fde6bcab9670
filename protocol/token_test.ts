import assert from "node:assert/strict";
import { base64urlnopad } from "@scure/base";
import fc from "fast-check";
import { TokenError } from "./errors.ts";
import { Keypair } from "./keys.ts";
import { anyText, anyTwin, mutated, randomNumbers, runs } from "./tests/fuzz.ts";
import {
  checkTokenTime,
  createToken,
  MAX_CLOCK_SKEW,
  MAX_TOKEN_LIFETIME,
  parseToken,
  tokenSession,
  verifyToken,
} from "./token.ts";

const NOW = 1_763_800_000;
const keypair = Keypair.fromSecret("//Alice");
const other = Keypair.fromSecret("//Bob");

const encode = (text: string) => base64urlnopad.encode(new TextEncoder().encode(text));
const HEADER = '{"alg":"RS512"}';
const CLAIMS = `{"sub":7,"iat":${NOW},"exp":${NOW + 60}}`;

/** A token of any parts, signed. */
async function signedToken(claims: string, header = HEADER): Promise<string> {
  const signed = `${encode(header)}.${encode(claims)}`;
  const signature = await keypair.sign(new TextEncoder().encode(signed));
  return `${signed}.${base64urlnopad.encode(signature)}`;
}

function checkTokenError(reason: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof TokenError);
    assert.match(error.message, reason);
    assert.ok(error.message.length < 300);
    return true;
  };
}

Deno.test("createToken() makes tokens that verify, for any session", async () => {
  const anySid = fc.option(anyText, { nil: undefined });
  const anyType = fc.constantFrom("sr25519" as const, "ed25519" as const);
  await fc.assert(
    fc.asyncProperty(anyTwin.filter((id) => id > 0), anySid, anyType, async (twin, sid, type) => {
      const keypair = Keypair.fromSecret("//Alice", type);
      const token = parseToken(await createToken(keypair, { twin, connection: sid }, NOW));
      await verifyToken(token, keypair.publicKey, NOW);
      assert.deepEqual(tokenSession(token.claims), { twin, connection: sid });
      assert.equal(token.claims.exp - token.claims.iat, 60);
    }),
    { numRuns: runs(50) },
  );
});

Deno.test("createToken() and verifyToken() take the present when not told the time", async () => {
  await verifyToken(parseToken(await createToken(keypair, { twin: 7 })), keypair.publicKey);
});

Deno.test("tokenSession() tells an empty sid from an absent one, and takes null for absent", () => {
  const times = { iat: 0, exp: 0 };
  assert.equal(tokenSession({ sub: 7, ...times }).connection, undefined);
  assert.equal(tokenSession({ sub: 7, sid: null, ...times }).connection, undefined);
  assert.equal(tokenSession({ sub: 7, sid: "", ...times }).connection, "");
});

Deno.test("parseToken() reads claims in any order, and overlooks unknown ones", async () => {
  const claims = `{"x":[1],"exp":${NOW},"sid":null,"iat":${NOW},"sub":7}`;
  const token = parseToken(await signedToken(claims, '{"typ":"JWT","kid":"1","alg":"RS512"}'));
  assert.deepEqual(token.claims, { sub: 7, sid: null, iat: NOW, exp: NOW });
  await verifyToken(token, keypair.publicKey, NOW);
});

const claimsWith = (member: string) => `${CLAIMS.slice(0, -1)},${member}}`;
const refusedClaims: [name: string, claims: string, reason: RegExp][] = [
  ["claims that are no JSON", "sub=7", /claims is not a JSON object/],
  ["claims that are a number", "7", /claims is not a JSON object/],
  ["claims that are null", "null", /claims is not a JSON object/],
  ["claims that are a list", "[7]", /"sub" must be/],
  ["no twin id", `{"iat":${NOW},"exp":${NOW}}`, /"sub" must be a twin id/],
  ["twin id 0", claimsWith('"sub":0'), /"sub" must be a twin id/],
  ["a negative twin id", claimsWith('"sub":-7'), /"sub" must be a twin id/],
  ["a twin id above u32", claimsWith('"sub":4294967296'), /"sub" must be a twin id/],
  ["a twin id that is no integer", claimsWith('"sub":7.5'), /"sub" must be a twin id/],
  ["a twin id that is text", claimsWith('"sub":"7"'), /"sub" must be a twin id/],
  ["a sid that is a number", claimsWith('"sid":1'), /"sid" must be text, null or absent/],
  ["a sid that is a list", claimsWith('"sid":["a"]'), /"sid" must be text, null or absent/],
  ["a sid that is no Unicode", claimsWith('"sid":"\\ud800"'), /"sid" must be text, null or absent/],
  ["no iat", `{"sub":7,"exp":${NOW}}`, /"iat" and "exp" must be/],
  ["no exp", `{"sub":7,"iat":${NOW}}`, /"iat" and "exp" must be/],
  ["an iat with a fraction", claimsWith('"iat":1.5'), /"iat" and "exp" must be/],
  ["an exp that is text", claimsWith(`"exp":"${NOW}"`), /"iat" and "exp" must be/],
  ["a negative iat", claimsWith('"iat":-1'), /"iat" and "exp" must be/],
  ["an exp that no clock can show", claimsWith('"exp":8640000000001'), /"iat" and "exp" must be/],
  ["an exp that is infinite", claimsWith('"exp":1e999'), /"iat" and "exp" must be/],
];
for (const [name, claims, reason] of refusedClaims) {
  Deno.test(`parseToken() rejects ${name}`, async () => {
    const token = await signedToken(claims);
    assert.throws(() => parseToken(token), checkTokenError(reason));
  });
}

const notUtf8 = base64urlnopad.encode(
  Uint8Array.from(CLAIMS.replace("{", '{"sid":"\xff",'), (letter) => letter.charCodeAt(0)),
);
const [h, c, s] = [encode(HEADER), encode(CLAIMS), encode("signature")];
const refusedTexts: [name: string, token: string, reason: RegExp][] = [
  ["empty text", "", /three parts/],
  ["two parts", `${h}.${c}`, /three parts/],
  ["four parts", `${h}.${c}.${s}.${s}`, /three parts/],
  ["padding", `${h}=.${c}.${s}`, /header is not base64url/],
  ["base64 that is not base64url", `${h}.${c}.+/+/`, /signature is not base64url/],
  ["percent encoding", `${h}.${c}.%41%41`, /signature is not base64url/],
  ["white space", `${h}.${c}.${s}\n`, /signature is not base64url/],
  ["an empty header", `.${c}.${s}`, /header is not a JSON object/],
  ["a header that is no JSON", `${encode("{")}.${c}.${s}`, /header is not a JSON object/],
  ["a header without alg", `${encode("{}")}.${c}.${s}`, /"alg" RS512/],
  ["another alg", `${encode('{"alg":"none"}')}.${c}.${s}`, /"alg" RS512/],
  ["claims that are no UTF-8", `${h}.${notUtf8}.${s}`, /claims is not a JSON object/],
  ["more than 4096 characters", `${h}.${c}.${"A".repeat(4097)}`, /at most 4096/],
];
for (const [name, token, reason] of refusedTexts) {
  Deno.test(`parseToken() rejects ${name}`, () => {
    assert.throws(() => parseToken(token), checkTokenError(reason));
  });
}

Deno.test("verifyToken() lets a token hold through the second that it expires in", async () => {
  const token = parseToken(await signedToken(CLAIMS));
  await verifyToken(token, keypair.publicKey, NOW + 60);
  await assert.rejects(
    verifyToken(token, keypair.publicKey, NOW + 61),
    checkTokenError(
      /^Token expired at 2025-11-22T08:27:40.000Z: made at 2025-11-22T08:26:40.000Z .* it is 2025-11-22T08:27:41.000Z by the relay's$/,
    ),
  );
});

Deno.test("checkTokenTime() accepts the lifetimes in use", () => {
  for (const [ahead, lifetime] of [[0, 60], [0, 300], [1, 1000]] as const) {
    checkTokenTime({ sub: 7, iat: NOW + ahead, exp: NOW + ahead + lifetime }, NOW);
  }
});

Deno.test("checkTokenTime() bounds how far ahead a token is from, and tells both clocks", () => {
  const from = (iat: number) => ({ sub: 7, iat, exp: iat + 60 });
  checkTokenTime(from(NOW + MAX_CLOCK_SKEW), NOW);
  assert.throws(
    () => checkTokenTime(from(NOW + MAX_CLOCK_SKEW + 1), NOW),
    checkTokenError(
      /^Token is from the future: made at 2025-\S+ by the client's clock, it is 2025-\S+ by the relay's$/,
    ),
  );
});

Deno.test("checkTokenTime() bounds a token's lifetime", () => {
  checkTokenTime({ sub: 7, iat: NOW, exp: NOW + MAX_TOKEN_LIFETIME }, NOW);
  assert.throws(
    () => checkTokenTime({ sub: 7, iat: NOW, exp: NOW + MAX_TOKEN_LIFETIME + 1 }, NOW),
    checkTokenError(/^Token lifetime of 3601 s is too long/),
  );
  assert.throws(() => checkTokenTime({ sub: 7, iat: 0, exp: 8.64e12 }, NOW), TokenError);
});

Deno.test("verifyToken() refuses what another account signed, or nobody", async () => {
  const text = await signedToken(CLAIMS);
  const refusal = checkTokenError(/does not hold for the account of twin 7$/);
  await assert.rejects(verifyToken(parseToken(text), other.publicKey, NOW), refusal);
  for (const signature of ["", "A".repeat(86), "c".repeat(87), encode("s"), encode("e")]) {
    const unsigned = text.replace(/[^.]*$/, signature);
    await assert.rejects(verifyToken(parseToken(unsigned), keypair.publicKey, NOW), refusal);
  }
});

Deno.test("verifyToken() refuses claims and headers other than those signed", async () => {
  const [, , signature] = (await signedToken(CLAIMS)).split(".");
  for (
    const signed of [
      `${encode(HEADER)}.${encode(CLAIMS.replace("7", "8"))}`,
      `${encode(HEADER)}.${encode(CLAIMS.replace("{", "{ "))}`,
      `${encode(HEADER.replace("{", "{ "))}.${encode(CLAIMS)}`,
    ]
  ) {
    const token = parseToken(`${signed}.${signature}`);
    await assert.rejects(verifyToken(token, keypair.publicKey, NOW), TokenError);
  }
});

/** A token taken apart, or undefined if it is refused; fails if that is not by a TokenError. */
function unlessMalformed(text: string): ReturnType<typeof parseToken> | undefined {
  try {
    return parseToken(text);
  } catch (error) {
    checkTokenError(/^Malformed token: /)(error);
    return undefined;
  }
}

Deno.test("altered tokens are refused with a TokenError, and leave verification working", async () => {
  const random = randomNumbers(3);
  const genuine = await signedToken(CLAIMS);
  const bytes = new TextEncoder().encode(genuine);
  const [head, , signature] = genuine.split(".");
  let parsed = 0;
  for (let i = runs(10_000); i > 0; i--) {
    const text = i % 2 === 0
      ? new TextDecoder().decode(mutated(bytes, random))
      : `${head}.${
        base64urlnopad.encode(mutated(new TextEncoder().encode(CLAIMS), random))
      }.${signature}`;
    const token = unlessMalformed(text);
    if (token === undefined || text === genuine) continue;
    parsed++;
    await assert.rejects(verifyToken(token, keypair.publicKey, NOW), TokenError);
  }
  assert.ok(parsed > 100, `only ${parsed} could be taken apart`);
  await verifyToken(parseToken(genuine), keypair.publicKey, NOW);
});

Deno.test("parseToken() takes any text apart or throws a TokenError", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      unlessMalformed(text);
      unlessMalformed(text.split("").map(encode).join("."));
      unlessMalformed(`${encode(HEADER)}.${encode(text)}.${encode(text)}`);
    }),
    { numRuns: runs(300) },
  );
  fc.assert(fc.property(fc.json(), (json) => {
    unlessMalformed(`${encode(HEADER)}.${encode(json)}.`);
    unlessMalformed(`${encode(json)}.${encode(CLAIMS)}.`);
  }));
});
