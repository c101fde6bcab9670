import { getLogger } from "@logtape/logtape";
import type { Keypair } from "@rmb/protocol";
import { directSignatures, type Signatures } from "@rmb/protocol/endpoint";
import type { SignatureJob, SignatureResult, ToSignatureWorker } from "./signature_jobs.ts";

const logger = getLogger(["rmb", "peer", "signatures"]);

/** First byte of sr25519 signatures. Others are the runtime's, and off this thread in any case. */
const SR25519_TAG = 0x73;

/** Most workers: one verifies and signs about as much as one thread can move. */
const MAX_WORKERS = 2;

/** Jobs at once from which on a worker is worth it: posting them costs about as much as one. */
const MANY = 4;

/** A job that is waited for. */
interface Waiting {
  readonly job: SignatureJob;
  readonly resolve: (result: SignatureResult) => void;
  readonly reject: (error: unknown) => void;
}

/** A worker, and the lists of jobs that it has. */
interface Hand {
  readonly worker: Worker;
  readonly lists: Waiting[][];
}

/**
 * Signatures made and verified by workers, so that the thread that moves messages does not wait for them:
 * those of sr25519, which keep a thread busy. Few at a time are done at once, so that a gateway with
 * little to do needs no worker; the first is started when there are many.
 */
export class SignaturePool implements Signatures, Disposable {
  readonly #keypair: Keypair;
  readonly #secret: string;
  readonly #direct: Signatures;
  /** How many workers there may be. */
  #size: number;
  #hands: Hand[] = [];
  #waiting: Waiting[] = [];

  /**
   * Makes a pool, without any worker as yet.
   *
   * @param keypair Who signs.
   * @param secret What it was made from: workers make it again.
   * @param cores Cores of this machine; one of them moves messages.
   */
  constructor(keypair: Keypair, secret: string, cores: number = navigator.hardwareConcurrency) {
    this.#keypair = keypair;
    this.#secret = secret;
    this.#direct = directSignatures(keypair);
    this.#size = Math.min(cores - 1, MAX_WORKERS);
  }

  /** Signs a message. */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    if (this.#keypair.type !== "sr25519") return await this.#direct.sign(message);
    return await this.#queue({ message }) as Uint8Array;
  }

  /** Whether a signature holds. */
  async verify(
    account: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ): Promise<boolean> {
    if (signature[0] !== SR25519_TAG) {
      return await this.#direct.verify(account, message, signature);
    }
    return await this.#queue({ message, account, signature }) as boolean;
  }

  /** Ends the workers. What they have is done here. */
  [Symbol.dispose](): void {
    this.#size = 0;
    for (const hand of [...this.#hands]) this.#let(hand);
  }

  #queue(job: SignatureJob): Promise<SignatureResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      // What comes in one turn goes out together.
      if (this.#waiting.length === 1) queueMicrotask(() => this.#give());
    });
  }

  #give(): void {
    const waiting = this.#waiting.splice(0);
    const isBusy = this.#hands.some(({ lists }) => lists.length > 0);
    if (this.#size <= 0 || (waiting.length < MANY && !isBusy)) return this.#doHere(waiting);
    if (this.#hands.length < this.#size && (isBusy || this.#hands.length === 0)) this.#start();
    const share = Math.max(Math.ceil(waiting.length / this.#hands.length), MANY);
    const idlest = this.#hands.toSorted((a, b) => a.lists.length - b.lists.length);
    for (let i = 0; i * share < waiting.length; i++) {
      const list = waiting.slice(i * share, (i + 1) * share);
      const { worker, lists } = idlest[i]!;
      lists.push(list);
      tell(worker, { jobs: list.map(({ job }) => job) });
    }
  }

  #start(): void {
    const worker = new Worker(new URL("./signature_worker.ts", import.meta.url), {
      type: "module",
    });
    const hand: Hand = { worker, lists: [] };
    worker.onmessage = ({ data }: MessageEvent<readonly SignatureResult[]>) =>
      hand.lists.shift()!.forEach(({ resolve }, i) => resolve(data[i]!));
    worker.onerror = (event) => {
      event.preventDefault();
      logger.warn("signatures are made and verified without workers: {reason}", {
        reason: event.message,
      });
      this[Symbol.dispose]();
    };
    tell(worker, { secret: this.#secret, type: this.#keypair.type });
    this.#hands.push(hand);
  }

  /** Lets a worker go, and does what it had. */
  #let(hand: Hand): void {
    hand.worker.terminate();
    this.#hands = this.#hands.filter((other) => other !== hand);
    this.#doHere(hand.lists.splice(0).flat());
  }

  #doHere(waiting: readonly Waiting[]): void {
    for (const { job: { message, account, signature }, resolve, reject } of waiting) {
      const done: Promise<SignatureResult> = account === undefined
        ? this.#direct.sign(message)
        : this.#direct.verify(account, message, signature!);
      done.then(resolve, reject);
    }
  }
}

function tell(worker: Worker, message: ToSignatureWorker): void {
  worker.postMessage(message);
}
