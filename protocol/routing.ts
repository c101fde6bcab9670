import { FormatError } from "./errors.ts";
import type { Session } from "./session.ts";

/** What kind of message an envelope carries. */
export type MessageKind = "request" | "response" | "error" | "ping" | "pong";

/** The fields of an envelope that decide where it goes. */
export interface Routing {
  /** Unique id of the request, and of its answers. */
  readonly uid: string;
  /** Free text of the sender, where relays look for `fail-fast`. */
  readonly tags: string | undefined;
  /** Unix time in seconds when it was sent. */
  readonly timestamp: number;
  /** Seconds to live after `timestamp`. */
  readonly expiration: number;
  /** Who sends it; twin 0 when absent. */
  readonly source: Session;
  /** Who it is for; twin 0 when absent. */
  readonly destination: Session;
  /** What it is; undefined when it carries no message. */
  readonly kind: MessageKind | undefined;
}

/** Wire types (protobuf's encoding guide, "Message Structure"). Groups, 3 and 4, are refused. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** The largest field number of Envelope (proto/types.proto) and, by it, those that are numbers. */
const LAST_FIELD = 17;
const NUMBER_FIELDS = fieldMask(3, 4);

/** The fields of which an envelope can have one: `oneof message` and `oneof payload`. */
const MESSAGE_FIELDS = fieldMask(7, 8, 12, 15, 16);
const PAYLOAD_FIELDS = fieldMask(13, 14);

/** The kinds of message, by field number. */
const KINDS: Readonly<Record<number, MessageKind>> = {
  7: "request",
  8: "response",
  12: "error",
  15: "ping",
  16: "pong",
};

/** Most deprecated `relays` entries taken: the chain holds 1024 bytes of domains, so never more. */
const MAX_RELAYS = 1024;

/** Where nobody is named. */
const NO_SESSION: Session = { twin: 0, connection: undefined };

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads the routing fields of an encoded envelope, and checks all the rest of it, without decoding
 * it in full.
 *
 * It is strict where protobuf libraries differ, so that what passes here decodes everywhere and
 * means the same everywhere: every field has its own wire type, lengths fit, numbers fit, text is
 * UTF-8, no field comes twice (but `relays`), and there are no groups. Encoders in use produce
 * none of these.
 *
 * @param bytes The envelope, which must not be changed while its routing fields are in use.
 * @throws {FormatError} if the bytes are not an envelope.
 *
 * @example
 * ```ts
 * import { createEnvelope, encodeEnvelope, readRouting } from "@rmb/protocol";
 * import assert from "node:assert/strict";
 *
 * const bytes = encodeEnvelope(createEnvelope({
 *   source: { twin: 1 },
 *   destination: { twin: 2, connection: "calculator" },
 *   message: { case: "request", value: { command: "calculator.add" } },
 * }));
 * const { kind, destination } = readRouting(bytes);
 * assert.equal(kind, "request");
 * assert.deepEqual(destination, { twin: 2, connection: "calculator" });
 * ```
 */
export function readRouting(bytes: Uint8Array): Routing {
  return new Scanner(bytes).envelope();
}

