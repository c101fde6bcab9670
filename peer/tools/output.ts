/** What tools write: for people on a terminal, and for scripts. */
import { printable } from "@rmb/protocol/program";

const utf8 = new TextEncoder();

/** Writes to stdout; ends the process in silence when nobody reads it any more, as `head` does. */
export function write(output: string | Uint8Array): void {
  const bytes = typeof output === "string" ? utf8.encode(output) : output;
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw error;
  }
}

/** Writes a line to stdout. */
export function writeLine(line = ""): void {
  write(`${line}\n`);
}

/** Writes a value as a line of JSON. */
export function writeJson(value: unknown): void {
  writeLine(JSON.stringify(value));
}

/** Writes values with their names before them, one below the other. */
export function writeTable(rows: readonly (readonly [name: string, value: string])[]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) writeLine(`${name.padEnd(width)}  ${printable(value)}`);
}

/** Milliseconds with three digits that count. */
export function formatTime(milliseconds: number): string {
  const digits = milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0;
  return `${milliseconds.toFixed(digits)} ms`;
}
