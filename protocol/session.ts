import { FormatError } from "./errors.ts";

/** The largest twin id: twin ids are u32. */
export const MAX_TWIN_ID = 0xffff_ffff;

/** One relay connection of a twin. */
export interface Session {
  /** Twin id, 0 = none. */
  readonly twin: number;
  /** Session id ("sid"). An empty one is not an absent one: `7:` and `7` are two sessions. */
  readonly connection?: string | undefined;
}

/** Writes a session as `7`, or `7:sid` when it has a session id. */
export function formatSession(session: Session): string {
  return session.connection === undefined
    ? String(session.twin)
    : `${session.twin}:${session.connection}`;
}

/**
 * Reads a session from `7` or `7:sid`, split at the first colon.
 *
 * @throws {FormatError} if what precedes the colon is not a twin id.
 *
 * @example
 * ```ts
 * import { formatSession, parseSession } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const session = parseSession("7:calculator");
 * assert.deepEqual(session, { twin: 7, connection: "calculator" });
 * assert.equal(formatSession(session), "7:calculator");
 * ```
 */
export function parseSession(text: string): Session {
  const colon = text.indexOf(":");
  const digits = colon < 0 ? text : text.slice(0, colon);
  const twin = Number(digits);
  if (!/^\d{1,10}$/.test(digits) || twin > MAX_TWIN_ID) {
    throw new FormatError(
      `Cannot read a session: expected "twin" or "twin:sid", got "${text.slice(0, 64)}"`,
    );
  }
  return colon < 0 ? { twin } : { twin, connection: text.slice(colon + 1) };
}

/** Whether two sessions are the same, twin and session id both. */
export function sameSession(a: Session, b: Session): boolean {
  return a.twin === b.twin && a.connection === b.connection;
}
