import { write } from "./output.ts";

/** Seconds over which the rate is taken. */
const WINDOW = 5;

/** How fast something gets on, by what was done in the last seconds. */
export class Pace {
  readonly #samples: [time: number, done: number][] = [];

  /**
   * Notes how much is done, and says how fast that is.
   *
   * @param done Bytes done.
   * @param time When, in seconds.
   * @returns Bytes a second; 0 while it is not known, or nothing is done.
   */
  note(done: number, time: number): number {
    // What begins again is as fast as it is from then on.
    if (done < (this.#samples.at(-1)?.[1] ?? 0)) this.#samples.length = 0;
    this.#samples.push([time, done]);
    while (this.#samples.length > 2 && this.#samples[1]![0] <= time - WINDOW) this.#samples.shift();
    const [start, before] = this.#samples[0]!;
    return time > start ? (done - before) / (time - start) : 0;
  }
}

/** A line on a terminal that shows how far something is. */
export class ProgressBar {
  #shown = false;

  /** Shows how much is done, at some bytes a second. */
  show(done: number, total: number, rate: number): void {
    this.#shown = true;
    write(`\r\x1b[K${progressLine(done, total, rate, terminalWidth() - 1)}`);
  }

  /** Ends the line. */
  end(): void {
    if (this.#shown) write("\n");
    this.#shown = false;
  }
}

function terminalWidth(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 80; // No terminal that says.
  }
}

/**
 * How far something is, in words.
 *
 * @param done Bytes done.
 * @param total All of them.
 * @param rate Bytes a second; 0 for unknown.
 */
export function progressText(done: number, total: number, rate: number): string {
  const share = total === 0 ? 1 : Math.min(done / total, 1);
  const left = timeLeft(done, total, rate);
  const speed = rate > 0 ? `, ${formatBytes(rate)}/s` : "";
  const amount = `${formatBytes(done)} of ${formatBytes(total)}`;
  const time = left ? `, ${formatDuration(left)} left` : "";
  return `${Math.floor(share * 100)} %, ${amount}${speed}${time}`;
}

/** Seconds that something takes yet; null if that is not known. */
export function timeLeft(done: number, total: number, rate: number): number | null {
  if (done >= total) return 0;
  return rate > 0 ? (total - done) / rate : null;
}

/** The same as a line with a bar before it, if there is room. */
export function progressLine(done: number, total: number, rate: number, width: number): string {
  const text = progressText(done, total, rate);
  const room = Math.min(width - text.length - 3, 40);
  if (room < 5) return text.slice(0, Math.max(width, 0));
  const filled = total === 0 ? room : Math.min(Math.round(done / total * room), room);
  return `[${"=".repeat(filled)}${" ".repeat(room - filled)}] ${text}`;
}

/** Bytes with a unit that fits. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes.toFixed(unit > 0 && bytes < 99.95 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds as people say them. */
export function formatDuration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor(whole % 86_400 / 3600)} h`;
}
