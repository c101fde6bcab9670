/**
 * The JSON that local programs and the gateway exchange over Redis, as the reference has it. Members
 * that are not known are ignored; what the gateway writes has every member, null when unset.
 */
import { FormatError, formatSession, MAX_TWIN_ID, parseSession, type Session } from "@rmb/protocol";
import { base64 } from "@scure/base";
import { anyText, isWholeNumber, type Json, optionalText, parseObject, text } from "./json.ts";

/** Most twins that a request goes to: a reply list keeps no more answers. */
const MAX_DESTINATIONS = 10_000;

/** Version of this interface: `ver` of every message. */
const VERSION = 1;

/** Redis list that local programs push requests to. */
export const LOCAL_REQUESTS = "msgbus.system.local";
/** Redis list that local programs push responses to: the `ret` of every request they get. */
export const LOCAL_RESPONSES = "msgbus.system.reply";
/** Redis list of what could not be read from these two. */
export const INVALID_MESSAGES = "msgbus.system.invalid";

/** Redis list of the requests for a command. */
export function commandList(command: string): string {
  return `msgbus.${command}`;
}

/** Redis key of the backlog of a request. */
export function backlogKey(uid: string): string {
  return `msgbus.backlog.${uid}`;
}

/** Whether a command has no list, or one of the gateway's own keys, which no remote may write to. */
export function isReserved(command: string): boolean {
  return /^(?:$|(?:system|backlog)(?:\.|$))/.test(command);
}

/** An error, as local programs write and read it. */
export interface LocalError {
  /** One of the gateways' codes, or the service's own. */
  readonly code: number;
  /** What is wrong, for people. */
  readonly message: string;
}

/** A request of a local program. */
export interface LocalRequest {
  /** The program's own reference, given back with each answer. */
  readonly reference: string | undefined;
  /** What is asked for. */
  readonly command: string;
  /** Seconds to live after `timestamp`; 0 for the default. */
  readonly expiration: number;
  /** What the command is given. */
  readonly payload: Uint8Array;
  /** Words for relays. */
  readonly tags: string | undefined;
  /** Twin ids. */
  readonly destinations: readonly number[];
  /** Session of the destinations that is meant, if one is. */
  readonly connection: string | undefined;
  /** Redis list for the answers; empty for who wants none. */
  readonly replyTo: string;
  /** What the payload is. */
  readonly schema: string | undefined;
  /** Unix time in seconds; 0 for the present. */
  readonly timestamp: number;
}

/** A response of a local program. */
export interface LocalResponse {
  /** The uid of the request. */
  readonly uid: string;
  readonly payload: Uint8Array;
  readonly destination: Session;
  readonly schema: string | undefined;
  /** Unix time in seconds; 0 for the present. */
  readonly timestamp: number;
  /** Set instead of a result. */
  readonly error: LocalError | undefined;
}

/** A request from another twin, as a local program gets it. */
export interface RemoteRequest {
  readonly uid: string;
  readonly source: Session;
  readonly command: string;
  readonly expiration: number;
  readonly payload: Uint8Array;
  readonly tags: string | undefined;
  readonly schema: string | undefined;
  readonly timestamp: number;
}

/** An answer, as the local program that asked gets it. */
export interface RemoteResponse {
  readonly reference: string | undefined;
  readonly payload: Uint8Array;
  /** Who answered: twin 0 for a relay, undefined for the gateway itself. */
  readonly source: Session | undefined;
  readonly schema: string | undefined;
  readonly timestamp: number;
  readonly error: LocalError | undefined;
}

/**
 * Reads a local program's request.
 *
 * @throws {FormatError} if it is not one.
 */
export function parseLocalRequest(bytes: Uint8Array): LocalRequest {
  const json = parseObject(bytes);
  checkVersion(json);
  return {
    reference: optionalText(json, "ref"),
    command: text(json, "cmd"),
    expiration: wholeNumber(json, "exp"),
    payload: payload(json),
    tags: optionalText(json, "tag"),
    destinations: twins(json),
    connection: optionalText(json, "con"),
    replyTo: replyList(json),
    schema: optionalText(json, "shm"),
    timestamp: wholeNumber(json, "now"),
  };
}

