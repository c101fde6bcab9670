import { FormatError, formatSession, parseSession, type Session } from "@rmb/protocol";
import { createHash, type Hash } from "node:crypto";
import { isWholeNumber, type Json, optionalText, text } from "../json.ts";
import { isUploadId } from "./messages.ts";
import {
  createFile,
  moveFile,
  readAt,
  removeFile,
  statFile,
  syncFolder,
  writeAll,
  writeRecord,
} from "./storage.ts";

/** Bytes read at once to compute a hash again. */
const READ_SIZE = 1024 * 1024;

/** Where files of other twins are. */
export interface IncomingFolders {
  /** Of those that are complete. */
  readonly complete: string;
  /** Of those under way, and of what is known of each. */
  readonly partial: string;
}

/** What is known of a file, kept beside it. */
export interface IncomingRecord {
  readonly upload: string;
  /** Who sends it. */
  readonly source: Session;
  readonly size: number;
  /** Called when it is complete. */
  readonly command: string | undefined;
  /** What its sender calls it. */
  readonly name: string | undefined;
  /** Whether its chunks have offsets and are acknowledged: not so in the reference. */
  readonly acknowledge: boolean;
  /** Its hash, when it is complete. */
  readonly sha256?: string;
  /** Unix time in milliseconds of when its command was called; kept to know late copies. */
  readonly delivered?: number;
}

/** A file that is open, and the hash of what has arrived of it. */
interface OpenFile {
  readonly file: Deno.FsFile;
  readonly hash: Hash;
}

/** What distinguishes uploads: no twin can write to another's. Also the name of the file. */
export function keyOf(twin: number, upload: string): string {
  return `${twin}-${upload}`;
}

/** The twin in a file's name, undefined if it is none of ours. */
export function twinOfKey(name: string): number | undefined {
  const [, twin, upload] = /^([1-9]\d{0,9})-(.{36})$/.exec(name) ?? [];
  return upload !== undefined && isUploadId(upload) ? Number(twin) : undefined;
}

/** A file that another twin sends: what has arrived of it, and the hash of that. */
export class IncomingFile {
  readonly key: string;
  /** Bytes that have arrived, without a gap. */
  written = 0;
  /** When it was last used, Unix time in milliseconds. */
  lastUsed: number = Date.now();
  readonly #folders: IncomingFolders;
  #record: IncomingRecord;
  /** Set while it is in use. */
  #open: OpenFile | undefined;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(folders: IncomingFolders, record: IncomingRecord) {
    this.key = keyOf(record.source.twin, record.upload);
    this.#folders = folders;
    this.#record = record;
  }

  /** Begins a file, empty. */
  static async create(folders: IncomingFolders, record: IncomingRecord): Promise<IncomingFile> {
    const incoming = new IncomingFile(folders, record);
    incoming.#open = { file: await createFile(incoming.#partial), hash: createHash("sha256") };
    await writeRecord(`${incoming.#partial}.json`, formatRecord(record));
    return incoming;
  }

  /**
   * Goes on with a file of an earlier process.
   *
   * @throws {FormatError} if the record is not what {@linkcode IncomingFile.create} wrote.
   */
  static async restore(folders: IncomingFolders, json: Json): Promise<IncomingFile> {
    const record = parseRecord(json);
    const incoming = new IncomingFile(folders, record);
    const info = await statFile(incoming.#partial);
    incoming.written = record.sha256 === undefined ? info?.size ?? 0 : record.size;
    incoming.lastUsed = record.delivered ?? info?.mtime?.getTime() ?? Date.now();
    if (record.sha256 !== undefined) return incoming;
    if (!info?.isFile || info.size > record.size) {
      throw new FormatError("the file beside it is not its own");
    }
    return incoming;
  }

  /** What is known of it. */
  get record(): IncomingRecord {
    return this.#record;
  }

  /** Where it is when it is complete. */
  get path(): string {
    return `${this.#folders.complete}/${this.key}`;
  }

  get #partial(): string {
    return `${this.#folders.partial}/${this.key}`;
  }

  /** Does something with it after what was to be done before. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /**
   * Takes bytes of it. What is there already is skipped, and nothing is taken beyond a gap.
   *
   * @param offset Where they belong; within the file's size together with their length.
   */
  async append(offset: number, bytes: Uint8Array): Promise<void> {
    const known = this.written - offset;
    if (known < 0 || known >= bytes.length) return;
    const fresh = bytes.subarray(known);
    const { file, hash } = await this.#reopen();
    await file.seek(this.written, Deno.SeekMode.Start); // What failed half-way is written again.
    await writeAll(file, fresh);
    hash.update(fresh);
    this.written += fresh.length;
  }

  /** The hash of what has arrived, hexadecimal. */
  async sha256(): Promise<string> {
    return this.#record.sha256 ?? (await this.#reopen()).hash.copy().digest("hex");
  }

  /** Makes it complete: on the disk, under its own name. May be done again after a failure. */
  async complete(sha256: string): Promise<void> {
    if (this.#record.sha256 === undefined) {
      const { file } = await this.#reopen();
      await file.sync();
      await this.#update({ ...this.#record, sha256 });
    }
    this.close();
    if (await statFile(this.#partial) === undefined) return; // Moved, and perhaps taken away since.
    await moveFile(this.#partial, this.path);
    await syncFolder(this.#folders.partial);
  }

  /** Remembers that its command was called. */
  async setDelivered(): Promise<void> {
    await this.#update({ ...this.#record, delivered: Date.now() });
  }

  /** Removes what has arrived, and what is known of it; not the complete file. */
  async remove(): Promise<void> {
    this.close();
    await removeFile(this.#partial);
    await removeFile(`${this.#partial}.json`);
  }

  /** Waits until nothing is to be done with it. */
  async idle(): Promise<void> {
    await this.#last;
  }

  /** Closes the file; it is opened again when needed. */
  close(): void {
    this.#open?.file.close();
    this.#open = undefined;
  }

  /** Opens it; after a restart the hash of what is there is computed again. */
  async #reopen(): Promise<OpenFile> {
    if (this.#open !== undefined) return this.#open;
    const file = await Deno.open(this.#partial, { read: true, write: true });
    try {
      const hash = createHash("sha256");
      for (let at = 0; at < this.written;) {
        const bytes = await readAt(file, at, Math.min(READ_SIZE, this.written - at));
        if (bytes.length === 0) throw new Error(`"${this.#partial}" has become shorter`);
        hash.update(bytes);
        at += bytes.length;
      }
      return this.#open = { file, hash };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async #update(record: IncomingRecord): Promise<void> {
    await writeRecord(`${this.#partial}.json`, formatRecord(record));
    this.#record = record;
  }
}

function formatRecord(record: IncomingRecord): object {
  return { ...record, source: formatSession(record.source) };
}

function parseRecord(json: Json): IncomingRecord {
  const { size, delivered } = json;
  const upload = text(json, "upload");
  const sha256 = optionalText(json, "sha256");
  const isTime = delivered === undefined || isWholeNumber(delivered, Number.MAX_SAFE_INTEGER);
  if (!isUploadId(upload) || !isWholeNumber(size, Number.MAX_SAFE_INTEGER) || !isTime) {
    throw new FormatError("it is not a record of an upload");
  }
  return {
    upload,
    source: parseSession(text(json, "source")),
    size,
    command: optionalText(json, "command"),
    name: optionalText(json, "name"),
    acknowledge: json.acknowledge === true,
    ...sha256 !== undefined && { sha256 },
    ...delivered !== undefined && { delivered },
  };
}
