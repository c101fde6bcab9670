import { formatHex } from "../account.ts";
import type { EncryptionKeypair } from "../encryption.ts";
import {
  createEnvelope,
  encodeEnvelope,
  type EnvelopeInit,
  stampEnvelope,
  timeLeft,
  unixNow,
} from "../envelope.ts";
import { EncryptionError } from "../errors.ts";
import type { Envelope } from "../gen/types_pb.ts";
import { sameSession, type Session } from "../session.ts";
import { challenge } from "../signature.ts";
import type { Twin, TwinRegistry } from "../twin.ts";
import { CodedError, ErrorCode } from "./codes.ts";
import type { Signatures } from "./signatures.ts";

/** Longest envelope sent, in bytes: relays refuse frames of 64 MiB. */
const MAX_ENVELOPE = 64 * 1024 * 1024 - 1;

/** Longest life of an envelope that counts, in seconds: so long its copies are known. */
const MAX_LIFE = 3600;

/** How far ahead of this machine's clock an envelope's may be, in seconds. */
const MAX_AHEAD = 3600;

/** An envelope sealed: stamped, encrypted if both sides publish a key, and signed. */
export interface SealedEnvelope {
  /** Encoded. */
  readonly bytes: Uint8Array;
  /** Seconds until it expires. */
  readonly timeLeft: number;
}

/** A twin that sends and receives: its session and keys, and the registry it looks others up in. */
export class Identity {
  /** Its session; a gateway's has no session id. */
  readonly session: Session;
  readonly #signatures: Signatures;
  readonly #encryption: EncryptionKeypair | undefined;
  readonly #registry: Pick<TwinRegistry, "twin">;
  readonly #attempted: Promise<void>;

  /**
   * Makes an identity. Without an encryption key pair it can only receive what is not encrypted.
   *
   * @param session Its session.
   * @param signatures Signs and verifies.
   * @param encryption Its encryption key pair.
   * @param registry Who others are, and what this twin publishes.
   * @param attempted Settles when it was tried to publish the encryption key.
   */
  constructor(
    session: Session,
    signatures: Signatures,
    encryption: EncryptionKeypair | undefined,
    registry: Pick<TwinRegistry, "twin">,
    attempted: Promise<void> = Promise.resolve(),
  ) {
    this.session = session;
    this.#signatures = signatures;
    this.#encryption = encryption;
    this.#registry = registry;
    this.#attempted = attempted;
  }

  /**
   * Makes an envelope ready to send.
   *
   * @param fields Its fields, without source and destination.
   * @param destination Who it is for.
   * @throws {CodedError} if it has expired or is too long, or the destination of a payload can't be
   * looked up.
   */
  async seal(fields: EnvelopeInit, destination: Session): Promise<SealedEnvelope> {
    const envelope = createEnvelope({
      ...fields,
      source: this.session,
      destination,
    });
    const { message, payload } = envelope;
    if (payload.case === "plain") {
      const { pk } = await this.#lookUp(destination.twin);
      if (pk !== undefined && this.#encryption?.accepts(pk)) {
        if (await this.#encrypts(message.case === "request")) {
          const value = await this.#encryption.encrypt(payload.value, pk);
          envelope.payload = { case: "cipher", value };
        }
      }
    }
    stampEnvelope(envelope);
    const left = timeLeft(envelope);
    if (left <= 0) throw new CodedError(ErrorCode.other, "message has expired");
    envelope.signature = await this.#signatures.sign(challenge(envelope));
    const bytes = encodeEnvelope(envelope);
    if (bytes.length > MAX_ENVELOPE) {
      throw new CodedError(
        ErrorCode.other,
        `message of ${bytes.length} bytes is too long, at most ${MAX_ENVELOPE} can be sent`,
      );
    }
    return { bytes, timeLeft: left };
  }

