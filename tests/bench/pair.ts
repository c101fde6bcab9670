import { RawSocket } from "./raw_socket.ts";

/*
 * How we know that the load is not what is measured: it runs in a process of its own, writes frames made
 * beforehand many at a time, and only counts the bytes that it reads. What it took of a core stands in
 * the results beside what the server took: where the server has about a whole core, and the load less,
 * the server is what limits the rate. Latency is sampled at a rate that keeps both nearly idle.
 */

/** Messages, and bytes of them, on their way at most, of all pairs together. */
const WINDOW = 4096;
const WINDOW_BYTES = 4 * 1024 * 1024;
/** The same of one pair; and the least, in messages. A relay that holds more takes a pair for slow. */
const PAIR_WINDOW = 1024;
const PAIR_WINDOW_BYTES = 2 * 1024 * 1024;
const PAIR_WINDOW_LEAST = 4;
/** Messages written at once. */
const BATCH = 64;

/** How long nothing may arrive of what was sent, in milliseconds. */
const PATIENCE = 15_000;

/**
 * A sender and a receiver with the message that goes from one to the other, again and again. As all
 * messages of a pair have the same size and arrive in order, counting bytes is enough to know which
 * have arrived: nothing is parsed.
 */
export class Pair implements Disposable {
  readonly from: RawSocket;
  readonly to: RawSocket;
  readonly frame: Uint8Array;
  /** Length of a message in bytes. */
  readonly size: number;
  sent = 0;
  #bytes = 0;

  /** @param message The envelope that is sent. */
  constructor(from: RawSocket, to: RawSocket, message: Uint8Array) {
    this.from = from;
    this.to = to;
    this.frame = RawSocket.frame(message);
    this.size = message.length;
  }

  /** How many messages have arrived. */
  get received(): number {
    return Math.floor(this.#bytes / RawSocket.received(this.size));
  }

  /** Reads until there was something, and counts it. */
  async receive(): Promise<void> {
    this.#bytes += await this.to.read();
  }

  /** Closes both connections, without a word. */
  [Symbol.dispose](): void {
    this.from[Symbol.dispose]();
    this.to[Symbol.dispose]();
  }
}

/**
 * Sends messages for some time, as fast as they arrive at the other end.
 *
 * @param window Most messages of each pair that are on their way.
 * @param hold How long nothing is read at first, in milliseconds.
 */
export async function saturate(
  pairs: readonly Pair[],
  seconds: number,
  window: number = windowOf(pairs),
  hold = 0,
): Promise<void> {
  const end = performance.now() + seconds * 1000;
  await Promise.all(pairs.map(async (pair) => {
    const count = Math.max(1, Math.min(BATCH, window >> 1));
    const batch = RawSocket.frames(pair.frame, count);
    let wake = () => {};
    const sending = (async () => {
      while (performance.now() < end) {
        if (pair.sent - pair.received > window - count) {
          await new Promise<void>((resolve) => wake = resolve);
        } else {
          pair.sent += count;
          await pair.from.write(batch);
        }
      }
    })();
    if (hold > 0) await new Promise((resolve) => setTimeout(resolve, hold));
    await receiveAll(pair, () => performance.now() >= end, () => wake());
    await sending;
  }));
}

/** Receives until all is there that was sent. */
export async function receiveAll(
  pair: Pair,
  isLast: () => boolean = () => true,
  onReceived: () => void = () => {},
): Promise<void> {
  let late: string | undefined;
  let known = -1;
  const timer = setInterval(() => {
    if (known === pair.received && pair.received < pair.sent) {
      late = `${pair.sent - pair.received} of ${pair.sent} messages have not arrived`;
      pair[Symbol.dispose]();
    }
    known = pair.received;
  }, PATIENCE);
  try {
    while (!isLast() || pair.received < pair.sent) {
      await pair.receive();
      onReceived();
    }
  } catch (error) {
    throw late === undefined ? error : new Error(late);
  } finally {
    clearInterval(timer);
  }
}

/**
 * Sends a message now and then, each pair in its turn, whether or not the last one has arrived.
 *
 * @param rate Messages a second, of all pairs together.
 * @returns For each, milliseconds from when it was written to when it was read.
 */
export async function sample(
  pairs: readonly Pair[],
  seconds: number,
  rate: number,
): Promise<number[]> {
  const latencies: number[] = [];
  let done = false;
  const counts = pairs.map(() => 0);
  const times = pairs.map((): number[] => []);
  const receiving = pairs.map(async (pair, i) => {
    const before = pair.received;
    await receiveAll(pair, () => done, () => {
      const now = performance.now();
      while (counts[i]! < pair.received - before) {
        latencies.push(now - times[i]![counts[i]!++]!);
      }
    });
  });
  const start = performance.now();
  for (let sent = 0; sent < seconds * rate;) {
    const due = Math.min((performance.now() - start) / 1000, seconds) * rate;
    for (; sent < due; sent++) {
      const pair = pairs[sent % pairs.length]!;
      pair.sent++;
      times[sent % pairs.length]!.push(performance.now());
      void pair.from.write(pair.frame);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  done = true;
  // One more of each, so that none waits for what will not come.
  for (const [i, pair] of pairs.entries()) {
    pair.sent++;
    times[i]!.push(performance.now());
    void pair.from.write(pair.frame);
  }
  await Promise.all(receiving);
  return latencies;
}

function windowOf(pairs: readonly Pair[]): number {
  const { size } = pairs[0]!;
  const share = Math.min(WINDOW, WINDOW_BYTES / size) / pairs.length;
  const most = Math.min(PAIR_WINDOW, PAIR_WINDOW_BYTES / size);
  return Math.floor(Math.max(Math.min(share, most), PAIR_WINDOW_LEAST));
}
