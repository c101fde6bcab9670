import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatRelayDomains,
  isTfchainDomain,
  parseRelayDomains,
  parseRelayUrl,
  relayDomain,
  sameRelayDomains,
} from "./domain.ts";
import { FormatError } from "./errors.ts";
import { unlessRefused } from "./tests/fuzz.ts";

/** What can stand in a twin's relay text: no separator, not empty. */
const anyDomain = fc.string({ unit: "binary", minLength: 1 }).filter((text) => !text.includes("_"));

Deno.test("parseRelayDomains() reads what formatRelayDomains() writes", () => {
  fc.assert(fc.property(fc.uniqueArray(anyDomain), (domains) => {
    assert.deepEqual(parseRelayDomains(formatRelayDomains(domains)), domains);
  }));
});

Deno.test("parseRelayDomains() leaves out empty and repeated domains, and keeps the order", () => {
  assert.deepEqual(parseRelayDomains(""), []);
  assert.deepEqual(parseRelayDomains("_"), []);
  assert.deepEqual(parseRelayDomains("_b__a_b_c_"), ["b", "a", "c"]);
});

Deno.test("parseRelayDomains() keeps case, for matching is exact", () => {
  assert.deepEqual(parseRelayDomains("Relay.grid.tf_relay.grid.tf"), [
    "Relay.grid.tf",
    "relay.grid.tf",
  ]);
});

Deno.test("sameRelayDomains() ignores order and duplicates, nothing else", () => {
  assert.ok(sameRelayDomains([], []));
  assert.ok(sameRelayDomains(["a", "b"], ["b", "a", "b"]));
  assert.ok(!sameRelayDomains(["a"], ["a", "b"]));
  assert.ok(!sameRelayDomains(["a", "b"], ["a"]));
  assert.ok(!sameRelayDomains(["a", "c"], ["a", "b"]));
  assert.ok(!sameRelayDomains(["a"], ["A"]));
});

Deno.test("relayDomain() is the host, with the port unless it is 80 or 443", () => {
  assert.equal(relayDomain("wss://relay.grid.tf"), "relay.grid.tf");
  assert.equal(relayDomain("wss://relay.grid.tf/path"), "relay.grid.tf");
  assert.equal(relayDomain("wss://relay.grid.tf:443"), "relay.grid.tf");
  assert.equal(relayDomain("wss://relay.grid.tf:80"), "relay.grid.tf");
  assert.equal(relayDomain("ws://relay.grid.tf:443"), "relay.grid.tf");
  assert.equal(relayDomain("ws://relay.grid.tf:8080"), "relay.grid.tf:8080");
  assert.equal(relayDomain("ws://127.0.0.1:8080"), "127.0.0.1:8080");
});

Deno.test("isTfchainDomain() takes bare hosts", () => {
  for (const domain of ["relay.grid.tf", "Relay-1", "10.0.0.1"]) assert.ok(isTfchainDomain(domain));
  for (const domain of ["", "relay:80", "[::1]", "::1", "a_b", "a/b", "ä"]) {
    assert.ok(!isTfchainDomain(domain), domain);
  }
});

Deno.test("relayDomain() has IPv6 in brackets", () => {
  assert.equal(relayDomain("ws://[::1]:8080"), "[::1]:8080");
  assert.equal(relayDomain("ws://[::1]"), "[::1]");
});

Deno.test("relayDomain() is in lower case, as URLs are", () => {
  assert.equal(relayDomain("WSS://Relay.Grid.TF"), "relay.grid.tf");
});

Deno.test("parseRelayUrl() rejects what is not ws://host or wss://host", () => {
  for (
    const text of ["", "relay.grid.tf", "https://relay.grid.tf", "ws://", "ws://a b"]
  ) {
    assert.throws(() => parseRelayUrl(text), FormatError, text);
  }
});

Deno.test("parseRelayUrl() rejects a user, a query and a fragment", () => {
  for (const text of ["ws://user@host", "ws://:word@host", "ws://host/?query", "ws://host/#part"]) {
    assert.throws(() => parseRelayUrl(text), FormatError, text);
  }
});

Deno.test("parseRelayUrl() drops an empty query and an empty fragment", () => {
  for (const text of ["ws://host?", "ws://host#", "ws://host/?#"]) {
    assert.equal(parseRelayUrl(text).href, "ws://host/");
  }
});

Deno.test("parseRelayUrl() never quotes a password", () => {
  const anyPassword = fc.string({ unit: fc.constantFrom(..."XYZ0189-._~!@"), minLength: 8 });
  const anyScheme = fc.constantFrom("wss://", "https://", "wss:", "", "wss//");
  fc.assert(fc.property(anyScheme, anyPassword, (scheme, password) => {
    try {
      parseRelayUrl(`${scheme}user:${password}@relay.grid.tf/`);
      assert.fail("accepted");
    } catch (error) {
      assert.ok(error instanceof FormatError);
      assert.ok(!error.message.includes(password), error.message);
    }
  }));
});

Deno.test("parseRelayUrl() reads any text or throws a short FormatError", () => {
  const anyLike = fc.tuple(fc.constantFrom("", "ws://", "wss://"), fc.string({ unit: "binary" }));
  fc.assert(fc.property(anyLike, ([scheme, text]) => {
    const url = unlessRefused(() => parseRelayUrl(scheme + text), FormatError);
    if (url !== undefined) assert.match(url.href, /^wss?:\/\/[^/?#@]+\/[^?#]*$/);
  }));
  assert.throws(() => parseRelayUrl("x".repeat(1_000_000)), (error: Error) => {
    return error instanceof FormatError && error.message.length < 200;
  });
});
