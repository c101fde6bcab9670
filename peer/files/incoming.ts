import { FormatError, formatSession } from "@rmb/protocol";
import { getLogger } from "@logtape/logtape";
import { CodedError, ErrorCode } from "@rmb/protocol/endpoint";
import { isReserved } from "../local.ts";
import type { PluginAnswer, PluginHost, PluginRequest } from "../plugin.ts";
import { IncomingFile, type IncomingFolders, keyOf, twinOfKey } from "./incoming_file.ts";
import { checkRoom, type FileLimits, freeSpace, type HeldFile } from "./limits.ts";
import {
  type Ending,
  formatAcknowledgement,
  formatJson,
  JSON_SCHEMA,
  parseEnding,
  parseOffer,
  parseTarget,
  partUid,
} from "./messages.ts";
import { openFolder, readRecords, removeFile, statFile } from "./storage.ts";

const logger = getLogger(["rmb", "peer", "files"]);

/** Time between looks for what to clean up, in milliseconds. */
const SWEEP_INTERVAL = 60_000;
/** Time after which an upload that nothing is heard of is removed; its sender gives up long before. */
const IDLE_TIME = 3600_000;
/**
 * How long a complete upload is known, in milliseconds: an hour longer than a sender of ours goes on,
 * so that one that missed the last answer does not send the file again.
 */
const KNOWN_TIME = 25 * 3600_000;
/** Complete uploads that are known; above, the oldest are forgotten. */
const MAX_KNOWN = 10_000;

const STOPPING = "the gateway is stopping";

/** Takes files from other twins. */
export class Incoming {
  readonly #folders: IncomingFolders;
  readonly #host: PluginHost;
  readonly #limits: FileLimits;
  /** By their keys; those whose command was called last, oldest first among themselves. */
  readonly #files = new Map<string, IncomingFile>();
  readonly #timer: ReturnType<typeof setInterval>;
  /** Uploads are let in one after the other, so that each sees what those before it take. */
  #admission: Promise<unknown> = Promise.resolve();
  #sweeping: Promise<void> = Promise.resolve();
  #stopped = false;

