import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { FormatError } from "./errors.ts";
import type { Session } from "./session.ts";

/** What kind of message an envelope carries. */
export type MessageKind = "request" | "response" | "error" | "ping" | "pong";

/** The fields of an envelope that decide where it goes. */
export interface Routing {
  /** Unique id of the request, and of its answers. */
  uid: string;
  /** Free text of the sender, where relays look for `fail-fast`. */
  tags: string | undefined;
  /** Unix time in seconds when it was sent. */
  timestamp: number;
  /** Seconds to live after `timestamp`. */
  expiration: number;
  /** Who sends it; twin 0 when absent. */
  source: Session;
  /** Who it is for; twin 0 when absent. */
  destination: Session;
  /** What it is; undefined when it carries no message. */
  kind: MessageKind | undefined;
}

/** Wire type of each field of Envelope, by field number (proto/types.proto). */
const ENVELOPE_FIELDS: readonly (WireType | undefined)[] = [
  undefined,
  WireType.LengthDelimited, // 1 uid
  WireType.LengthDelimited, // 2 tags
  WireType.Varint, // 3 timestamp
  WireType.Varint, // 4 expiration
  WireType.LengthDelimited, // 5 source
  WireType.LengthDelimited, // 6 destination
  WireType.LengthDelimited, // 7 request
  WireType.LengthDelimited, // 8 response
  WireType.LengthDelimited, // 9 signature
  WireType.LengthDelimited, // 10 schema
  WireType.LengthDelimited, // 11 federation
  WireType.LengthDelimited, // 12 error
  WireType.LengthDelimited, // 13 plain
  WireType.LengthDelimited, // 14 cipher
  WireType.LengthDelimited, // 15 ping
  WireType.LengthDelimited, // 16 pong
  WireType.LengthDelimited, // 17 relays
];

const bits = (...fields: number[]) => fields.reduce((mask, field) => mask | (1 << field), 0);

/** The fields of which an envelope can have one: `oneof message` and `oneof payload`. */
const MESSAGE_FIELDS = bits(7, 8, 12, 15, 16);
const PAYLOAD_FIELDS = bits(13, 14);

/** Most deprecated `relays` entries taken: the chain holds 1024 bytes of domains, so never more. */
const MAX_RELAYS = 1024;

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
 * @throws {FormatError} if the bytes are not an envelope.
 */
export function readRouting(bytes: Uint8Array): Routing {
  try {
    return scanEnvelope(new BinaryReader(bytes), bytes);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new FormatError(`Cannot decode an envelope of ${bytes.length} bytes: ${reason}`, {
      cause: error,
    });
  }
}

function scanEnvelope(reader: BinaryReader, bytes: Uint8Array): Routing {
  const routing: Routing = {
    uid: "",
    tags: undefined,
    timestamp: 0,
    expiration: 0,
    source: NO_SESSION,
    destination: NO_SESSION,
    kind: undefined,
  };
  let seen = 0;
  let relays = 0;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field > 17) {
      skipUnknown(reader, bytes, type);
      continue;
    }
    if (type !== ENVELOPE_FIELDS[field]) fail(`field ${field} has wire type ${type}`);
    const group = (1 << field) & MESSAGE_FIELDS
      ? MESSAGE_FIELDS
      : (1 << field) & PAYLOAD_FIELDS
      ? PAYLOAD_FIELDS
      : 1 << field;
    if (field === 17) {
      if (++relays > MAX_RELAYS) fail(`more than ${MAX_RELAYS} relays`);
    } else if ((seen & group) !== 0) {
      fail(`field ${field} comes twice`);
    }
    seen |= group;

    switch (field) {
      case 1:
        routing.uid = readText(reader, bytes);
        break;
      case 2:
        routing.tags = readText(reader, bytes);
        break;
      case 3:
        routing.timestamp = readUint64(reader, bytes);
        break;
      case 4:
        routing.expiration = readUint64(reader, bytes);
        break;
      case 5:
        routing.source = scanAddress(reader, bytes);
        break;
      case 6:
        routing.destination = scanAddress(reader, bytes);
        break;
      case 7:
        routing.kind = "request";
        scanMessage(reader, bytes, REQUEST_FIELDS);
        break;
      case 8:
        routing.kind = "response";
        scanMessage(reader, bytes, NO_FIELDS);
        break;
      case 12:
        routing.kind = "error";
        scanMessage(reader, bytes, ERROR_FIELDS);
        break;
      case 15:
        routing.kind = "ping";
        scanMessage(reader, bytes, NO_FIELDS);
        break;
      case 16:
        routing.kind = "pong";
        scanMessage(reader, bytes, NO_FIELDS);
        break;
      case 10:
      case 11:
      case 17:
        readText(reader, bytes);
        break;
      default: // signature, plain, cipher
        reader.pos = readEnd(reader);
    }
  }
  return routing;
}

