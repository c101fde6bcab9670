/** The socket of a client that reads nothing until told to, and behaves as Deno's do. */
export class FakeSocket {
  readyState: number = WebSocket.OPEN;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  /** What was sent to the client, as text. */
  readonly sent: string[] = [];
  /** How it was closed from this side. */
  closedWith: number | undefined;
  readonly #toText: (bytes: Uint8Array) => string;
  /** Where what was sent ends, in bytes. */
  readonly #ends: number[] = [];
  #taken = 0;

  /** Makes one that is open. */
  constructor(toText: (bytes: Uint8Array) => string) {
    this.#toText = toText;
  }

  /** This, as what takes sockets sees it. */
  asWebSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  /** True for an open socket only. */
  get bufferedAmount(): number {
    return this.readyState === WebSocket.OPEN ? this.#sentBytes - this.#taken : 0;
  }

  /** Sends to the client. */
  send(bytes: ArrayBuffer | Uint8Array): void {
    this.sent.push(this.#toText(new Uint8Array(bytes)));
    this.#ends.push(this.#sentBytes + bytes.byteLength);
  }

  /** Closes it from this side. */
  close(code: number): void {
    if (this.readyState !== WebSocket.OPEN) return;
    this.readyState = WebSocket.CLOSING;
    this.closedWith = code;
  }

  /** The client sends. */
  receive(bytes: Uint8Array): void {
    this.onmessage?.({ data: bytes.slice().buffer });
  }

  /** The kernel takes so many bytes, or all. */
  take(bytes: number = Infinity): void {
    this.#taken = Math.min(this.#taken + bytes, this.#sentBytes);
  }

  /** What the kernel has as a whole. */
  get taken(): string[] {
    return this.sent.slice(0, this.#ends.filter((end) => end <= this.#taken).length);
  }

  /** The connection ends; some say so twice. */
  end(code: number): void {
    this.readyState = WebSocket.CLOSED;
    this.onclose?.({ code, reason: "" });
    this.onclose?.({ code: 0, reason: "" });
  }

  get #sentBytes(): number {
    return this.#ends.at(-1) ?? 0;
  }
}