  private constructor(folders: IncomingFolders, host: PluginHost, limits: FileLimits) {
    this.#folders = folders;
    this.#host = host;
    this.#limits = limits;
    this.#timer = setInterval(() => {
      this.#sweeping = this.#sweeping.then(() => this.#sweep());
    }, SWEEP_INTERVAL);
  }

  /**
   * Begins to take files into a folder, and goes on with those that are there in part.
   *
   * @throws {RmbError} if the folder can't be used.
   */
  static async open(folder: string, host: PluginHost, limits: FileLimits): Promise<Incoming> {
    const complete = await openFolder(folder);
    const partial = await openFolder(`${complete}/incoming`);
    await freeSpace(complete); // What is not permitted shows at the start.
    const incoming = new Incoming({ complete, partial }, host, limits);
    await incoming.#restore();
    incoming.#sweeping = incoming.#sweep();
    return incoming;
  }

  /** Answers `file.negotiate`. */
  async negotiate({ uid, payload, source }: PluginRequest): Promise<PluginAnswer> {
    const { upload } = read(() => parseTarget(uid));
    const offer = read(() => parseOffer(payload));
    if (offer.command !== undefined && isReserved(offer.command)) {
      throw new CodedError(ErrorCode.none, `command is reserved: ${offer.command}`);
    }
    const { size, acknowledge } = offer;
    const admitted = this.#admission.then(async () => {
      if (this.#stopped) throw new CodedError(ErrorCode.other, STOPPING);
      const known = this.#files.get(keyOf(source.twin, upload));
      if (known !== undefined) {
        if (known.record.sha256 !== undefined || (acknowledge && known.record.acknowledge)) {
          if (known.record.size === size && acknowledge) return known;
          throw new CodedError(ErrorCode.none, `upload ${upload} is known, and not the same`);
        }
        await known.run(() => this.#forget(known)); // The reference's form can only begin again.
      }
      const { twin } = source;
      await checkRoom(this.#folders.complete, this.#limits, await this.#held(), { twin, size });
      const record = { upload, source, ...offer };
      const file = await IncomingFile.create(this.#folders, record);
      this.#files.set(file.key, file);
      logger.info("file {key} of {size} bytes begins, from {source}", {
        key: file.key,
        size,
        source: formatSession(source),
      });
      return file;
    });
    this.#admission = admitted.catch(() => {});
    const file = await admitted;
    const answer = await this.#run(file, async () => {
      await file.sha256(); // Ready to go on.
      return file.written;
    });
    return answer ?? { payload: formatJson(null), schema: JSON_SCHEMA };
  }

  /** Answers `file.write`. */
  async write(request: PluginRequest): Promise<PluginAnswer | null> {
    const { file, part } = this.#find(request);
    if (file === undefined && part === undefined) return null; // All the rest of what has failed.
    const { payload } = request;
    return await this.#run(file, async (file) => {
      const { size, sha256, acknowledge } = file.record;
      if (acknowledge !== (typeof part === "number")) {
        throw new CodedError(ErrorCode.none, "chunk is not in the form that was agreed on");
      }
      const offset = typeof part === "number" ? part : file.written;
      if (offset + payload.length > size) {
        throw new CodedError(ErrorCode.none, `chunk goes beyond the ${size} bytes of the file`);
      }
      if (sha256 === undefined) await file.append(offset, payload);
      return file.written;
    });
  }

  /** Answers `file.close`. */
  async close(request: PluginRequest): Promise<PluginAnswer | null> {
    const { file, part } = this.#find(request);
    return await this.#run(file, async (file) => {
      const { size, acknowledge, sha256 } = file.record;
      if (acknowledge !== (part === "close")) {
        throw new CodedError(ErrorCode.none, "end is not in the form that was agreed on");
      }
      if (!acknowledge) {
        await this.#end(file, { size: file.written, sha256: await file.sha256() });
        return size;
      }
      const ending = read(() => parseEnding(request.payload));
      if (ending === undefined && sha256 === undefined) {
        await this.#forget(file);
        logger.info("file {key} is given up by its sender", { key: file.key });
      } else if (ending !== undefined && file.written === size) await this.#end(file, ending);
      return file.written;
    });
  }
  /** Finishes what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#admission;
    await this.#sweeping;
    for (const file of this.#files.values()) {
      await file.idle();
      file.close();
    }
  }

  #find({ uid, source }: PluginRequest) {
    const { upload, part } = read(() => parseTarget(uid));
    return { file: this.#files.get(keyOf(source.twin, upload)), part };
  }

  /**
   * Does what a request wants with a file. Who speaks the reference's form is told of nothing but a
   * failure, and sends all the rest whatever it hears: so what failed is forgotten.
   */
  async #run(
    file: IncomingFile | undefined,
    work: (file: IncomingFile) => Promise<number>,
  ): Promise<PluginAnswer | null> {
    if (file === undefined) throw new CodedError(ErrorCode.other, "no such upload");
    const { key, record: { acknowledge } } = file;
    return await file.run(async () => {
      if (this.#stopped) throw new CodedError(ErrorCode.other, STOPPING);
      if (this.#files.get(key) !== file) return await this.#run(undefined, work);
      file.lastUsed = Date.now();
      try {
        const offset = await work(file);
        return acknowledge ? acknowledgement(offset) : null;
      } catch (cause) {
        logger.error("file {key}: {error}", { key, error: String(cause) });
        if (!acknowledge && file.record.sha256 === undefined) await this.#forget(file);
        if (cause instanceof CodedError) throw cause;
        throw new CodedError(ErrorCode.other, "file can't be written now", { cause });
      }
    });
  }

  /** Completes a file if it is what its sender says it is. */
  async #end(file: IncomingFile, ending: Ending): Promise<void> {
    const { size, sha256: known } = file.record;
    const sha256 = await file.sha256();
    const wrong = ending.size !== size
      ? `file has ${ending.size} bytes, not the ${size} that were agreed on`
      : ending.sha256 !== sha256
      ? `file has SHA-256 ${sha256} here, not ${ending.sha256}`
      : undefined;
    if (wrong !== undefined) {
      if (known === undefined) await this.#forget(file);
      throw new CodedError(ErrorCode.none, wrong);
    }
    await this.#complete(file, sha256);
  }

  /** Puts a file where local programs find it and calls its command: each once, whatever happens. */
  async #complete(file: IncomingFile, sha256: string): Promise<void> {
    const { key, path, record: { upload, source, size, command, name, delivered } } = file;
    if (delivered !== undefined) return;
    await file.complete(sha256);
    if (command !== undefined) {
      await this.#host.deliver(command, {
        // Not the upload's own id: in the reference an answer with that would begin it again.
        uid: partUid(upload, "close"),
        payload: formatJson({ path, size, sha256, name: name ?? null, upload }),
        source,
        schema: JSON_SCHEMA,
      });
    }
    await file.setDelivered();
    this.#files.delete(key);
    this.#files.set(key, file);
    logger.info("file {key} is complete: {size} bytes from {source}, SHA-256 {sha256}", {
      key,
      size,
      source: formatSession(source),
      sha256,
    });
  }

  async #forget(file: IncomingFile): Promise<void> {
    this.#files.delete(file.key);
    await file.remove();
  }

  /** All files that take room: those under way, and those that no one has taken away. */
  async #held(): Promise<HeldFile[]> {
    const held: HeldFile[] = [];
    for (const { record: { source: { twin }, size, sha256 }, written } of this.#files.values()) {
      if (sha256 === undefined) held.push({ twin, size, written, complete: false });
    }
    for await (const { name } of Deno.readDir(this.#folders.complete)) {
      const twin = twinOfKey(name);
      const info = twin && await statFile(`${this.#folders.complete}/${name}`);
      if (!info) continue; // Not ours, or taken away just now.
      held.push({ twin: twin!, size: info.size, written: info.size, complete: true });
    }
    return held;
  }

  /** Finds what an earlier process left, and removes what is of no use. */
  async #restore(): Promise<void> {
    const { partial } = this.#folders;
    const known: IncomingFile[] = [];
    for (const [name, json] of await readRecords(partial)) {
      try {
        if (json === undefined) throw new FormatError("it can't be read");
        known.push(await IncomingFile.restore(this.#folders, json));
      } catch (error) {
        logger.warn("upload {name} of an earlier process is given up: {error}", {
          name,
          error: (error as Error).message,
        });
      }
    }
    known.sort((a, b) => (a.record.delivered ?? 0) - (b.record.delivered ?? 0));
    for (const file of known) this.#files.set(file.key, file);
    for await (const { name } of Deno.readDir(partial)) {
      if (!this.#files.has(name.replace(/\.json$/, ""))) await removeFile(`${partial}/${name}`);
    }
  }

  /** Removes what has been idle, forgets what was complete long ago, calls what could not be called. */
  async #sweep(): Promise<void> {
    const now = Date.now();
    let known = 0;
    for (const { record } of this.#files.values()) if (record.delivered !== undefined) known++;
    for (const file of this.#files.values()) {
      const { key, lastUsed, record: { delivered, sha256 } } = file;
      try {
        if (delivered !== undefined) {
          if (now - delivered < KNOWN_TIME && known <= MAX_KNOWN) continue;
          known--;
          await file.run(() => this.#forget(file));
        } else if (sha256 !== undefined) {
          await file.run(() => this.#complete(file, sha256));
        } else if (now - lastUsed >= IDLE_TIME) {
          await file.run(() => this.#forget(file));
          logger.warn("file {key} is given up: nothing was heard for an hour", { key });
        }
      } catch (error) {
        logger.error("file {key} waits: {error}", { key, error: String(error) });
      }
    }
  }
}

function acknowledgement(offset: number): PluginAnswer {
  return { payload: formatAcknowledgement(offset), schema: JSON_SCHEMA };
}

/** Reads something of another twin; it is told what is wrong with it. */
function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new CodedError(ErrorCode.none, `request can't be read: ${error.message}`);
  }
}
