/** The value in the middle; of an even number of them, the upper one of two. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share of them is. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)]!;
}

/** A whole number, with commas. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** Bytes as MiB. */
export function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0);
}

/** Milliseconds: the median, the 99th percentile and the longest. */
export function spread(milliseconds: readonly number[]): string {
  return [quantile(milliseconds, 0.5), quantile(milliseconds, 0.99), Math.max(...milliseconds)]
    .map((value) => value.toFixed(2)).join(" / ");
}

/** A Markdown table that is printed row by row. The first column is text, the others are numbers. */
export class Table {
  readonly #print: (line: string) => void;

  /** Prints the head. */
  constructor(columns: readonly string[], print: (line: string) => void = console.log) {
    this.#print = print;
    this.row(columns);
    this.row(columns.map((_, i) => i === 0 ? "---" : "---:"));
  }

  /** Prints a row. */
  row(cells: readonly (string | number)[]): void {
    this.#print(`| ${cells.join(" | ")} |`);
  }
}
