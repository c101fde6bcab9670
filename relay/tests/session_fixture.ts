import { unixNow } from "@rmb/protocol";
import { until } from "../../tests/fixtures/deadline.ts";
import { ConnectedSession } from "../connected_session.ts";
import type { Mailbox } from "../mailbox.ts";
import { RelayMetrics } from "../metrics.ts";
import { SqliteStore } from "../sqlite/store.ts";
import { FakeSocket } from "./fake_socket.ts";

/** A session of twin 7 on a fake socket. */
export class SessionFixture implements AsyncDisposable {
  readonly store: SqliteStore;
  readonly mailbox: Mailbox;
  readonly socket = new FakeSocket(text);
  readonly metrics = new RelayMetrics();
  readonly session: ConnectedSession;

  constructor(
    { store = new SqliteStore(":memory:"), before = Promise.resolve() }: {
      store?: SqliteStore;
      before?: Promise<unknown>;
    } = {},
  ) {
    this.store = store;
    this.mailbox = store.mailbox;
    const socket = this.socket.asWebSocket();
    this.session = new ConnectedSession({ twin: 7 }, socket, store.mailbox, this.metrics, before);
  }

  /** Delivers messages, and waits until those that must are in the mailbox. */
  async deliver(...texts: string[]): Promise<void> {
    await Promise.all(texts.map((text) => this.session.deliver(bytes(text), LATER)));
  }

  /** Waits until messages go straight to the socket. */
  async direct(): Promise<void> {
    await until(() => this.session.direct, "messages go straight to the socket");
  }

  /** Waits until the socket was given so many messages. */
  async sent(count: number): Promise<string[]> {
    await until(() => this.socket.sent.length >= count, `${count} messages sent`);
    return this.socket.sent;
  }

  /** Lets what was written be taken note of. */
  async settled(): Promise<void> {
    await pause(20);
  }

  /** Takes what waits in the mailbox. */
  async waiting(): Promise<string[]> {
    const texts: string[] = [];
    for (;;) {
      const queued = await this.mailbox.read("7");
      if (queued.length === 0) return texts;
      texts.push(...queued.map(({ envelope }) => text(envelope)));
      await this.mailbox.remove("7", queued.map(({ id }) => id));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.readyState !== WebSocket.CLOSED) this.socket.end(1000);
    await this.session.ended;
    await this.store[Symbol.asyncDispose]();
  }
}

export const LATER = unixNow() + 3000;

/** Stands for so many bytes, more than a socket is given before the kernel took it. */
export const LARGE = "large";
export const LARGE_SIZE = 4 * 1024 * 1024 + 1;

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Lets everything else run once. */
export function turn(): Promise<void> {
  return pause(1);
}

export function bytes(text: string): Uint8Array {
  return text === LARGE ? new Uint8Array(LARGE_SIZE) : new TextEncoder().encode(text);
}

export function text(bytes: Uint8Array): string {
  return bytes.length === LARGE_SIZE ? LARGE : new TextDecoder().decode(bytes);
}
