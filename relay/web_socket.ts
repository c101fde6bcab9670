import type { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import process from "node:process";
import type { Duplex } from "node:stream";
import * as ws from "ws";

/** A WebSocket, as far as the relay uses the library's. */
export interface WebSocket {
  /** 1 when it is open. */
  readonly readyState: number;
  /** Sends a message. */
  send(
    bytes: Uint8Array,
    options: { readonly binary: boolean; readonly compress: boolean },
    onWritten: (error?: Error | null) => void,
  ): void;
  /** Asks for a sign of life. */
  ping(): void;
  /** Closes it in order, or at once. */
  close(code: number, reason: string): void;
  terminate(): void;
  /** Stops reading from the client, and goes on. */
  pause(): void;
  resume(): void;
  /** A message, in one piece. */
  on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): unknown;
  /** A control frame. */
  on(event: "ping" | "pong", listener: (payload: Buffer) => void): unknown;
  /** Something is wrong; it closes then. */
  on(event: "error", listener: (error: Error) => void): unknown;
  /** It is closed. */
  on(event: "close", listener: (code: number, reason: Buffer) => void): unknown;
}

/** What makes WebSockets of upgrades. */
export interface WebSocketServer {
  /** Answers a request for an upgrade. */
  handleUpgrade(
    request: IncomingMessage,
    connection: Duplex,
    head: Uint8Array,
    onUpgraded: (socket: WebSocket) => void,
  ): void;
}

/** The bounds of a WebSocket. */
export interface WebSocketLimits {
  /** Longest message, in bytes. */
  readonly maxPayload: number;
  /** Most frames that a message can be in, and most pieces of it that the network delivers. */
  readonly maxFragments: number;
  readonly maxBufferedChunks: number;
  /** How long a client that is told to close has to do so, in milliseconds. */
  readonly closeTimeout: number;
}

/** Makes a {@linkcode WebSocketServer}. */
export function makeWebSocketServer(limits: WebSocketLimits): WebSocketServer {
  const server = new ws.WebSocketServer({
    ...limits,
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    skipUTF8Validation: true, // Envelopes are checked as such, and text is refused.
  });
  // So that clients can tell their clocks from ours.
  server.on("headers", (headers: string[]) => headers.push(`Date: ${new Date().toUTCString()}`));
  return server;
}

/**
 * Has a WebSocket write all that is sent in one turn at once: a system call for each message would cost
 * more than all the rest.
 *
 * @param connection What it writes to.
 */
export function gatherWrites(socket: WebSocket, connection: Duplex): void {
  const send = socket.send.bind(socket);
  let gathering = false;
  const flush = () => {
    gathering = false;
    connection.uncork();
  };
  socket.send = (bytes, options, onWritten) => {
    if (!gathering) {
      gathering = true;
      connection.cork();
      process.nextTick(flush);
    }
    send(bytes, options, onWritten);
  };
}
