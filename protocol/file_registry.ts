/**
 * A twin registry in a JSON file: for private networks, demos and tests. For Deno only: it locks and
 * watches the file.
 *
 * ```json
 * {"twins":[{"id":7,"account":"5F… or 0x…","relay":"127.0.0.1:8080","pk":"0x02…"}]}
 * ```
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { formatHex, parseAccount, parseHex } from "./account.ts";
import { formatRelayDomains, parseRelayDomains, relayDomain } from "./domain.ts";
import { FormatError, RegistryError } from "./errors.ts";
import type { Keypair } from "./keys.ts";
import { MAX_TWIN_ID } from "./session.ts";
import type { Twin, TwinRegistry, TwinUpdate } from "./twin.ts";

const logger = getLogger(["rmb", "registry"]);

/** Largest file read, in bytes: about 200,000 twins. */
const MAX_FILE = 64 * 1024 * 1024;

/** How long changes of the file are gathered before it is read again, in milliseconds. */
const SETTLE = 20;

/** An entry of the file. Members that are not listed are kept as they are. */
interface Entry {
  id: number;
  account: string;
  relay?: string | null;
  pk?: string | null;
}

/** The file's content. */
interface TwinsFile {
  twins: Entry[];
}

/**
 * A {@linkcode TwinRegistry} in a JSON file. It notices changes of the file, and several processes
 * can update it at once. A file that becomes unreadable is reported once (logger `rmb.registry`),
 * and what was last read stays valid. Needs permission to read the file's folder and, for
 * `updateTwin`, to write there: updates lock `<file>.lock` and replace the file as a whole.
 *
 * @example
 * ```ts
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 *
 * await using registry = await FileRegistry.open("twins.json");
 * const twin = await registry.twin(7);
 * console.log(twin === undefined ? "unknown" : `is on ${twin.relays.join(", ") || "no relay"}`);
 * ```
 */
export class FileRegistry implements TwinRegistry {
  readonly #path: string;
  readonly #watcher: Deno.FsWatcher;
  readonly #watching: Promise<void>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reloading: Promise<void> = Promise.resolve();
  #updating: Promise<unknown> = Promise.resolve();
  #version = 0;
  #twins: ReadonlyMap<number, Twin> = new Map();
  #idByAccount: ReadonlyMap<string, number> = new Map();
  #complaint = "";

  private constructor(path: string, twins: ReadonlyMap<number, Twin>, watcher: Deno.FsWatcher) {
    this.#path = path;
    this.#take(twins);
    this.#watcher = watcher;
    this.#watching = this.#watch();
  }

  /**
   * Opens a registry.
   *
   * @param path The JSON file, which must exist.
   * @throws {RegistryError} if the file can't be read, or has not the form described above.
   */
  static async open(path: string): Promise<FileRegistry> {
    const real = await Deno.realPath(path).catch((cause) => {
      throw new RegistryError(`Cannot read twins file "${path}": ${describe(cause)}`, { cause });
    });
    // The folder is watched, for the file itself may be replaced; and watched before it is read.
    let watcher: Deno.FsWatcher;
    try {
      watcher = Deno.watchFs(folderOf(real), { recursive: false });
    } catch (cause) {
      throw new RegistryError(`Cannot watch the folder of "${real}": ${describe(cause)}`, {
        cause,
      });
    }
    try {
      return new FileRegistry(real, parseTwins(await readTwins(real), real), watcher);
    } catch (error) {
      watcher.close();
      throw error;
    }
  }

