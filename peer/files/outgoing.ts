import { FormatError, formatSession, RmbError } from "@rmb/protocol";
import { getLogger } from "@logtape/logtape";
import type { LocalRequest } from "../local.ts";
import type { PluginHost } from "../plugin.ts";
import { JSON_SCHEMA, parseUploadOrder } from "./messages.ts";
import { failure, Progress } from "./progress.ts";
import { inspectFile, SourceFile, SourceFileError } from "./source_file.ts";
import { openFolder, readRecords, removeFile, writeRecord } from "./storage.ts";
import { abandonTransfer, isRefusal, Transfer } from "./transfer.ts";
import { formatJob, parseJob, type UploadJob } from "./upload_job.ts";

const logger = getLogger(["rmb", "peer", "files"]);

/**
 * Uploads under way at once: half of what a gateway has waiting for a relay; and to one twin: what
 * receivers of ours let one have.
 */
const MAX_RUNNING = 8;
const MAX_RUNNING_TO_ONE = 4;
/** Uploads that were asked for and have not ended; above, no more are taken. */
const MAX_JOBS = 1000;
/** How long the other side may take to agree when the request says nothing, and at most, in seconds. */
const DEFAULT_EXPIRATION = 300;
const MAX_EXPIRATION = 1800;
/** Time without progress after which an upload fails, in milliseconds. */
const PATIENCE = 600_000;
/** Longest life of an upload, in milliseconds: receivers know it for longer. */
const LONGEST_UPLOAD = 24 * 3600_000;
/** Wait before an upload goes on that was interrupted, in milliseconds; doubled each time. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;

/** Brings files to other twins, as local programs want it. */
export class Outgoing {
  readonly #folder: string;
  readonly #host: PluginHost;
  readonly #stop = new AbortController();
  /** Those that wait for their turn, oldest first. */
  readonly #waiting: UploadJob[] = [];
  readonly #running = new Map<UploadJob, Promise<void>>();

  private constructor(folder: string, host: PluginHost) {
    this.#folder = folder;
    this.#host = host;
  }

  /**
   * Goes on with the uploads that a folder has records of.
   *
   * @throws {RmbError} if the folder can't be used.
   */
  static async open(folder: string, host: PluginHost): Promise<Outgoing> {
    const outgoing = new Outgoing(await openFolder(folder), host);
    for (const [name, json] of await readRecords(outgoing.#folder)) {
      try {
        if (json === undefined) throw new FormatError("it can't be read");
        outgoing.#waiting.push(parseJob(json));
      } catch (error) {
        logger.error("upload {name} can't go on, its record is no good: {error}", {
          name,
          error: (error as Error).message,
        });
      }
    }
    outgoing.#waiting.sort((a, b) => a.accepted - b.accepted);
    outgoing.#schedule();
    return outgoing;
  }

  /** Takes a `file.upload`: it is recorded when this resolves, or answered with an error. */
  async take(request: LocalRequest, uid: string): Promise<void> {
    const jobs = [...this.#running.keys(), ...this.#waiting];
    if (jobs.some(({ id }) => id === uid)) return; // Given again, after a crash.
    try {
      if (jobs.length >= MAX_JOBS) throw new RmbError(`${MAX_JOBS} uploads wait already`);
      const job = await acceptJob(request, uid);
      await writeRecord(this.#recordOf(job), formatJob(job));
      this.#waiting.push(job);
      this.#schedule();
    } catch (error) {
      await this.#host.reply(request, failure((error as Error).message));
    }
  }

  /** Interrupts uploads: they go on at the next start. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running.values());
  }

  #recordOf({ id }: UploadJob): string {
    return `${this.#folder}/${id}.json`;
  }

  /** Starts those for which there is room. */
  #schedule(): void {
    for (const job of [...this.#waiting]) {
      if (this.#stop.signal.aborted || this.#running.size >= MAX_RUNNING) return;
      const { twin } = job.destination;
      const others = [...this.#running.keys()].filter(({ destination }) =>
        destination.twin === twin
      );
      if (others.length >= MAX_RUNNING_TO_ONE) continue;
      this.#waiting.splice(this.#waiting.indexOf(job), 1);
      const running = this.#run(job)
        .catch((error) => logger.error("upload {id}: {error}", { id: job.id, error }))
        .finally(() => {
          this.#running.delete(job);
          this.#schedule();
        });
      this.#running.set(job, running);
    }
  }

  async #run(job: UploadJob): Promise<void> {
    const progress = new Progress(this.#host, job);
    try {
      using file = await SourceFile.open(job.path, job);
      const verified = await this.#transfer(job, file, progress);
      await progress.completed(await file.sha256(), verified);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      await progress.failed((error as Error).message);
      const { signal } = this.#stop;
      if (!isRefusal(error)) {
        await abandonTransfer({ host: this.#host, job, signal }).catch(() => {});
      }
    }
    await removeFile(this.#recordOf(job));
  }

  /** Tries until it is done, or of no use any more. */
  async #transfer(job: UploadJob, file: SourceFile, progress: Progress): Promise<boolean> {
    const { signal } = this.#stop;
    let furthest = 0;
    let progressed = Date.now();
    let wait = FIRST_WAIT;
    const onAdvanced = (offset: number) => {
      progress.advanced(offset);
      if (offset <= furthest) return;
      furthest = offset;
      progressed = Date.now();
      wait = FIRST_WAIT;
    };
    const onAgreed = async (offset: number) => {
      if (!job.agreed) {
        await progress.agreed();
        job = { ...job, agreed: true };
        await writeRecord(this.#recordOf(job), formatJob(job));
      }
      progress.began(offset);
    };
    for (;;) {
      try {
        return await new Transfer({ host: this.#host, job, file, signal, onAgreed, onAdvanced })
          .run();
      } catch (error) {
        if (signal.aborted || error instanceof SourceFileError || isRefusal(error)) throw error;
        const { message } = error as Error;
        const end = Date.now() + wait;
        if (!job.agreed && end >= job.agreeUntil) {
          throw new RmbError(`${formatSession(job.destination)} did not agree in time: ${message}`);
        }
        if (end >= progressed + PATIENCE || end >= job.accepted + LONGEST_UPLOAD) {
          throw new RmbError(`upload is given up at ${furthest} bytes: ${message}`);
        }
        progress.interrupted(error as Error, wait);
        await delay(wait, signal);
        wait = Math.min(wait * 2, LONGEST_WAIT);
      }
    }
  }
}

/**
 * Makes a job of a local program's request.
 *
 * @throws {RmbError} if it can't be one.
 */
async function acceptJob(request: LocalRequest, id: string): Promise<UploadJob> {
  const { destinations: [twin, ...others], connection, replyTo, reference } = request;
  if (request.schema !== JSON_SCHEMA) throw new FormatError(`"shm" must be ${JSON_SCHEMA}`);
  if (twin === undefined || others.length > 0) {
    throw new FormatError("a file can only be uploaded to one destination");
  }
  const { path, command } = parseUploadOrder(request.payload);
  const accepted = Date.now();
  const life = Math.min(request.expiration || DEFAULT_EXPIRATION, MAX_EXPIRATION) * 1000;
  return {
    id,
    path,
    command,
    destination: { twin, connection },
    replyTo,
    reference,
    ...await inspectFile(path),
    accepted,
    agreeUntil: (request.timestamp * 1000 || accepted) + life,
    agreed: false,
  };
}

/** Waits. Rejects when told to stop. */
function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}