const NO_SESSION: Session = { twin: 0, connection: undefined };

function scanAddress(reader: BinaryReader, bytes: Uint8Array): Session {
  let twin = 0;
  let connection: string | undefined;
  let seen = 0;
  const end = readEnd(reader);
  while (reader.pos < end) {
    const [field, type] = reader.tag();
    if (field > 2) {
      skipUnknown(reader, bytes, type);
      continue;
    }
    if (seen & (1 << field)) fail(`field ${field} of an address comes twice`);
    seen |= 1 << field;
    if (field === 1 && type === WireType.Varint) twin = readUint32(reader, bytes);
    else if (field === 2 && type === WireType.LengthDelimited) connection = readText(reader, bytes);
    else fail(`field ${field} of an address has wire type ${type}`);
  }
  if (reader.pos !== end) fail("an address overruns its length");
  return { twin, connection };
}

/** The fields of the small messages: text or a number, in the order of their field numbers. */
type SmallFields = readonly ("text" | "number")[];
const NO_FIELDS: SmallFields = [];
const REQUEST_FIELDS: SmallFields = ["text"];
const ERROR_FIELDS: SmallFields = ["number", "text"];

function scanMessage(reader: BinaryReader, bytes: Uint8Array, fields: SmallFields): void {
  let seen = 0;
  const end = readEnd(reader);
  while (reader.pos < end) {
    const [field, type] = reader.tag();
    const kind = fields[field - 1];
    if (kind === undefined) {
      skipUnknown(reader, bytes, type);
      continue;
    }
    if (seen & (1 << field)) fail(`field ${field} of a message comes twice`);
    seen |= 1 << field;
    if (kind === "text" && type === WireType.LengthDelimited) readText(reader, bytes);
    else if (kind === "number" && type === WireType.Varint) readUint32(reader, bytes);
    else fail(`field ${field} of a message has wire type ${type}`);
  }
  if (reader.pos !== end) fail("a message overruns its length");
}

/** Reads a length of at most 28 bits (256 MiB): more never fits into a message. */
function readLength(reader: BinaryReader): number {
  const start = reader.pos;
  const length = reader.uint32();
  if (reader.pos - start > 4) fail("a length is too long");
  return length;
}

/** Reads a length and returns where what it measures ends. */
function readEnd(reader: BinaryReader): number {
  const end = readLength(reader) + reader.pos;
  if (end > reader.len) fail("it ends early");
  return end;
}

function readText(reader: BinaryReader, bytes: Uint8Array): string {
  const end = readEnd(reader);
  const start = reader.pos;
  reader.pos = end;
  // Short ASCII, the usual case, is faster this way than through TextDecoder.
  if (end - start <= 64) {
    let text = "";
    let i = start;
    for (; i < end; i++) {
      const byte = bytes[i]!;
      if (byte > 0x7f) break;
      text += String.fromCharCode(byte);
    }
    if (i === end) return text;
  }
  return utf8.decode(bytes.subarray(start, end));
}

function readUint32(reader: BinaryReader, bytes: Uint8Array): number {
  const start = reader.pos;
  const value = reader.uint32();
  if (!fitsUint32(bytes, start, reader.pos)) fail("a number does not fit 32 bits");
  return value;
}

function readUint64(reader: BinaryReader, bytes: Uint8Array): number {
  const start = reader.pos;
  const value = reader.uint32();
  if (fitsUint32(bytes, start, reader.pos)) return value;
  checkVarint(bytes, start, reader.pos);
  reader.pos = start;
  return Number(reader.uint64());
}

function fitsUint32(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start < 5 || (end - start === 5 && bytes[end - 1]! <= 0x0f);
}

/** A varint has at most ten bytes, the tenth at most 1: 64 bits. */
function checkVarint(bytes: Uint8Array, start: number, end: number): void {
  const size = end - start;
  if (size > 10 || (size === 10 && bytes[end - 1]! > 1)) fail("a number does not fit 64 bits");
}

/** Steps over a field that this version of the protocol does not know. */
function skipUnknown(reader: BinaryReader, bytes: Uint8Array, type: WireType): void {
  const start = reader.pos;
  switch (type) {
    case WireType.Varint:
      reader.skip(type);
      checkVarint(bytes, start, reader.pos);
      break;
    case WireType.LengthDelimited:
      reader.pos = readEnd(reader);
      break;
    case WireType.Bit32:
    case WireType.Bit64:
      reader.skip(type);
      break;
    default:
      fail("it has a group");
  }
}

function fail(reason: string): never {
  throw new FormatError(`Cannot decode an envelope: ${reason}`);
}