/**
 * Reads a local program's response.
 *
 * @throws {FormatError} if it is not one.
 */
export function parseLocalResponse(bytes: Uint8Array): LocalResponse {
  const json = parseObject(bytes);
  checkVersion(json);
  const error = optionalError(json);
  return {
    uid: text(json, "ref"),
    payload: error === undefined ? payload(json) : new Uint8Array(),
    destination: parseSession(text(json, "dst")),
    schema: optionalText(json, "shm"),
    timestamp: wholeNumber(json, "now"),
    error,
  };
}

/** Where an answer to a request that can't be read could go. */
export function replyAddress(
  bytes: Uint8Array,
): Pick<LocalRequest, "replyTo" | "reference"> | undefined {
  try {
    const json = parseObject(bytes);
    const { ref } = json;
    const replyTo = replyList(json);
    if (replyTo === "") return undefined;
    return { replyTo, reference: typeof ref === "string" ? ref : undefined };
  } catch {
    return undefined;
  }
}

/**
 * Writes a request for a local program. Scripts in Redis find `exp` and `now` by what stands around
 * them.
 */
export function formatRemoteRequest(request: RemoteRequest): string {
  return JSON.stringify({
    ver: VERSION,
    ref: request.uid,
    src: formatSession(request.source),
    cmd: request.command,
    exp: request.expiration,
    dat: base64.encode(request.payload),
    tag: request.tags ?? null,
    ret: LOCAL_RESPONSES,
    shm: request.schema ?? null,
    now: request.timestamp,
  });
}

/** Writes an answer for a local program. */
export function formatRemoteResponse(response: RemoteResponse): string {
  return JSON.stringify({
    ver: VERSION,
    ref: response.reference ?? null,
    dat: base64.encode(response.payload),
    src: response.source === undefined ? "" : formatSession(response.source),
    shm: response.schema ?? null,
    now: response.timestamp,
    err: response.error ?? null,
  });
}

/** Writes an error of the gateway itself for a local program. */
export function formatOwnError(
  { reference }: Pick<LocalRequest, "reference">,
  error: LocalError,
): string {
  return formatRemoteResponse({
    reference,
    payload: new Uint8Array(),
    source: undefined,
    schema: undefined,
    timestamp: 0,
    error,
  });
}

function checkVersion({ ver }: Json): void {
  if (ver !== VERSION) throw new FormatError(`"ver" must be ${VERSION}`);
}

function replyList(json: Json): string {
  const list = anyText(json, "ret");
  if (list.startsWith("msgbus.") && isReserved(list.slice("msgbus.".length))) {
    throw new FormatError(`"ret" must not be one of the gateway's own keys`);
  }
  return list;
}

function wholeNumber(json: Json, member: string): number {
  const value = json[member];
  if (!isWholeNumber(value, Number.MAX_SAFE_INTEGER)) {
    throw new FormatError(`"${member}" must be a number of whole seconds`);
  }
  return value;
}

function payload({ dat }: Json): Uint8Array {
  if (typeof dat !== "string") throw new FormatError('"dat" must be text');
  try {
    return base64.decode(dat);
  } catch {
    throw new FormatError('"dat" must be standard base64 with padding');
  }
}

function twins({ dst }: Json): number[] {
  if (!Array.isArray(dst) || !dst.every((id) => isWholeNumber(id, MAX_TWIN_ID) && id > 0)) {
    throw new FormatError('"dst" must be a list of twin ids');
  }
  if (dst.length === 0) throw new FormatError('"dst" must name a twin');
  const ids = new Set<number>(dst);
  if (ids.size > MAX_DESTINATIONS) {
    throw new FormatError(`"dst" must not name more than ${MAX_DESTINATIONS} twins`);
  }
  return [...ids];
}

function optionalError({ err }: Json): LocalError | undefined {
  if (err === undefined || err === null) return undefined;
  const { code, message } = err as Partial<LocalError>;
  if (!isWholeNumber(code, 0xffff_ffff) || typeof message !== "string") {
    throw new FormatError('"err" must have a "code", a number, and a "message", text');
  }
  return { code, message };
}
