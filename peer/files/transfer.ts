import { RmbError } from "@rmb/protocol";
import { ErrorCode, RemoteError } from "@rmb/protocol/endpoint";
import type { PluginAnswer, PluginCallOptions, PluginHost } from "../plugin.ts";
import { formatEnding, formatOffer, parseAcknowledgement, partUid, safeName } from "./messages.ts";
import type { SourceFile } from "./source_file.ts";
import type { UploadJob } from "./upload_job.ts";

/** What a chunk is: bytes of a file. */
const CHUNK_SCHEMA = "application/octet-stream";
/** Chunks on their way at most: 4 MiB, so much stays in memory here, at a relay and at the receiver. */
const WINDOW = 8;
/** Silence after which the receiver is asked how far it has come, in milliseconds. */
const STALL = 5000;
/** Life of messages in seconds: those that only make sense soon; chunks; and an end, behind a slow disk. */
const ASK_TIMEOUT = 15;
const CHUNK_TIMEOUT = 300;
const CLOSE_TIMEOUT = 60;

/** What a transfer needs, and whom it tells. */
export interface TransferOptions {
  readonly host: PluginHost;
  readonly job: UploadJob;
  readonly file: SourceFile;
  /** Gives it up. */
  readonly signal: AbortSignal;
  /** Called when the receiver has agreed, with how much of the file it has. */
  readonly onAgreed: (offset: number) => Promise<void>;
  /** Called when more has arrived. */
  readonly onAdvanced: (offset: number) => void;
}

/** One attempt to bring a file to another twin, from where the last one came to. */
export class Transfer {
  readonly #options: TransferOptions;

  /** Makes one, see {@linkcode Transfer.run}. */
  constructor(options: TransferOptions) {
    this.#options = options;
  }

  /**
   * Does it.
   *
   * @returns Whether the receiver has verified the file: not so in the reference's form.
   * @throws {RemoteError} if the receiver refuses, see {@linkcode isRefusal}.
   * @throws {SourceFileError} if the file can't be read, or has changed.
   * @throws {RmbError} if something else is in the way, which may pass.
   */
  async run(): Promise<boolean> {
    const { job, onAgreed } = this.#options;
    const { id, path, size, command, agreed, agreeUntil } = job;
    const offer = formatOffer({ size, command, name: safeName(path), acknowledge: true });
    const left = (agreeUntil - Date.now()) / 1000;
    const timeout = agreed ? ASK_TIMEOUT : Math.max(1, Math.min(ASK_TIMEOUT, Math.ceil(left)));
    const { payload } = await this.#call("file.negotiate", offer, { uid: id, timeout });
    const offset = parseAcknowledgement(payload);
    if (offset !== undefined && offset > size) {
      throw new RmbError(`the receiver claims to have ${offset} of ${size} bytes`);
    }
    await onAgreed(offset ?? 0);
    if (offset === undefined) await this.#sendUnacknowledged();
    else await this.#send(offset);
    return offset !== undefined;
  }

  /** Sends chunks with offsets, a window of them at a time. */
  async #send(offset: number): Promise<void> {
    const { job: { id, size }, file, signal, onAdvanced } = this.#options;
    const attempt = new AbortController();
    const either = AbortSignal.any([attempt.signal, signal]);
    const chunks: Promise<number>[] = [];
    try {
      while (offset < size || chunks.length > 0) {
        if (offset < size && chunks.length < WINDOW) {
          const bytes = await file.read(offset);
          const chunk = this.#write(offset, bytes, either);
          chunk.catch(() => {}); // It may fail before its turn comes.
          chunks.push(chunk);
          offset += bytes.length;
        } else {
          onAdvanced(await inTime(chunks.shift()!));
        }
      }
    } finally {
      attempt.abort();
      await Promise.allSettled(chunks);
    }
    const ending = formatEnding({ size, sha256: await file.sha256() });
    const uid = partUid(id, "close");
    await this.#expect(size, "file.close", ending, { uid, timeout: CLOSE_TIMEOUT });
  }

  #write(offset: number, bytes: Uint8Array, signal: AbortSignal): Promise<number> {
    const uid = partUid(this.#options.job.id, offset);
    const options = { uid, timeout: CHUNK_TIMEOUT, schema: CHUNK_SCHEMA, signal };
    return this.#expect(offset + bytes.length, "file.write", bytes, options);
  }

  /** Sends something after which the receiver must have the file up to an offset. */
  async #expect(
    offset: number,
    command: string,
    payload: Uint8Array,
    options: PluginCallOptions,
  ): Promise<number> {
    const answer = await this.#call(command, payload, options);
    const known = parseAcknowledgement(answer.payload);
    if (known === undefined) throw new RmbError(`${command} was answered with no offset`);
    if (known < offset) throw new RmbError(`the receiver has ${known} bytes, not ${offset}`);
    return offset;
  }

  /**
   * Sends chunks as the reference does, which acknowledges none. But it answers in the order in which
   * it takes messages: when it has told its version, it has taken the chunks before.
   */
  async #sendUnacknowledged(): Promise<void> {
    const { host, job: { id, size, destination }, file, signal, onAdvanced } = this.#options;
    const options = { uid: id, timeout: CHUNK_TIMEOUT, signal };
    const chunk = { ...options, schema: CHUNK_SCHEMA };
    for (let offset = 0, sent = 1; offset < size; sent++) {
      const bytes = await file.read(offset);
      await host.send(destination, "file.write", bytes, chunk);
      offset += bytes.length;
      if (sent % WINDOW > 0) continue;
      await this.#reached();
      onAdvanced(offset);
    }
    await file.check();
    const attempt = new AbortController();
    const either = AbortSignal.any([attempt.signal, signal]);
    const closed = this.#call("file.close", new Uint8Array(), { ...options, signal: either });
    try {
      await Promise.race([closed, this.#reached()]); // An error would come first.
    } finally {
      attempt.abort();
      await closed.catch(() => {});
    }
  }

  /** Waits until the receiver has taken all that was sent. */
  async #reached(): Promise<void> {
    try {
      await this.#call("rmb.version", new Uint8Array(), { timeout: CHUNK_TIMEOUT });
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
    }
  }

  async #call(
    command: string,
    payload: Uint8Array,
    options: PluginCallOptions,
  ): Promise<PluginAnswer> {
    const { host, job: { destination }, signal } = this.#options;
    return await host.call(destination, command, payload, { signal, ...options });
  }
}

/**
 * Tells the receiver that no more will come, so that it can make room.
 *
 * @throws {CodedError} if it can't be told now.
 */
export async function abandonTransfer(
  { host, job, signal }: Pick<TransferOptions, "host" | "job" | "signal">,
): Promise<void> {
  const options = { uid: partUid(job.id, "close"), timeout: ASK_TIMEOUT, signal };
  await host.send(job.destination, "file.close", formatEnding(undefined), options);
}

/** Whether an error is the receiver's last word; all others may pass. */
export function isRefusal(error: unknown): boolean {
  return error instanceof RemoteError && error.code === ErrorCode.none;
}

async function inTime<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new RmbError(`nothing was acknowledged for ${STALL / 1000} s`)),
    STALL,
  );
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
