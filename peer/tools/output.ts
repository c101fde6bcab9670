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
  writeLine(formatJson(value));
}

/** A value as JSON that can't control a terminal: JSON.stringify() leaves controls beyond ASCII. */
export function formatJson(value: unknown, space?: number): string {
  return JSON.stringify(value, null, space).replace(/[\x7f-\x9f\u2028\u2029]/g, escape);
}

/** Text of others in its lines, such that it can't control a terminal. */
export function formatText(text: string): string {
  return text.replace(/\r(?!\n)|(?![\r\n\t])\p{Cc}|[\u2028\u2029]/gu, escape);
}

function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Writes values with their names before them, one below the other. */
export function writeTable(rows: readonly (readonly [name: string, value: string])[]): void {
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : Infinity;
  formatTable(rows, columns).forEach(writeLine);
}

/** Lines of a table: where one is too long for a terminal, its value has lines of its own. */
export function formatTable(
  rows: readonly (readonly [name: string, value: string])[],
  columns: number,
): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.flatMap(([name, value]) => {
    const text = printable(value);
    const line = `${name.padEnd(width)}  ${text}`;
    return line.length <= columns ? [line] : [name, ...fold(text, columns - 2)];
  });
}

/** Lines of words that fit, as far as words do. */
function fold(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width + 2) lines.push(`  ${word}`);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Milliseconds with three digits that count. */
export function formatTime(milliseconds: number): string {
  const digits = milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0;
  return `${milliseconds.toFixed(digits)} ms`;
}
