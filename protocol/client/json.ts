import { FormatError } from "../errors.ts";

/** What JSON says that it is. Other programs need it (docs/protocol.md, Answering). */
export const JSON_SCHEMA = "application/json";

/** What bytes say that they are unless who sends them knows better. */
export const BYTES_SCHEMA = "application/octet-stream";

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder("utf-8", { fatal: true }) };

/**
 * Writes a value as JSON; undefined as null.
 *
 * @throws {TypeError} if it has no form in JSON.
 */
export function encodeJson(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) throw new TypeError("Bytes can't be sent as JSON");
  return utf8.encoder.encode(JSON.stringify(value) ?? "null");
}

/**
 * Reads a payload as JSON; an empty one is null.
 *
 * @param schema What it is, as who sent it says; undefined for nothing.
 * @throws {FormatError} if it is something else.
 */
export function parseJson(payload: Uint8Array, schema: string | undefined): unknown {
  if (payload.length === 0) return null;
  if (schema && !/^application\/(?:[\w.-]+\+)?json\b/i.test(schema)) {
    throw new FormatError(`expected JSON, got "${schema.slice(0, 80)}"`);
  }
  try {
    return JSON.parse(utf8.decoder.decode(payload));
  } catch {
    throw new FormatError(`expected JSON, got ${payload.length} bytes that are not`);
  }
}
