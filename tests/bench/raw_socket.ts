/**
 * A WebSocket client that costs next to nothing: frames are made once and written many at a time, and
 * what arrives is counted in bytes. So the server is what a benchmark measures.
 */
export class RawSocket implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(256 * 1024);
  /** Bytes that came with the answer to the upgrade. */
  #early = 0;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Connects to a `ws:` URL, whose query is sent as it is. */
  static async connect(url: URL): Promise<RawSocket> {
    const socket = new RawSocket(
      await Deno.connect({ hostname: url.hostname, port: Number(url.port) }),
    );
    const request = `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n` +
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    await socket.write(new TextEncoder().encode(request));
    let answer = "";
    while (!answer.includes("\r\n\r\n")) {
      const size = await socket.#connection.read(socket.#buffer);
      if (size === null) break;
      answer += new TextDecoder("latin1").decode(socket.#buffer.subarray(0, size));
    }
    if (!answer.startsWith("HTTP/1.1 101")) throw new Error(`No WebSocket: ${answer}`);
    socket.#early = answer.length - answer.indexOf("\r\n\r\n") - 4;
    return socket;
  }

  /** A binary message as a client's frame. Its mask is 0: the payload stands there as it is. */
  static frame(payload: Uint8Array): Uint8Array {
    const length = payload.length < 126
      ? [payload.length | 0x80]
      : payload.length < 65536
      ? [126 | 0x80, payload.length >> 8, payload.length & 0xff]
      : [
        127 | 0x80,
        0,
        0,
        0,
        0,
        ...new Uint8Array(Uint32Array.of(payload.length).buffer).reverse(),
      ];
    return Uint8Array.of(0x82, ...length, 0, 0, 0, 0, ...payload);
  }

  /** Bytes of a message as a server's frame. */
  static received(payload: number): number {
    return payload + (payload < 126 ? 2 : payload < 65536 ? 4 : 10);
  }

  /** Writes bytes, all of them. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /** Reads what has come, and returns how many bytes that were. */
  async read(): Promise<number> {
    const early = this.#early;
    this.#early = 0;
    if (early > 0) return early;
    const size = await this.#connection.read(this.#buffer);
    if (size === null) throw new Error("The server closed the connection");
    return size;
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}
