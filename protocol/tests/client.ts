/** A relay connection for tests, with what it tells as events to wait for. */
import assert from "node:assert/strict";
import { RelayConnection, type RelayConnectionOptions, type RelayState } from "../connection.ts";
import { createEnvelope, encodeEnvelope } from "../envelope.ts";
import { NotSentError } from "../errors.ts";
import { Keypair } from "../keys.ts";
import { readRouting } from "../routing.ts";
import { type OpenSocket, openWebSocket } from "../socket.ts";
import { openWsSocket } from "../ws_socket.ts";
import { Events, type TestSession, within } from "./relay.ts";

/** The key pair of twin 7. */
export const keypair: Keypair = Keypair.fromSecret("//Alice");

/** The sockets that a connection can have. */
const SOCKETS = { "WebSocket": openWebSocket, "ws": openWsSocket };

/** What clients connect with. */
let openSocket: OpenSocket = openWebSocket;

/** A test of what holds with each kind of socket. */
export function testEachSocket(name: string, test: () => Promise<void>): void {
  for (const [kind, open] of Object.entries(SOCKETS)) {
    Deno.test(`${name} (${kind})`, async () => {
      openSocket = open;
      try {
        await test();
      } finally {
        openSocket = openWebSocket;
      }
    });
  }
}

/** A connection of session `7:sid`, quick to try again. */
export class Client implements AsyncDisposable {
  readonly connection: RelayConnection;
  readonly received = new Events<Uint8Array>("message from the relay");
  readonly states = new Events<RelayState>("change of state");

  constructor(url: string, options: Partial<RelayConnectionOptions> = {}) {
    this.connection = new RelayConnection({
      url,
      session: { twin: 7, connection: "sid" },
      keypair,
      openSocket,
      onMessage: (bytes) => this.received.push(bytes),
      onState: (state) => this.states.push(state),
      ...options,
      times: { retry: [1, 4], ...options.times },
    });
  }

  /** The next state, which must be one of not being connected. */
  async disconnected(): Promise<RelayState & { connected: false }> {
    const state = await this.states.next();
    assert.ok(!state.connected, "connected");
    return state;
  }

  /** Waits for the next state, which must be that of being connected. */
  async connected(): Promise<void> {
    assert.deepEqual(await this.states.next(), { connected: true });
  }

  close(): Promise<void> {
    return within(this.connection.close(), "the connection did not close");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** An envelope with this uid, encoded. */
export function envelope(uid: string, payload = 0): Uint8Array {
  return encodeEnvelope(
    createEnvelope({ uid, payload: { case: "plain", value: new Uint8Array(payload) } }),
  );
}

/** The uid of the next message that a session receives, pings left out. */
export async function nextUid({ messages }: TestSession): Promise<string> {
  for (;;) {
    const { uid, kind } = readRouting(await messages.next() as Uint8Array);
    if (kind !== "ping") return uid;
  }
}

/** Checks that a message is refused for a reason. */
export async function checkNotSent(sending: Promise<void>, reason: RegExp): Promise<void> {
  await assert.rejects(within(sending, "neither sent nor refused"), (error) => {
    assert.ok(error instanceof NotSentError);
    assert.match(error.message, reason);
    return true;
  });
}
