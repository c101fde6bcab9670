import { EventEmitter } from "node:events";
import type { WebSocket } from "../web_socket.ts";

/** Called when a message was written, or can't be. */
type OnWritten = (error?: Error) => void;

/** The socket of a client that reads nothing until told to, and behaves as the WebSocket library's. */
export class FakeSocket extends EventEmitter {
  readyState: number = WebSocketState.open;
  /** What was sent to the client, as text. */
  readonly sent: string[] = [];
  /** How it was closed from this side. */
  closedWith: number | undefined;
  /** Whether nothing is read from the client. */
  isPaused = false;
  /** What the kernel has as a whole. */
  readonly taken: string[] = [];
  readonly #toText: (bytes: Uint8Array) => string;
  /** What the kernel does not have as a whole: the bytes left of each, and whom to tell. */
  #unwritten: { readonly text: string; left: number; readonly onWritten: OnWritten }[] = [];

  /** Makes one that is open. */
  constructor(toText: (bytes: Uint8Array) => string) {
    super();
    this.#toText = toText;
  }

  /** This, as what takes sockets sees it. */
  asWebSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  /** Sends to the client. */
  send(bytes: Uint8Array, _options: unknown, onWritten: OnWritten): void {
    if (this.readyState !== WebSocketState.open) return onWritten(new Error("not open"));
    const text = this.#toText(bytes);
    this.sent.push(text);
    this.#unwritten.push({ text, left: bytes.length, onWritten });
  }

  /** Closes it from this side. */
  close(code: number): void {
    if (this.readyState !== WebSocketState.open) return;
    this.readyState = WebSocketState.closing;
    this.closedWith = code;
  }

  /** Cuts the connection from this side. */
  terminate(): void {
    this.end(1006);
  }

  /** Reads nothing from the client. */
  pause(): void {
    this.isPaused = true;
  }

  /** Reads from the client. */
  resume(): void {
    this.isPaused = false;
  }

  /** The client sends. */
  receive(bytes: Uint8Array): void {
    this.emit("message", bytes, true);
  }

  /** The kernel takes so many bytes, or all, those included that are sent upon that. */
  take(bytes: number = Infinity): void {
    for (;;) {
      const [first] = this.#unwritten;
      if (first === undefined) return;
      const taken = Math.min(bytes, first.left);
      first.left -= taken;
      bytes -= taken;
      if (first.left > 0) return;
      this.#unwritten.shift();
      this.taken.push(first.text);
      first.onWritten();
    }
  }

  /** The connection ends. */
  end(code: number): void {
    if (this.readyState === WebSocketState.closed) return;
    this.readyState = WebSocketState.closed;
    for (const { onWritten } of this.#unwritten.splice(0)) onWritten(new Error("closed"));
    this.emit("close", code, new Uint8Array());
  }
}

/** States of a WebSocket. */
const WebSocketState = { open: 1, closing: 2, closed: 3 } as const;
