import assert from "node:assert/strict";
import { RateLimit } from "./rate_limit.ts";
import { Clock } from "./tests/clock.ts";

/** Puts a clock forward to so many seconds behind the begin of the next minute. */
function toNextMinute(clock: Clock, seconds: number): void {
  clock.advance(60 - Date.now() / 1000 % 60 + seconds);
}

Deno.test("RateLimit allows so many messages in a minute, and as many in the next", () => {
  using clock = new Clock();
  toNextMinute(clock, 1);
  const limit = new RateLimit({ count: 3, size: 1000 });
  const send = () => Array.from({ length: 5 }, () => limit.allows(7, 1));
  assert.deepEqual(send(), [true, true, true, false, false]);
  clock.advance(50);
  assert.deepEqual(send(), [false, false, false, false, false]);
  toNextMinute(clock, 0.5);
  assert.deepEqual(send(), [true, true, true, false, false]);
});

Deno.test("RateLimit has its windows at full minutes, whenever a twin begins to send", () => {
  using clock = new Clock();
  toNextMinute(clock, 50);
  const limit = new RateLimit({ count: 1, size: 1000 });
  assert.equal(limit.allows(7, 1), true);
  assert.equal(limit.allows(7, 1), false);
  toNextMinute(clock, 0.5);
  assert.equal(limit.allows(7, 1), true);
});

Deno.test("RateLimit allows so many bytes in a minute", () => {
  using clock = new Clock();
  toNextMinute(clock, 1);
  const limit = new RateLimit({ count: 100, size: 10 });
  assert.equal(limit.allows(7, 4), true);
  assert.equal(limit.allows(7, 6), true);
  assert.equal(limit.allows(7, 0), true);
  assert.equal(limit.allows(7, 1), false);
  toNextMinute(clock, 0.5);
  assert.equal(limit.allows(7, 10), true);
});

Deno.test("RateLimit counts what it refuses", () => {
  using clock = new Clock();
  toNextMinute(clock, 1);
  const limit = new RateLimit({ count: 2, size: 10 });
  assert.equal(limit.allows(7, 9), true);
  assert.equal(limit.allows(7, 2), false);
  assert.equal(limit.allows(7, 0), false, "it is the third");
  assert.equal(limit.allows(8, 9), true);
  assert.equal(limit.allows(8, 2), false);
  assert.equal(limit.allows(8, 1), false, "its bytes are the twelfth");
});

Deno.test("RateLimit does not count a message that is larger than all of a minute's", () => {
  using clock = new Clock();
  toNextMinute(clock, 1);
  const limit = new RateLimit({ count: 1, size: 10 });
  for (let i = 0; i < 5; i++) assert.equal(limit.allows(7, 11), false);
  assert.equal(limit.allows(7, 10), true);
});

Deno.test("RateLimit limits each twin for itself", () => {
  using clock = new Clock();
  toNextMinute(clock, 1);
  const limit = new RateLimit({ count: 1, size: 10 });
  for (const twin of [1, 2, 3]) {
    assert.equal(limit.allows(twin, 10), true);
    assert.equal(limit.allows(twin, 0), false);
  }
});

Deno.test("RateLimit can allow nothing", () => {
  assert.equal(new RateLimit({ count: 0, size: 10 }).allows(7, 1), false);
});
