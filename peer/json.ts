import { FormatError } from "@rmb/protocol";

/** A JSON object of someone else's, whose members are to be checked. */
export type Json = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads a JSON object.
 *
 * @throws {FormatError} if it is not one.
 */
export function parseObject(bytes: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new FormatError("it is not JSON", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FormatError("it is not a JSON object");
  }
  return value as Json;
}

/**
 * A member that must be text.
 *
 * @throws {FormatError} if it is not.
 */
export function anyText(json: Json, member: string): string {
  const value = json[member];
  if (typeof value !== "string") throw new FormatError(`"${member}" must be text`);
  return value;
}

/**
 * A member that must be text, and not empty.
 *
 * @throws {FormatError} if it is not.
 */
export function text(json: Json, member: string): string {
  const value = anyText(json, member);
  if (value === "") throw new FormatError(`"${member}" must be text, not empty`);
  return value;
}

/**
 * A member that is text, or null or absent: then undefined.
 *
 * @throws {FormatError} if it is anything else.
 */
export function optionalText(json: Json, member: string): string | undefined {
  const value = json[member] ?? undefined;
  if (value !== undefined && typeof value !== "string") {
    throw new FormatError(`"${member}" must be text, null or absent`);
  }
  return value;
}

/** Whether a value is a whole number from 0 to the largest given. */
export function isWholeNumber(value: unknown, largest: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= largest;
}
