/**
 * Clients that are idle: connects to the URLs that come as lines on stdin, several at once, answers pings,
 * and says "connected MILLISECONDS" when all are connected and "lost REASON" for each that ends.
 * With `--pings SECONDS` each sends envelope pings of the session that its URL's fragment holds.
 */
import { parseSession } from "@rmb/protocol";
import { pingOf } from "./envelopes.ts";
import { PONG, RawSocket } from "./raw_socket.ts";

/** How many are connecting at once. */
const CONNECTING = 50;

/** A server's ping without a payload. */
const PING = [0x89, 0];

const interval = Deno.args[0] === "--pings" ? Number(Deno.args[1]) * 1000 : undefined;
const lines = (await new Response(Deno.stdin.readable).text()).split("\n").filter((line) => line);
const urls = lines.map((line) => new URL(line)).values();

const start = performance.now();
await Promise.all(Array.from({ length: CONNECTING }, async () => {
  for (const url of urls) {
    const socket = await RawSocket.connect(url);
    answerPings(socket).catch(({ message }) => console.log(`lost ${message}`));
    if (interval !== undefined) pingAgain(socket, url, interval);
  }
}));
console.log(`connected ${performance.now() - start}`);

/** Nothing but pings without payload, and answers to the client's own, is expected. */
async function answerPings(socket: RawSocket): Promise<never> {
  const buffer = new Uint8Array(256);
  for (;;) {
    const size = await socket.read(buffer);
    if (size === PING.length && PING.every((byte, i) => byte === buffer[i])) {
      await socket.write(PONG);
    }
  }
}

function pingAgain(socket: RawSocket, url: URL, interval: number): void {
  const frame = RawSocket.frame(pingOf(parseSession(decodeURIComponent(url.hash.slice(1)))));
  setTimeout(() => setInterval(() => void socket.write(frame), interval), Math.random() * interval);
}
