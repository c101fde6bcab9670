import assert from "node:assert/strict";
import { FormatError } from "./errors.ts";
import { checkRedisUrl, redactUrl } from "./redis_url.ts";

Deno.test("checkRedisUrl() refuses what the Redis client could not use, and quotes nothing", () => {
  for (
    const url of ["redis://h", "redis://:pw@h:1/2", "rediss://u:p@[::1]:6379", "redis://localhost"]
  ) {
    assert.equal(checkRedisUrl(url), url);
  }
  for (
    const url of [
      "",
      "s3cret",
      "http://:s3cret@h",
      "redis://:s3cret@h/x",
      "redis:s3cret",
      "redis://:s3cret@h:port",
      "redis://:s3cret%z@h",
    ]
  ) {
    assert.throws(() => checkRedisUrl(url), (error) => {
      assert.ok(error instanceof FormatError);
      assert.match(error.message, /^Cannot use the Redis URL: expected redis:\/\//);
      assert.ok(!error.message.includes("s3cret"));
      return true;
    }, url);
  }
});

Deno.test("redactUrl() leaves out user and password", () => {
  assert.equal(redactUrl("redis://user:pass@host:6380/2"), "redis://host:6380/2");
  assert.equal(redactUrl("rediss://:pass@[::1]:6379"), "rediss://[::1]:6379");
  assert.throws(() => redactUrl("redis:// pass"), FormatError);
});
