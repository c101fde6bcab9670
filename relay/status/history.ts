/** Between two samples, in seconds. */
export const INTERVAL = 5;
/** Samples kept: those of an hour. */
export const MAX_SAMPLES = 720;
/** Most samples that are new to who asks again: with more, or none in common, all are given. */
const MAX_NEW = 12;
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
  /** Messages held for other relays. */
  readonly held: number;
  /** Counters of deliveries, by the seconds that they took at most; the last one is all. */
  readonly deliveries: readonly (readonly [seconds: number, count: number])[];
  /**
   * Counters of other relays: messages that they took, and tries that failed, by their domains. An
   * empty one stands for relays that are not counted each by itself.
   */
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
  readonly held: number;
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
  "held",
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
  /**
   * Other relays: those that took most messages, the first of them first, and last all others as one,
   * without a name.
   */
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
    if (time === before?.time) return;
    this.#before = { time, reading };
    // When the clock is put back, nobody can tell any more when that was.
    while ((this.#samples.at(-1)?.time ?? -Infinity) >= time) this.#samples.pop();
    if (before === undefined || time < before.time) return;
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
      held: reading.held,
      halfWithin: within(0.5, before.reading.deliveries, reading.deliveries),
      mostWithin: within(0.99, before.reading.deliveries, reading.deliveries),
      relays: grownBetween(before.reading, reading),
    });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /**
   * How many of the samples are new to who knows those up to a time, in Unix seconds. All, when it is
   * none of the latest: whatever is asked for, there are few different answers.
   */
  countNew(since: number): number {
    const latest = this.#samples.slice(-MAX_NEW - 1);
    const known = latest.findIndex(({ time }) => time === since);
    return known < 0 ? this.#samples.length : latest.length - 1 - known;
  }

  /** The latest samples, so many of them. */
  report(count = this.#samples.length): Report {
    const samples = this.#samples.slice(this.#samples.length - count);
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
    const shown = namedOf(this.#before?.reading);
    const lately = this.#samples.length - LATELY;
    for (const [i, { relays }] of this.#samples.entries()) {
      for (const [domain, [taken, failed]] of relays) {
        const name = shown.has(domain) ? domain : "";
        const sum = sums.get(name) ?? [0, 0, 0, 0];
        sum[0] += taken;
        sum[1] += failed;
        if (i >= lately) {
          sum[2] += taken;
          sum[3] += failed;
        }
        sums.set(name, sum);
      }
    }
    return [...sums].map(([name, [taken, failed, takenLately, failedLately]]) => ({
      ...{ name, taken, failed, takenLately, failedLately },
    })).sort((a, b) => Number(a.name === "") - Number(b.name === "") || b.taken - a.taken);
  }
}

/**
 * The relays that are shown by name: those that took most. Anyone can name relays that are none, to
 * see the name here, or to have no place left for others.
 */
function namedOf(reading: Reading | undefined): ReadonlySet<string> {
  const taken = [...reading?.taken ?? []].filter(([name, count]) => name !== "" && count > 0);
  return new Set(taken.sort(([, a], [, b]) => b - a).slice(0, MAX_RELAYS).map(([name]) => name));
}

/** What other relays took and failed between two readings. */
function grownBetween(before: Reading, now: Reading): Sample["relays"] {
  const named = namedOf(now);
  const grown = new Map<string, [taken: number, failed: number]>();
  for (const domain of new Set([...now.taken.keys(), ...now.failed.keys()])) {
    const taken = (now.taken.get(domain) ?? 0) - (before.taken.get(domain) ?? 0);
    const failed = (now.failed.get(domain) ?? 0) - (before.failed.get(domain) ?? 0);
    if (taken === 0 && failed === 0) continue;
    const name = named.has(domain) ? domain : "";
    const [takenBefore, failedBefore] = grown.get(name) ?? [0, 0];
    grown.set(name, [takenBefore + taken, failedBefore + failed]);
  }
  return grown;
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
