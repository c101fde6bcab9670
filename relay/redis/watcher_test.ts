import assert from "node:assert/strict";
import { until } from "../../tests/fixtures/deadline.ts";
import { Connection } from "./connection.ts";
import { Outage } from "./outage.ts";
import { connectNeighbour, envelope, makePlace } from "./tests/place.ts";
import { Watcher } from "./watcher.ts";

Deno.test("Watcher closes connections that it needs no more, and opens others again", async () => {
  await using place = await makePlace();
  await using neighbour = await connectNeighbour(place.url);
  const connect = () => new Connection(place.url, new Outage("test"));
  await using control = connect();
  await using watcher = new Watcher(connect, control, 50);
  await control.connected;
  const connections = async () =>
    (await neighbour.send<string>("CLIENT", "LIST")).toString().trim().split("\n").length;
  const without = await connections();

  for (let round = 0; round < 2; round++) {
    const stops = Array.from({ length: 250 }, (_, i) => watcher.watch(`${i}`, "0-0", () => {}));
    await until(async () => await connections() === without + 3, "3 connections");
    for (const stop of stops.slice(1)) stop();
    await until(async () => await connections() === without + 1, "all but one closed");
    stops[0]!();
    await until(async () => await connections() === without, "all closed");
  }
  let appended = 0;
  watcher.watch("9", "0-0", () => appended++);
  await neighbour.send("XADD", "9", "*", "_", envelope("x"));
  await until(() => appended === 1, "an entry");
  assert.equal(appended, 1);
});

Deno.test("Watcher opens no connection any more while it is disposed of, and after", async () => {
  await using place = await makePlace();
  let opened = 0;
  const connect = () => {
    opened++;
    return new Connection(place.url, new Outage("test"));
  };
  await using control = new Connection(place.url, new Outage("test"));
  const watcher = new Watcher(connect, control);
  watcher.watch("7", "0-0", () => {});
  const disposed = watcher[Symbol.asyncDispose]();
  watcher.watch("8", "0-0", () => {})();
  await disposed;
  watcher.watch("9", "0-0", () => {})();
  assert.equal(opened, 1);
});
