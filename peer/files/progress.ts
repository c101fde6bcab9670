import { getLogger } from "@logtape/logtape";
import { formatSession } from "@rmb/protocol";
import { ErrorCode } from "@rmb/protocol/endpoint";
import type { PluginHost } from "../plugin.ts";
import { formatJson, JSON_SCHEMA } from "./messages.ts";
import type { UploadJob } from "./upload_job.ts";

const logger = getLogger(["rmb", "peer", "files"]);

/** What a program is told. */
export type Answer = Parameters<PluginHost["reply"]>[1];

/** Least time between two reports to the program that asked, in milliseconds. */
const REPORT_INTERVAL = 1000;
/** A log line is due after this share of the file, or this time in milliseconds. */
const LOG_SHARE = 0.1;
const LOG_INTERVAL = 10_000;

/**
 * Tells how an upload goes: to the program that asked for it, and to the log. Waits while Redis is away;
 * a list that can't be pushed to is the program's own affair.
 */
export class Progress {
  readonly #host: PluginHost;
  readonly #job: UploadJob;
  readonly #names: Readonly<Record<string, unknown>>;
  #reported = Date.now();
  #reporting = false;
  #logged = Date.now();
  #loggedShare = 0;

  /** Tells of a job. */
  constructor(host: PluginHost, job: UploadJob) {
    this.#host = host;
    this.#job = job;
    this.#names = { id: job.id, path: job.path, destination: formatSession(job.destination) };
  }

  /** The other side agrees: the first answer is the upload's id, as in the reference. */
  async agreed(): Promise<void> {
    await this.#reply(this.#job.id);
  }

  /** It begins, or goes on after a failure. */
  began(offset: number): void {
    const { size } = this.#job;
    logger.info("upload {id} of {path} to {destination} begins at {offset} of {size} bytes", {
      ...this.#names,
      offset,
      size,
    });
  }

  /** This much of it has arrived. */
  advanced(uploaded: number): void {
    const now = Date.now();
    const { size } = this.#job;
    if (now - this.#reported >= REPORT_INTERVAL && !this.#reporting) {
      this.#reported = now;
      this.#reporting = true; // While Redis is away, one waits, not hundreds.
      this.#reply({ uploaded, size }).finally(() => this.#reporting = false);
    }
    const share = uploaded / size;
    if (share - this.#loggedShare < LOG_SHARE && now - this.#logged < LOG_INTERVAL) return;
    this.#logged = now;
    this.#loggedShare = share;
    const percent = Math.floor(share * 100);
    logger.info("upload {id}: {uploaded} of {size} bytes, {percent} %", {
      ...this.#names,
      uploaded,
      size,
      percent,
    });
  }

  /** It was interrupted, and will be tried again. */
  interrupted(error: Error, wait: number): void {
    logger.warn("upload {id} is interrupted: {error}; next attempt in {wait} ms", {
      ...this.#names,
      error: error.message,
      wait,
    });
  }

  /**
   * It is complete.
   *
   * @param verified Whether the other side says so; in the reference's form it says nothing.
   */
  async completed(sha256: string, verified: boolean): Promise<void> {
    const { size } = this.#job;
    logger.info("upload {id} of {path} to {destination} is complete: SHA-256 {sha256}", {
      ...this.#names,
      sha256,
    });
    await this.#reply({ done: true, size, sha256, verified });
  }

  /** It has failed for good. */
  async failed(message: string): Promise<void> {
    logger.error("upload {id} of {path} to {destination} has failed: {error}", {
      ...this.#names,
      error: message,
    });
    await this.#answer(failure(message));
  }

  async #reply(value: unknown): Promise<void> {
    const { destination: source } = this.#job;
    await this.#answer({ payload: formatJson(value), schema: JSON_SCHEMA, source });
  }

  async #answer(answer: Answer): Promise<void> {
    await this.#host.reply(this.#job, answer).catch((error) =>
      logger.warn("upload {id}: its program can't be told: {error}", {
        ...this.#names,
        error: String(error),
      })
    );
  }
}

/** The answer to a program whose upload has failed, or was not begun. */
export function failure(message: string): Answer {
  const error = { code: ErrorCode.other, message };
  return { payload: new Uint8Array(), schema: JSON_SCHEMA, error };
}