  /**
   * Checks that an envelope is unexpired, signed by its source and for this session, and decrypts
   * its payload. A life above an hour counts as an hour.
   *
   * @param envelope As received; its payload becomes plain.
   * @throws {CodedError} if not, with the code to tell its source.
   */
  async open(envelope: Envelope): Promise<void> {
    const timestamp = Number(envelope.timestamp);
    if (timestamp + lifeOf(envelope) <= unixNow()) {
      throw new CodedError(ErrorCode.expired, "message has expired");
    }
    if (timestamp > unixNow() + MAX_AHEAD) {
      throw new CodedError(ErrorCode.other, "message is of a time more than an hour ahead");
    }
    if (isOfRelay(envelope)) return;
    const sender = await this.#lookUp(envelope.source?.twin ?? 0);
    if (!await this.#isSigned(envelope, sender.account)) {
      throw new CodedError(
        ErrorCode.badSignature,
        `signature does not hold for the account of twin ${sender.id}`,
      );
    }
    const { destination, payload } = envelope;
    if (destination === undefined || !sameSession(destination, this.session)) {
      throw new CodedError(ErrorCode.other, "message is for someone else");
    }
    if (payload.case !== "cipher") return;
    if (sender.pk === undefined) {
      throw new CodedError(ErrorCode.noPublicKey, `twin ${sender.id} has no pk to decrypt with`);
    }
    if (this.#encryption === undefined) {
      throw new CodedError(ErrorCode.decryptionFailed, "receiver has no encryption key");
    }
    try {
      const value = await this.#encryption.decrypt(payload.value, sender.pk);
      envelope.payload = { case: "plain", value };
    } catch (cause) {
      if (!(cause instanceof EncryptionError)) throw cause;
      throw new CodedError(ErrorCode.decryptionFailed, cause.message, { cause });
    }
  }

  /**
   * Whether to encrypt: receivers decrypt with the key that this twin publishes, which may be just about
   * to be this one. While it publishes none, nobody could encrypt for it either, and its answers are as
   * open as what they answer.
   *
   * @throws {CodedError} for a request that receivers could not decrypt: it is not for everybody to read.
   */
  async #encrypts(isRequest: boolean): Promise<boolean> {
    if (!isRequest) return await this.#published() !== "none";
    if (await this.#published() === "this") return true;
    await this.#attempted;
    if (await this.#published() === "this") return true;
    throw new CodedError(
      ErrorCode.other,
      `can't encrypt: twin ${this.session.twin} does not publish this encryption key`,
    );
  }

  /** Which encryption key is published; taken to be this one while the registry can't be asked. */
  async #published(): Promise<"this" | "another" | "none"> {
    const own = await this.#registry.twin(this.session.twin).catch(() => "unknown" as const);
    if (own === "unknown" || sameKey(own?.pk, this.#encryption?.publicKey)) return "this";
    return own?.pk === undefined ? "none" : "another";
  }

  async #isSigned(envelope: Envelope, account: Uint8Array): Promise<boolean> {
    const { signature } = envelope;
    if (signature === undefined) return false;
    return await this.#signatures.verify(account, challenge(envelope), signature);
  }

  async #lookUp(id: number): Promise<Twin> {
    let twin: Twin | undefined;
    try {
      twin = id === 0 ? undefined : await this.#registry.twin(id);
    } catch (cause) {
      throw new CodedError(ErrorCode.other, `twin ${id} can't be looked up now`, { cause });
    }
    if (twin === undefined) throw new CodedError(ErrorCode.unknownTwin, `twin ${id} is unknown`);
    return twin;
  }
}

/** Seconds after its timestamp that an envelope received lives. */
export function lifeOf({ expiration }: Envelope): number {
  return Math.min(Number(expiration), MAX_LIFE);
}

/** Whether two keys are the same, or both unset. */
export function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return (a && formatHex(a)) === (b && formatHex(b));
}

/** Whether an envelope is a relay's own error: the one thing that need not be signed. */
export function isOfRelay({ message, source }: Envelope): boolean {
  return message.case === "error" && (source?.twin ?? 0) === 0;
}
