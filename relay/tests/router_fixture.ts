import {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  formatSession,
  readRouting,
  type Session,
  type Twin,
  unixNow,
} from "@rmb/protocol";
import { until } from "../../tests/fixtures/deadline.ts";
import type { ConnectedSession } from "../connected_session.ts";
import type { Mailbox } from "../mailbox.ts";
import { RelayMetrics } from "../metrics.ts";
import type { Replicas } from "../replicas.ts";
import { Router, type RouterOptions } from "../router.ts";
import { SqliteStore } from "../sqlite/store.ts";
import { FakeSocket } from "./fake_socket.ts";

/** What to send, where it is not a request of twin 7 without tags. */
export interface Sent {
  readonly source?: Session;
  readonly connection?: string;
  readonly kind?: "request" | "response" | "ping";
  readonly tags?: string;
}

/** A router on fake sockets, which knows every twin; those from 100 on are elsewhere. */
export class RouterFixture implements AsyncDisposable {
  readonly #store = new SqliteStore(":memory:");
  readonly mailbox: Mailbox = this.#store.mailbox;
  readonly metrics = new RelayMetrics();
  readonly router: Router;
  /** Uids of messages for twins elsewhere, and who sent them. */
  readonly federated: [uid: string, sender: number][] = [];
  /** Takes a message for a twin elsewhere; may be replaced. */
  federate: () => Promise<void> = () => Promise.resolve();
  readonly #sockets: FakeSocket[] = [];

  constructor(
    { rateLimit, replicas }: Partial<RouterOptions> & { readonly replicas?: Replicas } = {},
  ) {
    const account = new Uint8Array(32);
    this.router = new Router({
      domains: ["relay.test"],
      metrics: this.metrics,
      store: { mailbox: this.mailbox, replicas, failure: undefined },
      rateLimit,
      federate: (envelope, sender) => {
        this.federated.push([readRouting(envelope).uid, sender]);
        return this.federate();
      },
      registry: {
        twin: (id): Promise<Twin> => {
          const relays = [id < 100 ? "relay.test" : "other.test"];
          return Promise.resolve({ id, account, relays, pk: undefined });
        },
      },
    });
  }

  /** Connects a session. */
  connect(twin: number, connection?: string): FakeSocket {
    return this.connectSession(twin, connection).socket;
  }

  /** Connects a session. */
  connectSession(
    twin: number,
    connection?: string,
  ): { readonly socket: FakeSocket; readonly session: ConnectedSession } {
    const socket = new FakeSocket(describe);
    this.#sockets.push(socket);
    const session = this.router.connect({ twin, connection }, socket.asWebSocket());
    return { socket, session };
  }

  /** What of a session's messages waits in the mailbox. */
  async waiting(session: Session): Promise<string[]> {
    const queued = await this.mailbox.read(formatSession(session));
    return queued.map(({ envelope }) => describe(envelope));
  }

  /** Waits until nothing is on its way to the mailbox. */
  async settled(): Promise<void> {
    await until(() => this.router.waitingBytes === 0, "nothing on its way");
  }

  /** All connections end. */
  endAll(): void {
    for (const socket of this.#sockets) socket.end(1006);
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.router.close();
    this.endAll();
    await closed;
    await this.#store[Symbol.asyncDispose]();
  }
}

/** A message as a session sends it, but for the signature. */
export function encodeMessage(uid: string, twin: number, sent: Sent = {}): Uint8Array {
  const { source = { twin: 7 }, connection, kind = "request", tags } = sent;
  return encodeEnvelope(createEnvelope({
    uid,
    tags,
    source,
    destination: { twin, connection },
    timestamp: BigInt(unixNow()),
    expiration: 60n,
    message: kind === "request"
      ? { case: kind, value: { command: "do" } }
      : { case: kind, value: {} },
  }));
}

/** The uid of a message, and what it says if it is an error. */
function describe(bytes: Uint8Array): string {
  const { uid, message } = decodeEnvelope(bytes);
  return message.case === "error" ? `${uid}: ${message.value.message}` : uid;
}
