/**
 * URLs of Redis servers, as relays and gateways take them.
 *
 * @module
 */
import { FormatError } from "./errors.ts";

/**
 * Checks that text is the URL of a Redis.
 *
 * @throws {FormatError} if not. Its message does not quote the text, which may have a password.
 */
export function checkRedisUrl(text: string): string {
  try {
    const { protocol, hostname, pathname } = new URL(text);
    decodeURIComponent(text); // As user and password will be.
    if (/^rediss?:$/.test(protocol) && hostname !== "" && /^\/?\d*$/.test(pathname)) return text;
  } catch {
    // The reason may quote the text.
  }
  throw new FormatError(
    "Cannot use the Redis URL: expected redis://user:password@host:port/number",
  );
}

/** A Redis URL without its password, for messages. */
export function redactUrl(url: string): string {
  const { protocol, host, pathname } = new URL(checkRedisUrl(url));
  return `${protocol}//${host}${pathname}`;
}
