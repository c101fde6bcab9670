/** What is only counted is read to here, by all sockets. */
const COUNTED = new Uint8Array(256 * 1024);

/** Longest answer to an upgrade, in bytes. */
const MAX_HEAD = 4096;

/** Masked pong without a payload: an answer to a ping, or a sign of life that nobody asked for. */
export const PONG = Uint8Array.of(0x8a, 0x80, 0, 0, 0, 0);

/**
 * A WebSocket client that costs next to nothing: frames are made once and written many at a time, and
 * what arrives is counted in bytes. So the server is what a benchmark measures.
 */
export class RawSocket implements Disposable {
  readonly #connection: Deno.TcpConn;
  /** Bytes that came with the answer to the upgrade. */
  #early = new Uint8Array(0);
  /** What is written before what comes next. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Connects to a `ws:` URL, whose query is sent as it is. */
  static async connect(url: URL): Promise<RawSocket> {
    const { hostname, port, pathname, search, host } = url;
    const socket = new RawSocket(await Deno.connect({ hostname, port: Number(port) }));
    socket.#connection.setNoDelay();
    const request = `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n` +
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    await socket.#write(new TextEncoder().encode(request));
    const buffer = new Uint8Array(MAX_HEAD);
    let length = 0;
    let head = "";
    while (!head.includes("\r\n\r\n")) {
      const size = await socket.#connection.read(buffer.subarray(length));
      if (!size) break;
      length += size;
      head = new TextDecoder("latin1").decode(buffer.subarray(0, length));
    }
    if (!head.startsWith("HTTP/1.1 101")) {
      socket[Symbol.dispose]();
      throw new Error(`No WebSocket: ${head}`);
    }
    socket.#early = buffer.slice(head.indexOf("\r\n\r\n") + 4, length);
    return socket;
  }

  /** A binary message as a client's frame. Its mask is 0: the payload stands there as it is. */
  static frame(payload: Uint8Array): Uint8Array {
    const { length } = payload;
    const head = new DataView(new ArrayBuffer(RawSocket.received(length) - length + 4));
    head.setUint8(0, 0x82);
    if (length < 126) {
      head.setUint8(1, 0x80 | length);
    } else if (length < 65536) {
      head.setUint8(1, 0x80 | 126);
      head.setUint16(2, length);
    } else {
      head.setUint8(1, 0x80 | 127);
      head.setBigUint64(2, BigInt(length));
    }
    const frame = new Uint8Array(head.byteLength + length);
    frame.set(new Uint8Array(head.buffer));
    frame.set(payload, head.byteLength);
    return frame;
  }

  /** The same frame a number of times. */
  static frames(frame: Uint8Array, count: number): Uint8Array {
    const frames = new Uint8Array(frame.length * count);
    for (let i = 0; i < count; i++) frames.set(frame, i * frame.length);
    return frames;
  }

  /** Bytes of a message as a server's frame. */
  static received(payload: number): number {
    return payload + (payload < 126 ? 2 : payload < 65536 ? 4 : 10);
  }

  /** Writes bytes, all of them, behind what was written before. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#writing = this.#writing.then(() => this.#write(bytes));
  }

  /**
   * Reads what has come.
   *
   * @param buffer Where to; for those who only count, nowhere of their own.
   * @returns How many bytes that were.
   */
  async read(buffer: Uint8Array = COUNTED): Promise<number> {
    if (this.#early.length > 0) {
      const size = Math.min(this.#early.length, buffer.length);
      buffer.set(this.#early.subarray(0, size));
      this.#early = this.#early.slice(size);
      return size;
    }
    const size = await this.#connection.read(buffer);
    if (size === null) throw new Error("The server closed the connection");
    return size;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /** Closes the connection, without a word. */
  [Symbol.dispose](): void {
    this.#connection.close();
  }
}
