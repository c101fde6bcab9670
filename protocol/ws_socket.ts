/**
 * A WebSocket for a relay connection on Node's network API, for Deno and Node: unlike the one that every
 * platform has, it can stop reading, bounds what it takes, and sends without delay.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import process from "node:process";
import * as ws from "ws";
import { closedBy, type RelaySocket, type RelaySocketEvents, sentText } from "./socket.ts";

export type { Refusal, RelaySocket, RelaySocketEvents } from "./socket.ts";

/** The library's, as far as it is used here. */
interface WebSocket {
  readonly readyState: number;
  send(
    bytes: Uint8Array,
    options: { readonly binary: boolean; readonly compress: boolean; readonly fin: boolean },
    onWritten: (error?: Error | null) => void,
  ): void;
  close(code: number): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  on(event: "upgrade", listener: (response: IncomingMessage) => void): unknown;
  on(
    event: "unexpected-response",
    listener: (request: unknown, response: IncomingMessage) => void,
  ): unknown;
  on(event: "open", listener: () => void): unknown;
  on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "close", listener: (code: number, reason: Buffer) => void): unknown;
}

const OPEN = 1;

/** Longest message taken, in bytes: relays let none in that is longer (docs/protocol.md, Routing). */
const MAX_MESSAGE = 64 * 1024 * 1024;
/**
 * Longer messages go out in pieces of so many bytes, and no more than so many are with the system's
 * network at once: so it shows that a line is slow and not dead, and little is copied. The longest
 * message makes 512 pieces; relays of this project take 1024.
 */
const PIECE = 128 * 1024;
/** How long the relay has to close the connection after we did, in milliseconds. */
const CLOSE_TIME = 2000;
/** How much of a relay's answer is read that refuses the connection, in characters. */
const MAX_REFUSAL = 200;

/**
 * Opens a WebSocket that can stop reading. In Deno it needs permission to read the environment variables
 * `WS_NO_BUFFER_UTIL` and `WS_NO_UTF_8_VALIDATE`, beside that for the network.
 *
 * @example
 * ```ts
 * import { Client, type ClientOptions } from "@rmb/protocol";
 * import { openWsSocket } from "@rmb/protocol/ws-socket";
 *
 * async function connect(options: ClientOptions): Promise<Client> {
 *   return await Client.connect({ ...options, openSocket: openWsSocket });
 * }
 * ```
 */
export function openWsSocket(url: URL, events: RelaySocketEvents): RelaySocket {
  return new WsSocket(url, events);
}

class WsSocket implements RelaySocket {
  readonly #socket: WebSocket;
  readonly #events: RelaySocketEvents;
  /** What is written to, once there is something. */
  #connection: Socket | undefined;
  #gathering = false;
  /** What is not given to the library yet, oldest first; of the first one, all before an offset is. */
  #waiting: Uint8Array[] = [];
  #offset = 0;
  #waitingBytes = 0;
  #inFlight = 0;
  #ended = false;

  constructor(url: URL, events: RelaySocketEvents) {
    this.#events = events;
    const socket: WebSocket = this.#socket = new ws.WebSocket(url, {
      perMessageDeflate: false,
      skipUTF8Validation: true, // Envelopes are checked as such, and text is refused.
      maxPayload: MAX_MESSAGE,
      closeTimeout: CLOSE_TIME,
    });
    let date: string | undefined;
    let failure: string | undefined;
    socket.on("upgrade", (response) => {
      this.#connection = response.socket;
      date = response.headers.date;
    });
    socket.on("open", () => this.#ended || events.onOpen(date));
    socket.on("message", (data, isBinary) => {
      if (this.#ended) return;
      const { buffer, byteOffset, length } = data;
      if (isBinary) return events.onMessage(new Uint8Array(buffer, byteOffset, length));
      this.terminate();
      events.onEnd(sentText(url));
    });
    socket.on("unexpected-response", (_, response) => void this.#refused(response));
    socket.on("error", (error) => failure ??= error.message || String(error));
    socket.on("close", (code, text) => this.#end(failure ?? closedBy(url, code, text.toString())));
  }

  get bufferedAmount(): number {
    return this.#waitingBytes + this.#inFlight;
  }

  send(bytes: Uint8Array): void {
    if (this.#socket.readyState !== OPEN) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#write();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.resume(); // Or it would not see the relay's answer.
    this.#socket.close(1000);
  }

  terminate(): void {
    this.#ended = true;
    this.#socket.terminate();
  }

  /** Gives the library what it may have at once. */
  #write(): void {
    while (this.#waiting.length > 0 && this.#inFlight < PIECE) {
      const message = this.#waiting[0]!;
      const piece = message.subarray(this.#offset, this.#offset + PIECE);
      this.#offset += piece.length;
      const fin = this.#offset === message.length;
      if (fin) {
        this.#waiting.shift();
        this.#offset = 0;
      }
      this.#waitingBytes -= piece.length;
      this.#inFlight += piece.length;
      this.#gather();
      this.#socket.send(piece, { binary: true, compress: false, fin }, (error) => {
        if (error) return; // It ends then.
        this.#inFlight -= piece.length;
        this.#write();
      });
    }
  }

  /** Has what is sent in one turn written at once: a system call for each message costs much. */
  #gather(): void {
    const connection = this.#connection;
    if (this.#gathering || connection === undefined) return;
    this.#gathering = true;
    connection.cork();
    process.nextTick(() => {
      this.#gathering = false;
      connection.uncork();
    });
  }

  /** The relay answers with something else than a WebSocket. */
  async #refused(response: IncomingMessage): Promise<void> {
    const { statusCode: status = 0, headers: { date } } = response;
    let text = "";
    try {
      for await (const chunk of response.setEncoding("utf8")) {
        text += chunk;
        if (text.length >= MAX_REFUSAL) break;
      }
    } catch {
      // What came of it is enough.
    }
    text = text.slice(0, MAX_REFUSAL).trim();
    if (this.#ended) return;
    this.terminate();
    this.#events.onEnd(`it answered with HTTP status ${status}`, { status, text, date });
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.onEnd(reason);
  }
}
