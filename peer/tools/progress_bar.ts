import { write } from "./output.ts";

/** Seconds over which the rate is taken. */
const WINDOW = 5;

/** A line on a terminal that shows how far something is. */
export class ProgressBar {
  readonly #samples: [time: number, done: number][] = [];

  /** Shows how much is done. */
  show(done: number, total: number): void {
    const now = performance.now() / 1000;
    this.#samples.push([now, done]);
    while (this.#samples.length > 2 && this.#samples[1]![0] < now - WINDOW) this.#samples.shift();
    const [time, before] = this.#samples[0]!;
    const rate = now > time ? (done - before) / (now - time) : 0;
    let width = 80;
    try {
      width = Deno.consoleSize().columns;
    } catch {
      // No terminal that says.
    }
    write(`\r\x1b[K${formatProgress(done, total, rate, width - 1)}`);
  }

  /** Ends the line. */
  end(): void {
    if (this.#samples.length > 0) write("\n");
  }
}

/**
 * How far something is, as a line.
 *
 * @param done Bytes done.
 * @param total All of them.
 * @param rate Bytes a second; 0 for unknown.
 * @param width Longest line, in characters.
 */
export function formatProgress(done: number, total: number, rate: number, width: number): string {
  const share = total === 0 ? 1 : Math.min(done / total, 1);
  const left = rate > 0 && done < total ? `, ${formatDuration((total - done) / rate)} left` : "";
  const speed = rate > 0 ? `  ${formatBytes(rate)}/s` : "";
  const text = ` ${Math.floor(share * 100)} %  ${formatBytes(done)} of ${
    formatBytes(total)
  }${speed}${left}`;
  const room = Math.min(width - text.length - 2, 40);
  if (room < 5) return text.trim().slice(0, width);
  const filled = Math.round(share * room);
  return `[${"=".repeat(filled)}${" ".repeat(room - filled)}]${text}`;
}

/** Bytes with a unit that fits. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes.toFixed(unit > 0 && bytes < 99.5 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds as people say them. */
export function formatDuration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor(whole % 86_400 / 3600)} h`;
}
