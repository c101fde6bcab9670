import { createEnvelope, encodeEnvelope, readRouting, unixNow } from "@rmb/protocol";
import { createClient, RESP_TYPES } from "@redis/client";
import { Buffer } from "node:buffer";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import type { Mailbox } from "../../mailbox.ts";
import { Network } from "../../../tests/fixtures/network.ts";
import { RedisStore } from "../store.ts";

/** A redis-server of its own, where stores are opened. Disposing of it kills it. */
export async function makePlace(...args: string[]) {
  const network = await Network.create([]);
  let redis = await network.startRedis(undefined, ...args);
  return {
    url: redis.url,
    network,
    open: () => RedisStore.open(redis.url),
    /** Kills the server as a crash does. */
    kill: () => redis.program.stop("SIGKILL"),
    /** Starts it again, on the same port and with the same files. */
    restart: async () => redis = await network.startRedis(redis.port, ...args),
    /** Has the server hang, and go on. */
    pause: () => Deno.kill(redis.program.pid, "SIGSTOP"),
    resume: () => Deno.kill(redis.program.pid, "SIGCONT"),
    [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
  };
}

/** A client of another make: what a relay of the Rust implementation is to ours. */
export async function connectNeighbour(url: string) {
  const client = createClient({ url, RESP: 2 });
  client.on("error", () => {});
  await client.connect();
  const encode = (argument: string | Uint8Array) =>
    typeof argument === "string" ? argument : Buffer.from(argument);
  return {
    send: <T>(...command: (string | Uint8Array)[]) =>
      client.sendCommand(command.map(encode)) as Promise<T>,
    /** The same, with bytes for texts in the answer. */
    ask: <T>(...command: (string | Uint8Array)[]) =>
      client.sendCommand(command.map(encode), {
        typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer },
      }) as Promise<T>,
    [Symbol.asyncDispose]: () => Promise.resolve(client.destroy()),
  };
}

/** An envelope with this uid. */
export function envelope(uid: string, expires: number = unixNow() + 3000): Uint8Array {
  return encodeEnvelope(createEnvelope({ uid, expiration: BigInt(expires) }));
}

/** The uids of what waits for a session, read and removed. */
export async function drain(mailbox: Mailbox, session: string): Promise<string[]> {
  const uids: string[] = [];
  for (;;) {
    const queued = await mailbox.read(session);
    if (queued.length === 0) return uids;
    uids.push(...queued.map(({ envelope }) => readRouting(envelope).uid));
    await mailbox.remove(session, queued.map(({ id }) => id));
  }
}

/** The log records of what runs, from now on. Disposing of it stops that. */
export async function captureLog() {
  const records: LogRecord[] = [];
  await configure({
    reset: true,
    sinks: { records: (record) => records.push(record) },
    loggers: [
      { category: ["rmb"], lowestLevel: "info", sinks: ["records"] },
      { category: ["logtape", "meta"], lowestLevel: "fatal" },
    ],
  });
  return {
    texts: () => records.map(({ message }) => message.join("")),
    [Symbol.asyncDispose]: reset,
  };
}
