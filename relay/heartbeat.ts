import type { Duplex } from "node:stream";
import type { WebSocket } from "./web_socket.ts";

/** Seconds without a sign of life after which a client is asked for one, again and again. */
const PING_AFTER = [20, 30];
/** Seconds without a sign of life after which a client is taken for dead. */
const DEAD_AFTER = 40;

/** Bytes of messages that are not complete, of all clients together. */
const MAX_PARTIAL = 256 * 1024 * 1024;
/** What a chunk of them costs in memory beside its bytes, about, in bytes. */
const CHUNK_OVERHEAD = 256;
/** The same for a control frame on the wire: its head and mask. */
const CONTROL_FRAME = 6;

/** A client that is watched. */
interface Client {
  readonly socket: WebSocket;
  readonly drop: (reason: string) => void;
  /** The second in which it was last heard. */
  heard: number;
  /** What it sent of a message that is not complete takes so many bytes, about. */
  partial: number;
  /** Stops watching it. */
  readonly forget: () => void;
}

/**
 * Watches clients: drops those that are dead, and, when messages that are not complete take too much
 * memory in all, those with the largest.
 */
export class Heartbeat implements Disposable {
  readonly #clients = new Set<Client>();
  readonly #timer: ReturnType<typeof setInterval>;
  #second = 0;
  #partial = 0;

  /** Starts to watch. */
  constructor() {
    this.#timer = setInterval(() => this.#look(), 1000);
  }

  /** Bytes of messages that are not complete, about. */
  get partial(): number {
    return this.#partial;
  }

  /**
   * Watches a client until it is closed.
   *
   * @param socket Its WebSocket.
   * @param connection What that reads from.
   * @param drop Ends it at once.
   */
  watch(socket: WebSocket, connection: Duplex, drop: (reason: string) => void): void {
    const receive = (chunk: Uint8Array) => {
      client.heard = this.#second;
      this.#hold(client, chunk.length + CHUNK_OVERHEAD);
      if (this.#partial > MAX_PARTIAL) this.#dropLargest();
    };
    const forget = () => {
      connection.removeListener("data", receive);
      this.#clients.delete(client);
      this.#hold(client, -client.partial);
    };
    const client: Client = { socket, drop, heard: this.#second, partial: 0, forget };
    this.#clients.add(client);
    // Before the WebSocket sees them: a message that they complete sets it right at once.
    connection.prependListener("data", receive);
    socket.on("message", () => this.#hold(client, -client.partial));
    const control = ({ length }: Uint8Array) =>
      this.#hold(client, -Math.min(client.partial, CONTROL_FRAME + length + CHUNK_OVERHEAD));
    socket.on("ping", control);
    socket.on("pong", control);
    socket.on("close", forget);
  }

  /** Watches no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #hold(client: Client, bytes: number): void {
    client.partial += bytes;
    this.#partial += bytes;
  }

  #look(): void {
    this.#second++;
    for (const { socket, heard, drop } of this.#clients) {
      const silent = this.#second - heard;
      if (silent >= DEAD_AFTER) drop(`silent for ${DEAD_AFTER} s`);
      else if (PING_AFTER.includes(silent)) socket.ping();
    }
  }

  #dropLargest(): void {
    let largest: Client | undefined;
    for (const client of this.#clients) {
      if (client.partial > (largest?.partial ?? 0)) largest = client;
    }
    largest?.forget();
    largest?.drop("its message is not complete and takes too much memory");
  }
}
