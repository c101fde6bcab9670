import assert from "node:assert/strict";
import {
  formatBytes,
  formatDuration,
  Pace,
  progressLine,
  progressText,
  timeLeft,
} from "./progress_bar.ts";

Deno.test("Pace knows no rate at first, and then that of the last seconds", () => {
  const pace = new Pace();
  assert.equal(pace.note(1000, 10), 0);
  assert.equal(pace.note(3000, 11), 2000);
  // Ten times as fast from here on: the slow beginning is forgotten.
  for (let second = 12; second <= 20; second++) pace.note(3000 + (second - 11) * 20_000, second);
  assert.equal(pace.note(3000 + 10 * 20_000, 21), 20_000);
});

Deno.test("Pace falls to 0 while nothing is done", () => {
  const pace = new Pace();
  pace.note(0, 0);
  const rates = Array.from({ length: 12 }, (_, i) => pace.note(6000, i + 1));
  assert.equal(rates[0], 6000);
  assert.ok(rates[2]! < rates[0]!);
  assert.equal(rates.at(-1), 0);
});

Deno.test("Pace begins anew with what begins again", () => {
  const pace = new Pace();
  pace.note(0, 0);
  pace.note(9000, 1);
  assert.equal(pace.note(500, 2), 0);
  assert.equal(pace.note(1500, 3), 1000);
});

Deno.test("progressText() says share, bytes, rate and time left", () => {
  assert.equal(
    progressText(45_000_000, 300_000_000, 5_000_000),
    "15 %, 45.0 MB of 300 MB, 5.0 MB/s, 51 s left",
  );
  assert.equal(progressText(0, 1000, 0), "0 %, 0 B of 1.0 kB");
  assert.equal(progressText(0, 0, 0), "100 %, 0 B of 0 B");
  assert.equal(progressText(999, 1000, 0), "99 %, 999 B of 1.0 kB");
});

Deno.test("timeLeft() is null while it is not known", () => {
  assert.equal(timeLeft(10, 30, 0), null);
  assert.equal(timeLeft(10, 30, 5), 4);
  assert.equal(timeLeft(30, 30, 0), 0);
});

Deno.test("progressLine() fits into a line, however narrow", () => {
  const wide = progressLine(45_000_000, 300_000_000, 5_000_000, 79);
  assert.match(wide, /^\[=+ +\] 15 %, 45\.0 MB of 300 MB, 5\.0 MB\/s, 51 s left$/);
  for (const width of [0, 1, 20, 50, 60, 79, 200]) {
    assert.ok(progressLine(45_000_000, 300_000_000, 5_000_000, width).length <= width);
  }
});

Deno.test("progressLine() fills its bar with the share that is done", () => {
  const bar = (done: number) => /^\[(=*)( *)\]/.exec(progressLine(done, 100, 0, 79))!;
  assert.deepEqual(bar(0).slice(1).map(({ length }) => length), [0, 40]);
  assert.deepEqual(bar(50).slice(1).map(({ length }) => length), [20, 20]);
  assert.deepEqual(bar(100).slice(1).map(({ length }) => length), [40, 0]);
});

Deno.test("formatBytes() takes a unit with at most three digits before the point", () => {
  const cases: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [99_949, "99.9 kB"],
    [99_960, "100 kB"],
    [999_600, "1.0 MB"],
    [3.2e9, "3.2 GB"],
    [5e15, "5000 TB"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

Deno.test("formatDuration() takes the two largest units", () => {
  const cases: [number, string][] = [
    [0.2, "1 s"],
    [59, "59 s"],
    [60, "1 min 0 s"],
    [3599, "59 min 59 s"],
    [3600, "1 h 0 min"],
    [90_061, "1 d 1 h"],
  ];
  for (const [seconds, text] of cases) assert.equal(formatDuration(seconds), text);
});
