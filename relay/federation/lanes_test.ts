import assert from "node:assert/strict";
import { FormatError, type Session } from "@rmb/protocol";
import { encodeMessage } from "../tests/federation_fixture.ts";
import { type Lane, Lanes } from "./lanes.ts";

/** Lanes that don't go on, and each of them. */
function stoppedLanes() {
  const all: Lane[] = [];
  const lanes = new Lanes((lane) => {
    all.push(lane);
    return Promise.resolve(false);
  });
  return { lanes, all };
}

Deno.test("Lanes takes the messages of a lane one after the other", async () => {
  const order: unknown[] = [];
  let underWay = 0;
  const lanes = new Lanes(async (lane) => {
    assert.equal(++underWay, 1);
    const [first] = lane.messages;
    await Promise.resolve();
    order.push(first!.id);
    underWay--;
    if (order.length === 2) lanes.add({ id: 3, envelope: encodeMessage("3", 9) });
    lanes.remove(lane, first!);
    return true;
  });
  for (const id of [0, 1, 2]) lanes.add({ id, envelope: encodeMessage(String(id), 9) });
  assert.equal(lanes.count, 3);
  await lanes.ended();
  assert.deepEqual(order, [0, 1, 2, 3]);
  assert.equal(lanes.count, 0);
});

Deno.test("Lanes keeps apart what is of other sessions, whatever their ids", () => {
  const { lanes, all } = stoppedLanes();
  const long = "x".repeat(10_000);
  const sessions: [Session, Session][] = [
    [{ twin: 7 }, { twin: 9 }],
    [{ twin: 7 }, { twin: 9, connection: "" }],
    [{ twin: 7, connection: "" }, { twin: 9 }],
    [{ twin: 7, connection: "a" }, { twin: 9, connection: "b" }],
    [{ twin: 7, connection: "a9:b" }, { twin: 9 }],
    [{ twin: 7, connection: "a" }, { twin: 99, connection: "b" }],
    [{ twin: 7, connection: long }, { twin: 9 }],
    [{ twin: 7, connection: `${long}9` }, { twin: 9 }],
  ];
  for (const [source, { twin, connection }] of sessions) {
    const envelope = encodeMessage("1", twin, { source, connection });
    lanes.add({ id: 1, envelope });
    lanes.add({ id: 2, envelope });
  }
  assert.deepEqual(all.map(({ messages }) => messages.length), sessions.map(() => 2));
});

Deno.test("Lanes keeps only so many bytes in memory, and ids beyond", () => {
  const { lanes, all } = stoppedLanes();
  const envelope = encodeMessage("1", 9, { size: 1024 * 1024 });
  for (let id = 0; id < 40; id++) lanes.add({ id, envelope });
  const [lane] = all;
  const inMemory = () => lane!.messages.filter(({ bytes }) => bytes !== undefined).length;
  assert.equal(inMemory(), 31);
  lanes.forgetBytes(lane!.messages[0]!);
  lanes.forgetBytes(lane!.messages[0]!);
  lanes.remove(lane!, lane!.messages[1]!);
  assert.equal(inMemory(), 29);
  for (let id = 40; id < 50; id++) lanes.add({ id, envelope });
  assert.equal(inMemory(), 31);
});

Deno.test("Lanes holds nothing for longer than an hour, and no garbage", () => {
  const { lanes, all } = stoppedLanes();
  lanes.add({ id: 1, envelope: encodeMessage("1", 9, { expiration: 1e9 }) });
  const left = all[0]!.messages[0]!.expires - Date.now() / 1000;
  assert.ok(left > 3590 && left <= 3600, `${left} s`);
  assert.throws(() => lanes.add({ id: 2, envelope: Uint8Array.of(1) }), FormatError);
  assert.equal(lanes.count, 1);
});
