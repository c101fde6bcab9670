/** Longest text of metrics that is read, in bytes. */
const MAX_TEXT = 4 * 1024 * 1024;

/** A line of Prometheus' text format. */
interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a program counted at some time. */
export class Sample {
  /** When, in seconds. */
  readonly time: number;
  readonly #lines = new Map<string, Line[]>();

  /**
   * Reads metrics in Prometheus' text format; lines that are none are passed over.
   *
   * @param text The metrics.
   * @param time When they were taken, in seconds.
   */
  constructor(text: string, time: number) {
    this.time = time;
    for (const line of text.split("\n")) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/.exec(line);
      if (match === null) continue;
      const [, name, labels = "", value] = match;
      const pairs = [...labels.matchAll(/\b([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)];
      const all = this.#lines.get(name!) ?? [];
      all.push({
        labels: Object.fromEntries(pairs.map(([, key, text]) => [key, unescape(text!)])),
        value: value === "+Inf" ? Infinity : Number(value),
      });
      this.#lines.set(name!, all);
    }
  }

  /** Whether there is a metric of a name. */
  has(name: string): boolean {
    return this.#lines.has(name);
  }

  /** The sum of a metric over its labels; undefined if there is none. */
  total(name: string): number | undefined {
    return this.#lines.get(name)?.reduce((sum, { value }) => sum + value, 0);
  }

  /** A metric by the values of a label. */
  by(name: string, label: string): ReadonlyMap<string, number> {
    return new Map(this.#lines.get(name)?.map(({ labels, value }) => [labels[label] ?? "", value]));
  }
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_, character) => character === "n" ? "\n" : character);
}

/** Two samples, one after the other: what happened between them. */
export class Span {
  readonly before: Sample;
  readonly now: Sample;

  /** Makes one. */
  constructor(before: Sample, now: Sample) {
    this.before = before;
    this.now = now;
  }

  /** How fast a counter grows, in units a second; from 0 if the program was restarted. */
  rate(name: string): number {
    return this.#rate(this.before.total(name) ?? 0, this.now.total(name) ?? 0);
  }

  /** The same by the values of a label. */
  rates(name: string, label: string): ReadonlyMap<string, number> {
    const before = this.before.by(name, label);
    return new Map([...this.now.by(name, label)].map(([key, value]) => [
      key,
      this.#rate(before.get(key) ?? 0, value),
    ]));
  }

  /**
   * The upper bound of the bucket that a share of a histogram's observations lies in: of those in this
   * span or, if there are none, of all.
   *
   * @returns Undefined if there were never any.
   */
  quantile(name: string, share: number): number | undefined {
    const now = this.now.by(`${name}_bucket`, "le");
    const before = this.before.by(`${name}_bucket`, "le");
    for (const old of [before, new Map<string, number>()]) {
      const counts = [...now].map(([le, count]): [number, number] => [
        le === "+Inf" ? Infinity : Number(le),
        count - (old.get(le) ?? 0),
      ]).toSorted(([a], [b]) => a - b);
      const all = counts.at(-1)?.[1] ?? 0;
      if (all <= 0) continue;
      const found = counts.find(([, count]) => count >= share * all)![0];
      return found === Infinity ? counts.at(-2)?.[0] : found;
    }
    return undefined;
  }

  #rate(before: number, now: number): number {
    const seconds = this.now.time - this.before.time;
    if (seconds <= 0) return 0;
    return (now >= before ? now - before : now) / seconds;
  }
}

/**
 * Takes a sample of a program's metrics.
 *
 * @throws {Error} if it can't be had.
 */
export async function scrape(url: URL, signal: AbortSignal): Promise<Sample> {
  const response = await fetch(url, { signal, redirect: "error" });
  const chunks: BlobPart[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_TEXT) throw new Error(`it sends more than ${MAX_TEXT} bytes`);
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
  }
  if (!response.ok) throw new Error(`it answers with HTTP status ${response.status}`);
  return new Sample(await new Blob(chunks).text(), performance.now() / 1000);
}
