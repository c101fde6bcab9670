import assert from "node:assert/strict";
import { parseUrl } from "./top.ts";

Deno.test("parseUrl() reads where metrics are, with and without a scheme or a path", () => {
  assert.equal(parseUrl("localhost:8080").href, "http://localhost:8080/metrics");
  assert.equal(parseUrl("[::1]:8080").href, "http://[::1]:8080/metrics");
  assert.equal(parseUrl("https://relay.example.org").href, "https://relay.example.org/metrics");
  assert.equal(parseUrl("http://a.example/b/metrics").href, "http://a.example/b/metrics");
});

Deno.test("parseUrl() refuses what it can't use, and does not quote a password", () => {
  for (const text of ["ftp://a", "http://", "", "http://a:70000"]) {
    assert.throws(() => parseUrl(text), { message: /expected http:\/\/host:port$/ });
  }
  assert.throws(() => parseUrl("http://user:hush@a"), (error: Error) => {
    assert.match(error.message, /must not have a password/);
    assert.doesNotMatch(error.message, /hush|user/);
    return true;
  });
});
