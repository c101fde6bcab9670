import { RmbError } from "@rmb/protocol";
import { createHash, type Hash } from "node:crypto";
import type { UploadJob } from "./upload_job.ts";
import { CHUNK_SIZE } from "./messages.ts";
import { readAt } from "./storage.ts";

/** A file can't be uploaded: it is not what it must be, or has changed. Trying again is of no use. */
export class SourceFileError extends RmbError {}

/** What a file is when it is looked at. */
export type FileState = Pick<UploadJob, "size" | "changed">;

/**
 * Looks at a file that is to be uploaded.
 *
 * @throws {SourceFileError} if it can't be read, or is not a regular file.
 */
export async function inspectFile(path: string): Promise<FileState> {
  using file = await openFile(path);
  return stateOf(await file.stat());
}

/** A file that is being uploaded, read from front to back, and its hash. */
export class SourceFile implements Disposable {
  readonly #path: string;
  readonly #expected: FileState;
  readonly #file: Deno.FsFile;
  readonly #hash: Hash = createHash("sha256");
  /** Up to where the hash is. */
  #hashed = 0;

  private constructor(path: string, expected: FileState, file: Deno.FsFile) {
    this.#path = path;
    this.#expected = expected;
    this.#file = file;
  }

  /**
   * Opens a file.
   *
   * @param expected What it was when the upload was asked for.
   * @throws {SourceFileError} if it has changed since, or can't be read.
   */
  static async open(path: string, expected: FileState): Promise<SourceFile> {
    const source = new SourceFile(path, expected, await openFile(path));
    try {
      await source.check();
      return source;
    } catch (error) {
      source[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Checks that it is still as it was.
   *
   * @throws {SourceFileError} if it has changed.
   */
  async check(): Promise<void> {
    const { size, changed } = stateOf(await this.#file.stat());
    if (size !== this.#expected.size || changed !== this.#expected.changed) {
      throw this.#hasChanged();
    }
  }

  /**
   * Reads a chunk.
   *
   * @throws {SourceFileError} if it has become shorter, or can't be read.
   */
  async read(offset: number): Promise<Uint8Array> {
    await this.#hashUpTo(offset);
    const bytes = await this.#readAt(offset);
    if (this.#hashed < offset + bytes.length) {
      this.#hash.update(bytes.subarray(this.#hashed - offset));
      this.#hashed = offset + bytes.length;
    }
    return bytes;
  }

  /** SHA-256 of all of it, hexadecimal. */
  async sha256(): Promise<string> {
    await this.#hashUpTo(this.#expected.size);
    await this.check();
    return this.#hash.copy().digest("hex");
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  /** What the other side has already is not sent, but is part of the hash. */
  async #hashUpTo(offset: number): Promise<void> {
    while (this.#hashed < offset) {
      const bytes = (await this.#readAt(this.#hashed)).subarray(0, offset - this.#hashed);
      this.#hash.update(bytes);
      this.#hashed += bytes.length;
    }
  }

  async #readAt(offset: number): Promise<Uint8Array> {
    const length = Math.min(CHUNK_SIZE, this.#expected.size - offset);
    const bytes = await readAt(this.#file, offset, length).catch((cause) => {
      throw unreadable(this.#path, cause);
    });
    if (bytes.length < length) throw this.#hasChanged();
    return bytes;
  }

  #hasChanged(): SourceFileError {
    return new SourceFileError(`file "${this.#path}" has changed since its upload was asked for`);
  }
}

async function openFile(path: string): Promise<Deno.FsFile> {
  let file: Deno.FsFile;
  try {
    // Before it is opened: opening a pipe would wait for who writes into it.
    if (!(await Deno.stat(path)).isFile) throw new SourceFileError("it is not a regular file");
    file = await Deno.open(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  return file;
}

function stateOf({ size, mtime }: Deno.FileInfo): FileState {
  return { size, changed: mtime?.getTime() ?? 0 };
}

function unreadable(path: string, cause: unknown): SourceFileError {
  const { message } = cause as Error;
  return new SourceFileError(`file "${path}" can't be uploaded: ${message}`, { cause });
}
