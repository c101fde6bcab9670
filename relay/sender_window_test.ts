import assert from "node:assert/strict";
import { SenderWindow } from "./sender_window.ts";
import { FakeTimers } from "./tests/fake_timers.ts";

const MIB = 1024 * 1024;

/** A window and what is read from through it, on a clock of its own. */
class Fixture implements Disposable {
  readonly timers = new FakeTimers("Timeout");
  /** How it was paused and resumed, in order. */
  readonly events: string[] = [];
  readonly window = new SenderWindow({
    pause: () => this.events.push("pause"),
    resume: () => this.events.push("resume"),
  });

  /** Takes so many messages of a size; how many there was room for. */
  take(count: number, size = 1): number {
    let taken = 0;
    for (let i = 0; i < count; i++) if (this.window.take(size)) taken++;
    return taken;
  }

  release(count: number, size = 1): void {
    for (let i = 0; i < count; i++) {
      this.window.releaseBytes(size);
      this.window.release();
    }
  }

  [Symbol.dispose](): void {
    this.timers[Symbol.dispose]();
  }
}

Deno.test("SenderWindow pauses its sender at 1000 messages until half of them are done", () => {
  using fixture = new Fixture();
  assert.equal(fixture.take(999), 999);
  assert.deepEqual(fixture.events, []);
  fixture.take(1);
  assert.deepEqual(fixture.events, ["pause"]);
  fixture.take(5);
  assert.deepEqual(fixture.events, ["pause"], "what was read before is taken");
  fixture.release(505);
  assert.deepEqual(fixture.events, ["pause"]);
  fixture.release(1);
  assert.deepEqual(fixture.events, ["pause", "resume"]);
  assert.equal(fixture.timers.count, 0);
});

Deno.test("SenderWindow pauses its sender at 4 MiB until half of them are done", () => {
  using fixture = new Fixture();
  fixture.take(1, 4 * MIB - 1);
  assert.deepEqual(fixture.events, []);
  fixture.take(1, 1);
  assert.deepEqual(fixture.events, ["pause"]);
  fixture.release(1, 2 * MIB);
  assert.deepEqual(fixture.events, ["pause"]);
  fixture.release(1, 1);
  assert.deepEqual(fixture.events, ["pause", "resume"]);
});

Deno.test("SenderWindow pauses as often as it takes", () => {
  using fixture = new Fixture();
  for (let i = 0; i < 3; i++) {
    fixture.take(1000);
    fixture.release(1000);
  }
  const once = ["pause", "resume"];
  assert.deepEqual(fixture.events, [...once, ...once, ...once]);
});

Deno.test("SenderWindow reads a little at a time while there is no room", () => {
  using fixture = new Fixture();
  fixture.take(1000);
  fixture.timers.advance(99);
  assert.deepEqual(fixture.events, ["pause"]);
  fixture.timers.advance(1);
  assert.deepEqual(fixture.events.splice(0), ["pause", "resume"]);
  fixture.take(99);
  assert.deepEqual(fixture.events, []);
  fixture.take(1);
  assert.deepEqual(fixture.events, ["pause"]);
  fixture.timers.advance(100);
  fixture.take(1, MIB);
  assert.deepEqual(fixture.events.splice(0), ["pause", "resume", "pause"], "bytes count as well");
  fixture.release(1, MIB);
  fixture.release(601);
  assert.deepEqual(fixture.events.splice(0), ["resume"]);
  fixture.timers.advance(60_000);
  assert.deepEqual(fixture.events, []);
});

Deno.test("SenderWindow has room for bytes again while messages are under way", () => {
  using fixture = new Fixture();
  fixture.take(1, 4 * MIB);
  assert.deepEqual(fixture.events.splice(0), ["pause"]);
  fixture.window.releaseBytes(4 * MIB);
  assert.deepEqual(fixture.events, ["resume"]);
});

Deno.test("SenderWindow refuses what is above 10000 messages, until some are done", () => {
  using fixture = new Fixture();
  assert.equal(fixture.take(10_010), 10_000);
  fixture.release(2);
  assert.equal(fixture.take(5), 2);
});

Deno.test("SenderWindow refuses what comes at 32 MiB, and takes any one message below", () => {
  using fixture = new Fixture();
  assert.equal(fixture.take(1, 32 * MIB - 1), 1);
  assert.equal(fixture.take(1, 64 * MIB), 1);
  assert.equal(fixture.take(1, 0), 0);
  fixture.release(1, 64 * MIB);
  assert.equal(fixture.take(1, 0), 1);
});

Deno.test("SenderWindow has enough of a sender after 1000 refusals, one after the other", () => {
  using fixture = new Fixture();
  fixture.take(10_000 + 999);
  assert.equal(fixture.window.exhausted, false);
  fixture.release(1);
  fixture.take(1 + 999);
  assert.equal(fixture.window.exhausted, false, "one was taken between");
  fixture.take(1);
  assert.equal(fixture.window.exhausted, true);
});

Deno.test("SenderWindow neither pauses nor resumes once it is closed, and keeps no timer", () => {
  using fixture = new Fixture();
  fixture.take(1000);
  fixture.window.close();
  assert.equal(fixture.timers.count, 0);
  fixture.release(1000);
  fixture.take(10);
  assert.deepEqual(fixture.events, ["pause"]);
});

Deno.test("SenderWindow keeps no timer for what is taken after it is closed", () => {
  using fixture = new Fixture();
  fixture.take(1);
  fixture.window.close();
  fixture.release(1);
  fixture.take(1000);
  assert.deepEqual(fixture.events, []);
  assert.equal(fixture.timers.count, 0);
});
