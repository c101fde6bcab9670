/**
 * The floor of storing in Redis: @redis/client alone adds entries to streams, then reads and deletes
 * them, in groups as large as the relay's, each group pipelined. Arguments: URL, entries, bytes of each.
 * Prints what it measured as JSON.
 */
import { createClient, RESP_TYPES } from "@redis/client";
import { Buffer } from "node:buffer";
import process from "node:process";
import { measure } from "./load.ts";

const ADD = 256;
const REMOVE = 100;
const SESSIONS = 10;

const [url = "", entries = "", bytes = ""] = Deno.args;
const envelope = Buffer.alloc(Number(bytes));
const client = createClient({ url, maintNotifications: "disabled" });
client.on("error", (error) => console.error(error));
await client.connect();
const binary = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
const run = crypto.randomUUID();
const streams = Array.from({ length: SESSIONS }, (_, i) => `bench:${run}:${i}`);

const stored = await measure([process.pid], async () => {
  for (let added = 0; added < Number(entries);) {
    const group = [];
    for (; group.length < ADD && added < Number(entries); added++) {
      const stream = streams[added % SESSIONS]!;
      group.push(client.sendCommand(["XADD", stream, "*", "_", envelope]));
    }
    await Promise.all(group);
  }
  return Number(entries);
});
const delivered = await measure([process.pid], async () => {
  const removed = await Promise.all(streams.map(async (stream) => {
    let count = 0;
    for (let from = "-";;) {
      const command = ["XRANGE", stream, from, "+", "COUNT", `${REMOVE}`];
      const read = await binary.sendCommand(command) as [Buffer, Buffer[]][];
      if (read.length === 0) return count;
      const ids = read.map(([id]) => id.toString());
      from = `(${ids.at(-1)}`;
      await client.sendCommand(["XDEL", stream, ...ids]);
      count += ids.length;
    }
  }));
  await client.del(streams);
  return removed.reduce((sum, count) => sum + count);
});
client.destroy();
console.log(JSON.stringify({ stored, delivered }));
