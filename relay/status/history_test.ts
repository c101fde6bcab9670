import assert from "node:assert/strict";
import { History, INTERVAL, MAX_SAMPLES, type Reading } from "./history.ts";

function reading(fields: Partial<Reading> = {}): Reading {
  return {
    ...{ sessions: 0, messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0, queued: 0 },
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
  const { times: fresh, series } = history.report(times.at(-3));
  assert.deepEqual(fresh, times.slice(-2));
  assert.equal(series.sessions.length, 2);
  assert.deepEqual(history.report(1e12).times, []);
});

Deno.test("History names only relays that took something, and 20 at most", () => {
  const history = new History(0);
  const relays = (count: number, value: number, name = "relay") =>
    new Map(Array.from({ length: count }, (_, i) => [`${name}${i}.test`, value + i]));
  history.add(reading({ taken: relays(3, 0) }), 0);
  history.add(
    reading({
      taken: relays(3, 10),
      failed: new Map([["rude words.test", 4], ["relay1.test", 2]]),
    }),
    5,
  );
  const others = { name: "", taken: 0, failed: 4, takenLately: 0, failedLately: 4 };
  assert.deepEqual(
    history.report().relays.map(({ name, taken, failed }) => [name, taken, failed]),
    [
      ["relay1.test", 10, 2],
      ["relay0.test", 10, 0],
      ["relay2.test", 10, 0],
      ["", 0, 4],
    ],
  );
  assert.deepEqual(history.report().relays.at(-1), others);
  history.add(reading({ taken: relays(1000, 100) }), 10);
  assert.equal(history.report().relays.length, 20);
  assert.ok(JSON.stringify(history.report()).length < 5000);
});
