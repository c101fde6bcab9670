import {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  type Routing,
  type Session,
  unixNow,
} from "@rmb/protocol";
import { Registry } from "prom-client";
import { Federation } from "../federation/federation.ts";
import { FederationMetrics } from "../federation/metrics.ts";
import type { FederationTimes } from "../federation/sender.ts";
import { SqliteStore } from "../sqlite/store.ts";
import { MemoryRegistry } from "./memory_registry.ts";

/** Times as relations of each other what they are in earnest, only shorter. */
export const TIMES: FederationTimes = { request: 2000, round: 4, retry: 60 };

/** What to send, where it is not the usual. */
export interface Sent {
  readonly source?: Session;
  readonly connection?: string | undefined;
  readonly kind?: "request" | "response";
  readonly expiration?: number;
  readonly size?: number;
}

/** A federation with all that it needs, of a relay with the domain `here.test`. */
export class FederationFixture implements AsyncDisposable {
  readonly registry = new MemoryRegistry();
  readonly published = new Registry();
  readonly metrics = new FederationMetrics(this.published);
  /** The relay's own answers: session, error text, and whether the answer names its destination. */
  readonly answers: { session: Session; uid: string; text: string; named: boolean }[] = [];
  /** Uids of messages delivered here. */
  readonly here: string[] = [];
  /** Delivers here; may be replaced. */
  deliverHere: (routing: Routing) => Promise<void> = () => Promise.resolve();
  readonly #path: string;
  #store: SqliteStore;
  #federation: Federation;
  #stopped: Promise<void> | undefined;

  /**
   * Starts one.
   *
   * @param path The file of its store.
   */
  constructor(path: string = ":memory:") {
    this.#path = path;
    this.#store = new SqliteStore(path);
    this.#federation = this.#start();
  }

  /** The store's queue. */
  get queue() {
    return this.#store.federation;
  }

  /** Sends a message to a twin. */
  send(uid: string, twin: number, sent: Sent = {}): Promise<void> {
    return this.#federation.send(encodeMessage(uid, twin, sent), 7);
  }

  /** Stops the federation. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#federation[Symbol.asyncDispose]();
  }

  /** Ends it and its store as the end of the process does, and starts another. */
  async restart(): Promise<void> {
    await this.stop();
    await this.#store[Symbol.asyncDispose]();
    this.#store = new SqliteStore(this.#path);
    this.#federation = this.#start();
    this.#stopped = undefined;
  }

  /** The value of a metric. */
  async metric(name: string, relay?: string): Promise<number> {
    const { values } = await this.published.getSingleMetric(name)!.get();
    return values.find(({ labels }) => relay === undefined || labels["relay"] === relay)?.value ??
      0;
  }

  /** Stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#store[Symbol.asyncDispose]();
  }

  #start(): Federation {
    return new Federation({
      queue: this.#store.federation,
      registry: this.registry,
      domains: ["here.test"],
      scheme: "http",
      rankerPeriod: 3600,
      metrics: this.metrics,
      times: TIMES,
      answer: (session, bytes) => {
        const { uid, message, destination } = decodeEnvelope(bytes);
        const text = message.case === "error" ? message.value.message : "";
        this.answers.push({ session, uid, text, named: destination !== undefined });
      },
      deliverHere: async (_envelope, routing) => {
        await this.deliverHere(routing);
        this.here.push(routing.uid);
      },
    });
  }
}

/** A message as a session sends it, but for the signature. */
export function encodeMessage(uid: string, twin: number, sent: Sent = {}): Uint8Array {
  const { source = { twin: 7 }, kind = "request", expiration = 600, size = 0 } = sent;
  return encodeEnvelope(createEnvelope({
    uid,
    source,
    destination: { twin, connection: sent.connection },
    timestamp: BigInt(unixNow()),
    expiration: BigInt(expiration),
    message: kind === "request"
      ? { case: "request", value: { command: "do" } }
      : { case: "response", value: {} },
    payload: { case: "plain", value: new Uint8Array(size) },
  }));
}
