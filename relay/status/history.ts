/** Between two samples, in seconds. */
export const INTERVAL = 5;
/** Samples kept: those of an hour. */
export const MAX_SAMPLES = 720;
/** Most other relays that are shown, each by itself. */
const MAX_RELAYS = 20;

/** What a relay counts, at one time. Counters only grow. */
export interface Reading {
  /** Sessions connected. */
  readonly sessions: number;
  /** Counters: messages and their bytes, in and out. */
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Messages that wait in the mailbox; null while that can't be told. */
  readonly queued: number | null;
  /** Counters of deliveries, by the seconds that they took at most; the last one is all. */
  readonly deliveries: readonly (readonly [seconds: number, count: number])[];
  /** Counters of other relays: messages that they took, and tries that failed, by their domains. */
  readonly taken: ReadonlyMap<string, number>;
  readonly failed: ReadonlyMap<string, number>;
}

/** What happened in one interval: numbers for each second, and as they were at its end. */
interface Sample {
  /** Unix time in seconds of its end. */
  readonly time: number;
  readonly sessions: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly queued: number | null;
  /** Milliseconds within which half, and 99 %, of the messages were with the kernel; null for none. */
  readonly halfWithin: number | null;
  readonly mostWithin: number | null;
  /** Messages taken and tries failed by other relays, where there were any. */
  readonly relays: ReadonlyMap<string, readonly [taken: number, failed: number]>;
}

/** The series of a {@linkcode Report}. */
const SERIES = [
  "sessions",
  "messagesIn",
  "messagesOut",
  "bytesIn",
  "bytesOut",
  "queued",
  "halfWithin",
  "mostWithin",
] as const;

/** How another relay does, in the last hour and in the last five minutes. */
export interface RelayHealth {
  readonly name: string;
  readonly taken: number;
  readonly failed: number;
  readonly takenLately: number;
  readonly failedLately: number;
}

/** What the page is told. */
export interface Report {
  /** When the relay was started, in Unix seconds: a page that knows another one begins anew. */
  readonly started: number;
  /** Seconds between two samples. */
  readonly interval: number;
  /** Unix time in seconds of each sample, the oldest first. */
  readonly times: readonly number[];
  /** A value of each sample. */
  readonly series: Readonly<Record<typeof SERIES[number], readonly (number | null)[]>>;
  /** Other relays, the busiest first. Those that never took a message are one, without a name. */
  readonly relays: readonly RelayHealth[];
}

/** Intervals that count as lately. */
const LATELY = 60;

/** The last hour of a relay, in memory. */
export class History {
  readonly #started: number;
  readonly #samples: Sample[] = [];
  #before: { readonly time: number; readonly reading: Reading } | undefined;

  /** Makes an empty one. */
  constructor(started: number) {
    this.#started = started;
  }

  /**
   * Takes a reading.
   *
   * @param reading What is counted now.
   * @param time Unix time in seconds.
   */
  add(reading: Reading, time: number): void {
    const before = this.#before;
    this.#before = { time, reading };
    if (before === undefined || time <= before.time) return;
    const seconds = time - before.time;
    const rate = (of: (reading: Reading) => number) =>
      round((of(reading) - of(before.reading)) / seconds);
    this.#samples.push({
      time,
      sessions: reading.sessions,
      messagesIn: rate(({ messagesIn }) => messagesIn),
      messagesOut: rate(({ messagesOut }) => messagesOut),
      bytesIn: rate(({ bytesIn }) => bytesIn),
      bytesOut: rate(({ bytesOut }) => bytesOut),
      queued: reading.queued,
      halfWithin: within(0.5, before.reading.deliveries, reading.deliveries),
      mostWithin: within(0.99, before.reading.deliveries, reading.deliveries),
      relays: relaysBetween(before.reading, reading),
    });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** What is known of the time after one, in Unix seconds. */
  report(since = 0): Report {
    const samples = this.#samples.filter(({ time }) => time > since);
    const series = Object.fromEntries(
      SERIES.map((name) => [name, samples.map((sample) => sample[name])]),
    );
    return {
      started: this.#started,
      interval: INTERVAL,
      times: samples.map(({ time }) => time),
      series: series as unknown as Report["series"],
      relays: this.#relays(),
    };
  }

  #relays(): RelayHealth[] {
    const sums = new Map<string, [taken: number, failed: number, taken: number, failed: number]>();
    const lately = this.#samples.length - LATELY;
    for (const [i, { relays }] of this.#samples.entries()) {
      for (const [name, [taken, failed]] of relays) {
        // Anyone can name relays that are none, and see what the name was here.
        const shown = this.#before?.reading.taken.get(name) ? name : "";
        const sum = sums.get(shown) ?? [0, 0, 0, 0];
        sum[0] += taken;
        sum[1] += failed;
        if (i >= lately) {
          sum[2] += taken;
          sum[3] += failed;
        }
        sums.set(shown, sum);
      }
    }
    return [...sums].map(([name, [taken, failed, takenLately, failedLately]]) => ({
      ...{ name, taken, failed, takenLately, failedLately },
    })).sort((a, b) => b.taken + b.failed - a.taken - a.failed).slice(0, MAX_RELAYS);
  }
}

function relaysBetween(before: Reading, now: Reading): Sample["relays"] {
  const names = new Set([...now.taken.keys(), ...now.failed.keys()]);
  const grown = [...names].map((name): [string, readonly [number, number]] => [name, [
    (now.taken.get(name) ?? 0) - (before.taken.get(name) ?? 0),
    (now.failed.get(name) ?? 0) - (before.failed.get(name) ?? 0),
  ]]);
  return new Map(
    grown.filter(([, [taken, failed]]) => taken > 0 || failed > 0)
      .sort(([, a], [, b]) => b[0] + b[1] - a[0] - a[1])
      .slice(0, MAX_RELAYS),
  );
}

/** Milliseconds within which a share of the deliveries between two readings was done, estimated. */
function within(
  share: number,
  before: Reading["deliveries"],
  now: Reading["deliveries"],
): number | null {
  const counts = now.map(([seconds, count], i) =>
    [seconds, count - (before[i]?.[1] ?? 0)] as const
  );
  const all = counts.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  const at = counts.findIndex(([, count]) => count >= share * all);
  const [low, below] = at > 0 ? counts[at - 1]! : [0, 0];
  const [high, upTo] = counts[at]!;
  if (high === Infinity) return round(low * 1000);
  return round((low + (high - low) * (share * all - below) / (upTo - below)) * 1000);
}

/** Three digits that count are enough to be drawn. */
function round(value: number): number {
  return Number(value.toPrecision(3));
}