/** Routing fields whose text is decoded only when it is asked for: relays seldom do. */
class ScannedRouting implements Routing {
  timestamp = 0;
  expiration = 0;
  source = NO_SESSION;
  destination = NO_SESSION;
  kind: MessageKind | undefined;
  uidStart = 0;
  uidEnd = 0;
  /** Below 0 when there are none. */
  tagsStart = -1;
  tagsEnd = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get uid(): string {
    return decodeText(this.#bytes, this.uidStart, this.uidEnd);
  }

  get tags(): string | undefined {
    if (this.tagsStart < 0) return undefined;
    return decodeText(this.#bytes, this.tagsStart, this.tagsEnd);
  }
}

/** Walks once through an encoded envelope. Every message through a relay is, so it has to be fast. */
class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  envelope(): Routing {
    const routing = new ScannedRouting(this.#bytes);
    let seen = 0;
    let relays = 0;
    const end = this.#bytes.length;
    while (this.#at < end) {
      const tag = this.#uint32();
      const field = tag >>> 3;
      if (field === 0 || field > LAST_FIELD) {
        this.#skipUnknown(tag, end);
        continue;
      }
      const bit = 1 << field;
      const type = (bit & NUMBER_FIELDS) !== 0 ? VARINT : LENGTH_DELIMITED;
      if ((tag & 7) !== type) this.#fail(`field ${field} has wire type ${tag & 7}`);
      const group = (bit & MESSAGE_FIELDS) !== 0
        ? MESSAGE_FIELDS
        : (bit & PAYLOAD_FIELDS) !== 0
        ? PAYLOAD_FIELDS
        : bit;
      if (field === 17) {
        if (++relays > MAX_RELAYS) this.#fail(`more than ${MAX_RELAYS} relays`);
      } else if ((seen & group) !== 0) {
        this.#fail(`field ${field} comes twice`);
      }
      seen |= group;

      switch (field) {
        case 1:
          routing.uidStart = this.#checkText(end);
          routing.uidEnd = this.#at;
          break;
        case 2:
          routing.tagsStart = this.#checkText(end);
          routing.tagsEnd = this.#at;
          break;
        case 3:
          routing.timestamp = this.#uint64();
          break;
        case 4:
          routing.expiration = this.#uint64();
          break;
        case 5:
          routing.source = this.#address(end);
          break;
        case 6:
          routing.destination = this.#address(end);
          break;
        case 7:
        case 8:
        case 12:
        case 15:
        case 16:
          routing.kind = KINDS[field];
          this.#message(field, end);
          break;
        case 10:
        case 11:
        case 17:
          this.#checkText(end);
          break;
        default: // signature, plain, cipher
          this.#at = this.#endOf(end);
      }
    }
    return routing;
  }

  #address(limit: number): Session {
    let twin = 0;
    let connection: string | undefined;
    let seen = 0;
    const end = this.#endOf(limit);
    while (this.#at < end) {
      const tag = this.#uint32();
      if (tag === (1 << 3 | VARINT) && (seen & 1) === 0) {
        seen |= 1;
        twin = this.#uint32();
      } else if (tag === (2 << 3 | LENGTH_DELIMITED) && (seen & 2) === 0) {
        seen |= 2;
        connection = this.#text(end);
      } else if (tag >>> 3 <= 2) {
        this.#fail(`field ${tag >>> 3} of an address comes twice or has wire type ${tag & 7}`);
      } else {
        this.#skipUnknown(tag, end);
      }
    }
    if (this.#at !== end) this.#fail("an address overruns its length");
    return { twin, connection };
  }

  /** Checks one of the messages: a request has a text, an error a number and a text, others nothing. */
  #message(field: number, limit: number): void {
    const text = field === 7 ? 1 : field === 12 ? 2 : 0;
    const number = field === 12 ? 1 : 0;
    let seen = 0;
    const end = this.#endOf(limit);
    while (this.#at < end) {
      const tag = this.#uint32();
      const inner = tag >>> 3;
      if (inner === 0 || inner !== text && inner !== number) {
        this.#skipUnknown(tag, end);
        continue;
      }
      const type = inner === number ? VARINT : LENGTH_DELIMITED;
      if ((seen & inner) !== 0 || (tag & 7) !== type) {
        this.#fail(`field ${inner} of a message comes twice or has wire type ${tag & 7}`);
      }
      seen |= inner;
      if (type === VARINT) this.#uint32();
      else this.#checkText(end);
    }
    if (this.#at !== end) this.#fail("a message overruns its length");
  }

  /** Reads a length, and returns where what it measures ends. */
  #endOf(limit: number): number {
    const length = this.#uint32();
    const end = this.#at + length;
    if (end > limit) this.#fail("it ends early");
    return end;
  }

  /** Reads a text, and returns it. */
  #text(limit: number): string {
    const start = this.#checkText(limit);
    return decodeText(this.#bytes, start, this.#at);
  }

  /** Steps over a text, and returns where it starts. */
  #checkText(limit: number): number {
    const end = this.#endOf(limit);
    const start = this.#at;
    const bytes = this.#bytes;
    this.#at = end;
    for (let i = start; i < end; i++) {
      if (bytes[i]! > 0x7f) {
        this.#checkUtf8(start, end);
        break;
      }
    }
    return start;
  }

  #checkUtf8(start: number, end: number): void {
    try {
      utf8.decode(this.#bytes.subarray(start, end));
    } catch (cause) {
      this.#fail("text is not UTF-8", cause);
    }
  }

  /** Reads a number of at most 32 bits. */
  #uint32(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.#at++]!;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      byte = bytes[this.#at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    byte = bytes[this.#at++]!;
    if (!(byte <= 0x0f)) this.#fail("a number does not fit 32 bits, or ends early");
    return (value | byte << 28) >>> 0;
  }

  /** Reads a number of at most 64 bits; above 2^53 it is not exact. */
  #uint64(): number {
    const bytes = this.#bytes;
    // Two parts that a number holds exactly: 28 bits, and 36.
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      const byte = bytes[this.#at++]!;
      if (i < 4) low |= (byte & 0x7f) << (7 * i);
      else high += (byte & 0x7f) * 2 ** (7 * (i - 4));
      if (byte < 0x80) {
        if (i === 9 && byte > 1) break; // The tenth byte has room for one bit.
        return high * 2 ** 28 + low;
      }
    }
    return this.#fail("a number does not fit 64 bits, or ends early");
  }

  /** Steps over a field that this version of the protocol does not know. */
  #skipUnknown(tag: number, limit: number): void {
    if (tag < 8) this.#fail("field 0");
    switch (tag & 7) {
      case VARINT:
        this.#uint64();
        break;
      case FIXED64:
        this.#at += 8;
        break;
      case LENGTH_DELIMITED:
        this.#at = this.#endOf(limit);
        break;
      case FIXED32:
        this.#at += 4;
        break;
      default:
        this.#fail(`wire type ${tag & 7} is not of this protocol`);
    }
    if (this.#at > limit) this.#fail("it ends early");
  }

  #fail(reason: string, cause?: unknown): never {
    throw new FormatError(`Cannot decode an envelope of ${this.#bytes.length} bytes: ${reason}`, {
      cause,
    });
  }
}

/** Length of a text, in bytes, up to which a decoder costs more than it saves. */
const SHORT_TEXT = 48;

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_TEXT) {
    let text = "";
    let i = start;
    while (i < end && bytes[i]! < 0x80) text += String.fromCharCode(bytes[i++]!);
    if (i === end) return text;
  }
  return utf8.decode(bytes.subarray(start, end));
}

function fieldMask(...fields: number[]): number {
  return fields.reduce((mask, field) => mask | (1 << field), 0);
}