  /** Looks up a twin. */
  twin(id: number): Promise<Twin | undefined> {
    return Promise.resolve(this.#twins.get(id));
  }

  /** Looks up the twin of an account. */
  twinIdByAccount(account: Uint8Array): Promise<number | undefined> {
    return Promise.resolve(this.#idByAccount.get(formatHex(account)));
  }

  /**
   * Publishes relays and encryption key of the key pair's own twin in the file.
   *
   * @throws {RegistryError} if the account has no twin there, or the file can't be written.
   */
  updateTwin(keypair: Keypair, update: TwinUpdate): Promise<void> {
    const updating = this.#update(keypair, update);
    this.#updating = Promise.allSettled([this.#updating, updating]);
    return updating;
  }

  /** The relay domain of a relay's URL: its host, with the port unless that is 80 or 443. */
  relayDomain(url: string): string | undefined {
    const domain = relayDomain(url);
    return parseRelayDomains(domain).includes(domain) ? domain : undefined; // "_" divides domains.
  }

  /** Stops watching the file, and finishes updates. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    await this.#updating;
    await this.#watching;
    clearTimeout(this.#timer);
    await this.#reloading;
  }

  async #update({ publicKey, address }: Keypair, { relays, pk }: TwinUpdate): Promise<void> {
    try {
      using lock = await Deno.open(`${this.#path}.lock`, { create: true, write: true });
      await lock.lock(true);
      const file = await readTwins(this.#path);
      const twins = parseTwins(file, this.#path);
      const own = formatHex(publicKey);
      const entry = file.twins.find(({ account }) => formatHex(parseAccount(account)) === own);
      if (entry === undefined) {
        throw new RegistryError(
          `Cannot update the twin of ${address}: "${this.#path}" has no twin with this account`,
        );
      }
      entry.relay = formatRelayDomains(relays);
      entry.pk = pk === undefined ? null : formatHex(pk);
      twins.set(entry.id, parseTwin(entry));
      await replaceFile(this.#path, JSON.stringify(file, null, 2) + "\n");
      this.#take(twins);
    } catch (cause) {
      if (cause instanceof RegistryError) throw cause;
      throw new RegistryError(
        `Cannot update the twin of ${address} in "${this.#path}": ${describe(cause)}`,
        { cause },
      );
    }
  }

  async #watch(): Promise<void> {
    for await (const event of this.#watcher) {
      if (event.kind === "access" || !event.paths.includes(this.#path)) continue;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#reloading = this.#reloading.then(() => this.#reload());
      }, SETTLE);
    }
  }

  async #reload(): Promise<void> {
    const version = this.#version;
    try {
      const twins = parseTwins(await readTwins(this.#path), this.#path);
      // Updated meanwhile: this may be older, and the update's own event will have it read again.
      if (version === this.#version) this.#take(twins);
      if (this.#complaint !== "") logger.info("{path} can be read again", { path: this.#path });
      this.#complaint = "";
    } catch (error) {
      const complaint = describe(error);
      if (complaint !== this.#complaint) {
        logger.warn("{complaint}; the twins read before stay valid", { complaint });
      }
      this.#complaint = complaint;
    }
  }

  #take(twins: ReadonlyMap<number, Twin>): void {
    this.#version++;
    this.#twins = twins;
    this.#idByAccount = new Map(
      [...this.#twins.values()].map(({ account, id }) => [formatHex(account), id]),
    );
  }
}

async function readTwins(path: string): Promise<TwinsFile> {
  let value: unknown;
  try {
    const { size } = await Deno.stat(path);
    if (size > MAX_FILE) {
      throw new FormatError(`it has ${size} bytes, at most ${MAX_FILE} are read`);
    }
    value = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    throw new RegistryError(`Cannot read twins file "${path}": ${describe(cause)}`, { cause });
  }
  const twins = (value as Partial<TwinsFile> | null)?.twins;
  if (!Array.isArray(twins)) {
    throw new RegistryError(`Cannot read twins file "${path}": it must have a list "twins"`);
  }
  return value as TwinsFile;
}

/** Replaces a file as a whole, its permissions kept, or leaves it as it is. */
async function replaceFile(path: string, text: string): Promise<void> {
  const { mode } = await Deno.stat(path);
  const fresh = `${path}.${crypto.randomUUID()}`;
  try {
    await Deno.writeTextFile(fresh, text, { createNew: true, ...(mode !== null && { mode }) });
    await Deno.rename(fresh, path);
  } catch (error) {
    await Deno.remove(fresh).catch(() => {});
    throw error;
  }
}

function parseTwins({ twins }: TwinsFile, path: string): Map<number, Twin> {
  const byId = new Map<number, Twin>();
  const accounts = new Set<string>();
  twins.forEach((entry, i) => {
    try {
      const twin = parseTwin(entry);
      const account = formatHex(twin.account);
      if (byId.has(twin.id)) throw new FormatError(`twin ${twin.id} is there twice`);
      if (accounts.has(account)) throw new FormatError(`its account has another twin already`);
      accounts.add(account);
      byId.set(twin.id, twin);
    } catch (cause) {
      throw new RegistryError(
        `Cannot read twins file "${path}": entry ${i + 1}: ${describe(cause)}`,
        { cause },
      );
    }
  });
  return byId;
}

function parseTwin(entry: Entry): Twin {
  const { id, account, relay, pk } = entry ?? {};
  if (!Number.isInteger(id) || id < 1 || id > MAX_TWIN_ID) {
    throw new FormatError(`"id" must be a number from 1 to ${MAX_TWIN_ID}`);
  }
  if (typeof account !== "string") throw new FormatError(`"account" of twin ${id} must be text`);
  for (const [name, value] of Object.entries({ relay, pk })) {
    if (value !== undefined && value !== null && typeof value !== "string") {
      throw new FormatError(`"${name}" of twin ${id} must be text or null`);
    }
  }
  const key = parseHex(pk || "0x");
  return {
    id,
    account: parseAccount(account),
    relays: parseRelayDomains(relay ?? ""),
    pk: key.length > 0 ? key : undefined,
  };
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"))) || "/";
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
