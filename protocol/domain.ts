import { FormatError } from "./errors.ts";

/** Divides the domains in a twin's `relay` text. */
const SEPARATOR = "_";

/** Ports that go without saying, by scheme. */
const DEFAULT_PORTS = ["80", "443", ""];

/** Reads a twin's `relay` text: its domains, in order, each once. */
export function parseRelayDomains(text: string): string[] {
  return [...new Set(text.split(SEPARATOR).filter((domain) => domain !== ""))];
}

/** Writes relay domains as a twin's `relay` text. */
export function formatRelayDomains(domains: readonly string[]): string {
  return domains.join(SEPARATOR);
}

/** Whether two lists name the same relay domains; order and duplicates do not matter. */
export function sameRelayDomains(a: readonly string[], b: readonly string[]): boolean {
  const [left, right] = [new Set(a), new Set(b)];
  return left.size === right.size && [...left].every((domain) => right.has(domain));
}

/**
 * The relay domain of a relay's URL, as file registries hold it: its host, IPv6 in brackets, with
 * the port unless that is 80 or 443.
 *
 * @param url `ws:` or `wss:`, for example `wss://relay.grid.tf`.
 * @throws {FormatError} if it is not a WebSocket URL with a host.
 *
 * @example
 * ```ts
 * import { relayDomain } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * assert.equal(relayDomain("wss://relay.grid.tf"), "relay.grid.tf");
 * assert.equal(relayDomain("ws://[::1]:8080"), "[::1]:8080");
 * ```
 */
export function relayDomain(url: string): string {
  const { hostname, port } = parseRelayUrl(url);
  return DEFAULT_PORTS.includes(port) ? hostname : `${hostname}:${port}`;
}

/** Whether text can be a relay domain on TFChain: it has no ports and no IPv6 there. */
export function isTfchainDomain(text: string): boolean {
  return /^[A-Za-z0-9.-]+$/.test(text);
}

/**
 * Reads a relay's URL.
 *
 * @throws {FormatError} if it is not a WebSocket URL with a host, or has a user, a password, a
 * query or a fragment: the query's place is the token's.
 */
export function parseRelayUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["ws:", "wss:"].includes(url.protocol) || url.hostname === "") {
    throw new FormatError(
      `Cannot use relay URL "${withoutUser(text)}": expected ws://host or wss://host`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new FormatError(
      `Cannot use the URL of relay "${url.host}": it must have no user, query or fragment`,
    );
  }
  url.search = url.hash = ""; // A bare "?" or "#" may be there yet.
  return url;
}

/** Text that may be a URL as an error message shows it: without a password, and not too long. */
function withoutUser(text: string): string {
  return text.slice(text.lastIndexOf("@") + 1).slice(0, 80);
}
