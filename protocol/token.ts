import { base64urlnopad } from "@scure/base";
import { unixNow } from "./envelope.ts";
import { TokenError } from "./errors.ts";
import { type Keypair, verifySignature } from "./keys.ts";
import { MAX_TWIN_ID, type Session } from "./session.ts";

/** What a relay connection token says. */
export interface TokenClaims {
  /** Twin id. */
  readonly sub: number;
  /** Session id; absent or null for none. */
  readonly sid?: string | null;
  /** Unix time in seconds when it was made. */
  readonly iat: number;
  /** Unix time in seconds until which it holds, that second included. */
  readonly exp: number;
}

/** A token taken apart, not yet verified. */
export interface Token {
  /** What it says. */
  readonly claims: TokenClaims;
  /** What its signature covers. */
  readonly signed: Uint8Array;
  /** 65 bytes: `s` or `e` for the kind of key, then the signature. */
  readonly signature: Uint8Array;
}

/** Seconds that our own tokens hold: nothing stops one from being used again until then. */
const OWN_LIFETIME = 60;

/** Longest lifetime accepted, in seconds. The longest in use is the TypeScript client's: 1000. */
export const MAX_TOKEN_LIFETIME = 3600;

/** Furthest that a token's `iat` may be ahead of this machine's clock, in seconds. */
export const MAX_CLOCK_SKEW = 300;

/** Longest token read, in characters; those in use have about 200. */
const MAX_TOKEN = 4096;

const HEADER = encodeJson({ alg: "RS512", typ: "JWT" });

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder("utf-8", { fatal: true }) };

/**
 * Makes a relay connection token: a JWT whose signature is the twin's own.
 *
 * @param keypair The twin's key pair.
 * @param session The session that it connects.
 * @param now Unix time in seconds. The token holds for 60 s from then.
 *
 * @example
 * ```ts
 * import { createToken, Keypair } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const session = { twin: 1, connection: "calculator" };
 * const token = await createToken(Keypair.fromSecret("//Alice"), session);
 * const url = `wss://relay.grid.tf/?${token}`;
 * assert.equal(token.split(".").length, 3);
 * assert.ok(url.length < 512);
 * ```
 */
export async function createToken(
  keypair: Keypair,
  session: Session,
  now: number = unixNow(),
): Promise<string> {
  const claims: TokenClaims = {
    sub: session.twin,
    ...(session.connection !== undefined && { sid: session.connection }),
    iat: now,
    exp: now + OWN_LIFETIME,
  };
  const signed = `${HEADER}.${encodeJson(claims)}`;
  const signature = await keypair.sign(utf8.encoder.encode(signed));
  return `${signed}.${base64urlnopad.encode(signature)}`;
}

/**
 * Takes a token apart. Nothing it says is to be believed before {@linkcode verifyToken}.
 *
 * @throws {TokenError} if it is not a token; says what is wrong with it.
 */
export function parseToken(text: string): Token {
  if (text.length > MAX_TOKEN) {
    throw new TokenError(
      `Malformed token: ${text.length} characters, at most ${MAX_TOKEN} expected`,
    );
  }
  const parts = text.split(".");
  const [header, claims, signature] = parts;
  if (header === undefined || claims === undefined || signature === undefined || parts.length > 3) {
    throw new TokenError("Malformed token: expected three parts divided by dots");
  }
  if ((parseJson("header", header) as { alg?: unknown }).alg !== "RS512") {
    throw new TokenError('Malformed token: its header must have "alg" RS512');
  }
  return {
    claims: checkClaims(parseJson("claims", claims)),
    signed: utf8.encoder.encode(`${header}.${claims}`),
    signature: parseBase64("signature", signature),
  };
}

/** The session that a token connects. */
export function tokenSession({ sub, sid }: TokenClaims): Session {
  return { twin: sub, connection: sid ?? undefined };
}

/**
 * Checks that a token holds now, and that it does not claim to hold for longer than
 * {@linkcode MAX_TOKEN_LIFETIME} or from later than {@linkcode MAX_CLOCK_SKEW} ahead.
 *
 * @param claims What the token says.
 * @param now Unix time in seconds.
 * @throws {TokenError} if not; the message has both clocks' times.
 */
export function checkTokenTime({ iat, exp }: TokenClaims, now: number = unixNow()): void {
  const clocks = `made at ${formatTime(iat)} by the client's clock, ` +
    `it is ${formatTime(now)} by the relay's`;
  if (now > exp) throw new TokenError(`Token expired at ${formatTime(exp)}: ${clocks}`);
  if (iat > now + MAX_CLOCK_SKEW) throw new TokenError(`Token is from the future: ${clocks}`);
  if (exp - iat > MAX_TOKEN_LIFETIME) {
    throw new TokenError(
      `Token lifetime of ${exp - iat} s is too long: at most ${MAX_TOKEN_LIFETIME} s are accepted`,
    );
  }
}

/**
 * Checks that a token is signed by an account and holds now.
 *
 * @param token The token, taken apart.
 * @param account Public key of the twin that it names, 32 bytes.
 * @param now Unix time in seconds.
 * @throws {TokenError} if not.
 *
 * @example
 * ```ts
 * import { createToken, Keypair, parseToken, tokenSession, verifyToken } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const keypair = Keypair.fromSecret("//Alice");
 * const token = parseToken(await createToken(keypair, { twin: 1 }));
 * await verifyToken(token, keypair.publicKey);
 * assert.equal(tokenSession(token.claims).twin, 1);
 * ```
 */
export async function verifyToken(
  token: Token,
  account: Uint8Array,
  now: number = unixNow(),
): Promise<void> {
  checkTokenTime(token.claims, now);
  if (!await verifySignature(account, token.signed, token.signature)) {
    throw new TokenError(
      `Token signature does not hold for the account of twin ${token.claims.sub}`,
    );
  }
}

function encodeJson(value: unknown): string {
  return base64urlnopad.encode(new TextEncoder().encode(JSON.stringify(value)));
}

function parseBase64(part: string, text: string): Uint8Array {
  try {
    return base64urlnopad.decode(text);
  } catch {
    throw new TokenError(`Malformed token: its ${part} is not base64url without padding`);
  }
}

function parseJson(part: string, text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decoder.decode(parseBase64(part, text)));
  } catch (error) {
    if (error instanceof TokenError) throw error;
  }
  if (typeof value !== "object" || value === null) {
    throw new TokenError(`Malformed token: its ${part} is not a JSON object`);
  }
  return value;
}

function checkClaims(value: object): TokenClaims {
  const { sub, sid, iat, exp } = value as Record<keyof TokenClaims, unknown>;
  if (!isInteger(sub) || sub === 0 || sub > MAX_TWIN_ID) {
    throw new TokenError('Malformed token: "sub" must be a twin id');
  }
  // Half a surrogate pair, which JSON lets through, is no text: nothing can write it as UTF-8.
  if (sid !== undefined && sid !== null && !(typeof sid === "string" && sid.isWellFormed())) {
    throw new TokenError('Malformed token: "sid" must be text, null or absent');
  }
  if (!isInteger(iat) || !isInteger(exp)) {
    throw new TokenError('Malformed token: "iat" and "exp" must be Unix times in whole seconds');
  }
  return { sub, iat, exp, ...(sid !== undefined && { sid }) };
}

/** Largest Unix time that a Date can be, in seconds. */
const MAX_TIME = 8.64e12;

function isInteger(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_TIME;
}

function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
