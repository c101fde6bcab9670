import assert from "node:assert/strict";
import * as ws from "ws";
import { RelayConnection } from "./connection.ts";
import { RmbError } from "./errors.ts";
import { Keypair } from "./keys.ts";
import { checkPlatform, openWebSocket } from "./socket.ts";
import { Events, TestRelay } from "./tests/relay.ts";

const keypair = Keypair.fromSecret("//Alice");

/** Runs something while the platform's WebSocket is another one, or none. */
async function withWebSocket(socket: unknown, run: () => Promise<void>): Promise<void> {
  const own = globalThis.WebSocket;
  globalThis.WebSocket = socket as typeof WebSocket;
  try {
    await run();
  } finally {
    globalThis.WebSocket = own;
  }
}

Deno.test("where there is no WebSocket, the error says what to do", async () => {
  checkPlatform();
  await withWebSocket(undefined, async () => {
    const options = { url: "ws://127.0.0.1:1", session: { twin: 7 }, keypair, onMessage() {} };
    const expected = (error: Error) =>
      error instanceof RmbError && /no WebSocket: .* import\("ws"\)/.test(error.message);
    assert.throws(() => new RelayConnection(options), expected);
    const connection = new RelayConnection({
      ...options,
      openSocket: () => ({ ...idle, bufferedAmount: 0 }),
    });
    await connection.close();
  });
});

Deno.test("openWebSocket() tells the status of a refusal where ws stands for WebSocket", async () => {
  await using relay = new TestRelay();
  relay.refuse = () => new Response("no", { status: 401 });
  const ends = new Events<[reason: string, status: number | undefined]>("end");
  await withWebSocket(ws.WebSocket, async () => {
    openWebSocket(new URL(relay.url), {
      ...silent,
      onEnd: (reason, refusal) => ends.push([reason, refusal?.status]),
    });
    assert.deepEqual(await ends.next(), ["Unexpected server response: 401", 401]);
  });
});

Deno.test("openWebSocket() gives a reason also where the platform gives none", async () => {
  class Failing extends EventTarget {
    onerror: ((event: Event) => void) | null = null;
    constructor() {
      super();
      queueMicrotask(() => this.onerror?.(new Event("error")));
    }
    close() {}
  }
  const ends = new Events<string>("end");
  await withWebSocket(Failing, async () => {
    openWebSocket(new URL("ws://127.0.0.1:1"), { ...silent, onEnd: (reason) => ends.push(reason) });
    assert.match(await ends.next(), /can't be reached, or refuses/);
  });
});

const idle = { send() {}, pause() {}, resume() {}, close() {}, terminate() {} };
const silent = { onOpen() {}, onMessage() {} };
