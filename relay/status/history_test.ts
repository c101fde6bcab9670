import assert from "node:assert/strict";
import { History, INTERVAL, MAX_SAMPLES, type Reading } from "./history.ts";

function reading(fields: Partial<Reading> = {}): Reading {
  return {
    ...{ sessions: 0, messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0, queued: 0, held: 0 },
    ...{ deliveries: [], taken: new Map(), failed: new Map() },
    ...fields,
  };
}

Deno.test("History turns counters into rates, whatever time passed", () => {
  const history = new History(1000);
  history.add(reading({ messagesIn: 100, bytesIn: 1000 }), 1000);
  assert.deepEqual(history.report().times, []);
  history.add(reading({ sessions: 3, messagesIn: 150, bytesIn: 2500, queued: null }), 1010);
  history.add(reading({ sessions: 4, messagesIn: 150, bytesIn: 2500, queued: 7 }), 1040);
  history.add(reading({ sessions: 9, messagesIn: 200 }), 1040); // The clock stood still.
  const { started, interval, times, series } = history.report();
  assert.deepEqual([started, interval, times], [1000, INTERVAL, [1010, 1040]]);
  assert.deepEqual(series.sessions, [3, 4]);
  assert.deepEqual(series.messagesIn, [5, 0]);
  assert.deepEqual(series.bytesIn, [150, 0]);
  assert.deepEqual(series.queued, [null, 7]);
});

Deno.test("History estimates how long deliveries took, and says nothing of none", () => {
  const history = new History(0);
  const at = (counts: number[]) =>
    counts.map((count, i) => [[0.001, 0.01, 0.1, Infinity][i]!, count] as const);
  history.add(reading({ deliveries: at([5, 5, 5, 5]) }), 0);
  history.add(reading({ deliveries: at([55, 105, 105, 105]) }), 5);
  history.add(reading({ deliveries: at([55, 105, 105, 105]) }), 10);
  history.add(reading({ deliveries: at([55, 105, 105, 110]) }), 15);
  const { halfWithin, mostWithin } = history.report().series;
  assert.deepEqual(halfWithin, [1, null, 100]);
  assert.deepEqual(mostWithin, [9.82, null, 100]);
});

Deno.test("History keeps an hour, and gives what is new", () => {
  const history = new History(0);
  for (let i = 0; i <= MAX_SAMPLES + 10; i++) history.add(reading(), i * INTERVAL);
  const { times } = history.report();
  assert.equal(times.length, MAX_SAMPLES);
  assert.equal(times[0], 11 * INTERVAL);
  assert.equal(times.at(-1)! - times[0]!, 3600 - INTERVAL);
  assert.equal(history.countNew(times.at(-3)!), 2);
  const { times: fresh, series } = history.report(2);
  assert.deepEqual(fresh, times.slice(-2));
  assert.equal(series.sessions.length, 2);
  assert.deepEqual(history.report(0).times, []);
});

Deno.test("History has few answers, whatever is asked for", () => {
  const history = new History(0);
  for (let i = 0; i <= MAX_SAMPLES; i++) history.add(reading(), i * INTERVAL);
  const asked = [NaN, Infinity, -1, 0.5, 1e12, ...Array.from({ length: 4000 }, (_, i) => i)];
  const counts = new Set(asked.map((since) => history.countNew(since)));
  assert.deepEqual([...counts].sort((a, b) => a - b), [
    ...Array.from({ length: 13 }, (_, i) => i),
    MAX_SAMPLES,
  ]);
});

Deno.test("History forgets what a clock that was put back makes the future", () => {
  const history = new History(0);
  for (const time of [0, 5, 10, 15, 8, 13]) history.add(reading(), time);
  assert.deepEqual(history.report().times, [5, 13]);
  assert.equal(history.countNew(15), 2);
});

Deno.test("History names the relays that took most, and has all others as one", () => {
  const history = new History(0);
  const relays = (count: number, value: number, name = "relay") =>
    new Map(Array.from({ length: count }, (_, i) => [`${name}${i}.test`, value + i]));
  const shown = () =>
    history.report().relays.map(({ name, taken, failed }) => [name, taken, failed]);
  history.add(reading({ taken: relays(3, 0) }), 0);
  const rude = relays(500, 1000, "rude-words");
  history.add(
    reading({
      taken: new Map([...relays(3, 10), ["", 7]]),
      failed: new Map([...rude, ["relay1.test", 2]]),
    }),
    5,
  );
  const failed = [...rude.values()].reduce((sum, count) => sum + count);
  assert.deepEqual(shown(), [
    ["relay0.test", 10, 0],
    ["relay1.test", 10, 2],
    ["relay2.test", 10, 0],
    ["", 7, failed],
  ]);
  history.add(reading({ taken: new Map([...relays(1000, 100), ["", 7]]), failed: rude }), 10);
  assert.equal(shown().length, 21);
  assert.equal(shown().reduce((sum, [, taken]) => sum + Number(taken), 0), 599_504);
  assert.ok(JSON.stringify(history.report()).length < 5000);
});

Deno.test("History tells what other relays did lately from what they did in the hour", () => {
  const history = new History(0);
  history.add(reading(), 0);
  const counted = { taken: new Map([["a.test", 5]]), failed: new Map([["a.test", 3]]) };
  history.add(reading(counted), 5);
  const a = { name: "a.test", taken: 5, failed: 3 };
  assert.deepEqual(history.report().relays, [{ ...a, takenLately: 5, failedLately: 3 }]);
  for (let i = 2; i <= 61; i++) history.add(reading(counted), i * INTERVAL);
  assert.deepEqual(history.report().relays, [{ ...a, takenLately: 0, failedLately: 0 }]);
});
