/** A twins file for tests, and what happens around it. */
import { configure, type LogRecord, reset } from "@logtape/logtape";
import assert from "node:assert/strict";
import type { FileRegistry } from "../file_registry.ts";
import { Keypair } from "../keys.ts";

export const ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
export const BOB = "0x8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48";
/** BOB's key pair. */
export const bob = Keypair.fromSecret("//Bob");
const PK = `0x02${"11".repeat(32)}`;

export const TWINS: readonly Record<string, unknown>[] = [
  { id: 7, account: ALICE, relay: "relay.grid.tf_127.0.0.1:8080", pk: PK },
  { id: 8, account: BOB },
];

/** A twins file in a folder of its own, gone at the end. */
export class TwinsFile implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync();
  readonly path = `${this.#folder}/twins.json`;

  constructor(content: unknown = { twins: TWINS }) {
    this.write(content);
  }

  read(): { twins: Record<string, unknown>[] } & Record<string, unknown> {
    return JSON.parse(Deno.readTextFileSync(this.path));
  }

  /** Writes over the file in place. */
  write(content: unknown): void {
    Deno.writeTextFileSync(
      this.path,
      typeof content === "string" ? content : JSON.stringify(content),
    );
  }

  /** Puts another file in its place. */
  replace(content: unknown): void {
    const fresh = `${this.#folder}/fresh`;
    Deno.writeTextFileSync(fresh, JSON.stringify(content));
    Deno.renameSync(fresh, this.path);
  }

  /** The files that lie beside it. */
  others(): string[] {
    return [...Deno.readDirSync(this.#folder)].map(({ name }) => name)
      .filter((name) => name !== "twins.json").sort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Deno.remove(this.#folder, { recursive: true });
  }
}

/** Waits until something holds. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!await holds()) {
    assert.ok(performance.now() - start < 10_000, "it did not come to hold within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What a registry has to say in the log, to be waited for. */
export async function captureLog(): Promise<{ records: LogRecord[] } & AsyncDisposable> {
  const records: LogRecord[] = [];
  await configure({
    sinks: { capture: (record) => void records.push(record) },
    loggers: [
      { category: ["rmb"], sinks: ["capture"], lowestLevel: "debug" },
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
  return { records, [Symbol.asyncDispose]: () => reset() };
}

/** The next time that a file is read: it can be waited for, and held up when it has been read. */
export class NextRead {
  readonly #reached = Promise.withResolvers<void>();
  readonly #released = Promise.withResolvers<void>();
  readonly reached = this.#reached.promise;

  constructor() {
    const { readTextFile } = Deno;
    const read = async (path: string | URL) => {
      Object.assign(Deno, { readTextFile });
      const text = await readTextFile(path);
      this.#reached.resolve();
      await this.#released.promise;
      return text;
    };
    Object.assign(Deno, { readTextFile: read });
  }

  release(): void {
    this.#released.resolve();
  }
}

/** The relays of a twin. */
export async function relaysOf(registry: FileRegistry, id: number): Promise<readonly string[]> {
  return (await registry.twin(id))?.relays ?? [];
}
