/** What gateways tell each other about a file: see docs/files.md. */
import { FormatError } from "@rmb/protocol";
import { isWholeNumber, type Json, optionalText, parseObject, text } from "../json.ts";

/** What all payloads are but chunks. */
export const JSON_SCHEMA = "application/json";
/** Bytes of a file in one message, as the reference has it. */
export const CHUNK_SIZE = 512 * 1024;
/** Longest JSON that is read, in bytes: a path and a name fit many times. */
const MAX_JSON = 64 * 1024;
/** Longest name that is passed on, in UTF-16 units: what file systems take. */
const MAX_NAME = 255;
/** Longest command that is called: more than any program's, and short enough for a log. */
const MAX_COMMAND = 256;

/** An upload, as its sender proposes it with `file.negotiate`. */
export interface Offer {
  /** Of the file, in bytes. */
  readonly size: number;
  /** Called with the file's path when it is complete. */
  readonly command: string | undefined;
  /** What the file is called where it comes from; says nothing of where it goes. */
  readonly name: string | undefined;
  /** Whether chunks have offsets and want to be acknowledged: not so in the reference. */
  readonly acknowledge: boolean;
}

/** What a local program wants uploaded: the payload of `file.upload`. */
export interface UploadOrder {
  /** Path of the file, for the gateway. */
  readonly path: string;
  /** Called on the other side when the file is complete there. */
  readonly command: string | undefined;
}

/** How a file ends, as its sender read it. */
export interface Ending {
  readonly size: number;
  /** SHA-256 of all of it, hexadecimal in lower case. */
  readonly sha256: string;
}

/** What a request is about: its uid, read. */
export interface Target {
  /** Id of the upload: a UUID. */
  readonly upload: string;
  /** What of it: the offset of a chunk, or its end; undefined in the reference's form. */
  readonly part: number | "close" | undefined;
}

/** Whether text is what uploads are named by: a UUID in lower case. Nothing else gets near a path. */
export function isUploadId(id: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id);
}

/** The uid of a chunk or of an upload's end. */
export function partUid(upload: string, part: number | "close"): string {
  return `${upload}/${part}`;
}

/**
 * Reads a uid.
 *
 * @throws {FormatError} if it does not name an upload.
 */
export function parseTarget(uid: string): Target {
  const [, upload = "", part] = /^([^/]*)(?:\/(0|[1-9]\d{0,15}|close))?$/.exec(uid) ?? [];
  if (!isUploadId(upload)) throw new FormatError("its uid must be a UUID, the upload's id");
  if (part === undefined || part === "close") return { upload, part };
  const offset = Number(part);
  if (!Number.isSafeInteger(offset)) throw new FormatError("its offset is out of range");
  return { upload, part: offset };
}

/** Writes an offer. */
export function formatOffer({ size, command, name, acknowledge }: Offer): Uint8Array {
  return formatJson({ size, cmd: command, name, acknowledge });
}

/**
 * Reads an offer.
 *
 * @throws {FormatError} if it is not one.
 */
export function parseOffer(payload: Uint8Array): Offer {
  const json = parseJson(payload);
  const name = optionalText(json, "name");
  return {
    size: size(json),
    command: command(json),
    name: name === undefined ? undefined : safeName(name),
    acknowledge: json.acknowledge === true,
  };
}

/**
 * Reads a local program's order.
 *
 * @throws {FormatError} if it is not one.
 */
export function parseUploadOrder(payload: Uint8Array): UploadOrder {
  const json = parseJson(payload);
  return { path: text(json, "path"), command: command(json) };
}

/** Writes an acknowledgement: up to where the receiver has the file. */
export function formatAcknowledgement(offset: number): Uint8Array {
  return formatJson({ offset });
}

/**
 * Reads an acknowledgement.
 *
 * @returns The offset up to which the receiver has the file; undefined if it names none, as those do
 * not who speak only the reference's form.
 */
export function parseAcknowledgement(payload: Uint8Array): number | undefined {
  try {
    const { offset } = parseJson(payload);
    return isWholeNumber(offset, Number.MAX_SAFE_INTEGER) ? offset : undefined;
  } catch {
    return undefined;
  }
}

/** Writes an ending; undefined for that of an upload that its sender gives up. */
export function formatEnding(ending: Ending | undefined): Uint8Array {
  return formatJson(ending === undefined ? { abandon: true } : ending);
}

/**
 * Reads an ending.
 *
 * @returns Undefined if the sender gives the upload up.
 * @throws {FormatError} if it is not one.
 */
export function parseEnding(payload: Uint8Array): Ending | undefined {
  const json = parseJson(payload);
  if (json.abandon === true) return undefined;
  const sha256 = text(json, "sha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    throw new FormatError('"sha256" must be 64 hexadecimal digits in lower case');
  }
  return { size: size(json), sha256 };
}

/** What is left of a file's name where nothing of it can lead anywhere: undefined if nothing is. */
export function safeName(name: string): string | undefined {
  // deno-lint-ignore no-control-regex -- they have no place in a name
  const last = name.split(/[/\\]/).at(-1)!.replace(/[\x00-\x1f\x7f-\x9f]/g, "");
  const safe = last.slice(0, MAX_NAME).toWellFormed();
  return /^\.{0,2}$/.test(safe) ? undefined : safe;
}

/** JSON as a payload. */
export function formatJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function parseJson(payload: Uint8Array): Json {
  if (payload.length > MAX_JSON) throw new FormatError(`it is longer than ${MAX_JSON} bytes`);
  return parseObject(payload);
}

function size(json: Json): number {
  const { size } = json;
  if (!isWholeNumber(size, Number.MAX_SAFE_INTEGER)) {
    throw new FormatError('"size" must be a whole number of bytes');
  }
  return size;
}

function command(json: Json): string | undefined {
  const command = optionalText(json, "cmd") ?? "";
  if (command.length > MAX_COMMAND) {
    throw new FormatError(`"cmd" must have at most ${MAX_COMMAND} characters`);
  }
  return command === "" ? undefined : command;
}
