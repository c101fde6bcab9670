import { FormatError, formatSession, parseSession, type Session } from "@rmb/protocol";
import { anyText, isWholeNumber, type Json, optionalText, text } from "../json.ts";
import { isUploadId } from "./messages.ts";

/** An upload that a local program asked for; kept until it has ended. */
export interface UploadJob {
  /** Id of the upload. */
  readonly id: string;
  readonly path: string;
  /** Called on the other side when the file is complete there. */
  readonly command: string | undefined;
  readonly destination: Session;
  /** Where the program wants answers, and with which reference. */
  readonly replyTo: string;
  readonly reference: string | undefined;
  /** The file's size in bytes, and when it was last changed, Unix time in milliseconds. */
  readonly size: number;
  readonly changed: number;
  /** When it was asked for, and until when the other side must have agreed: Unix time in milliseconds. */
  readonly accepted: number;
  readonly agreeUntil: number;
  /** Whether the other side has agreed: then the program knows the id. */
  readonly agreed: boolean;
}

/** Writes a job as its record. */
export function formatJob(job: UploadJob): object {
  return { ...job, destination: formatSession(job.destination) };
}

/**
 * Reads a job from its record.
 *
 * @throws {FormatError} if it is not what {@linkcode formatJob} wrote.
 */
export function parseJob(json: Json): UploadJob {
  const id = text(json, "id");
  if (!isUploadId(id)) throw new FormatError('"id" must be a UUID');
  return {
    id,
    path: text(json, "path"),
    command: optionalText(json, "command"),
    destination: parseSession(text(json, "destination")),
    replyTo: anyText(json, "replyTo"),
    reference: optionalText(json, "reference"),
    size: wholeNumber(json, "size"),
    changed: wholeNumber(json, "changed"),
    accepted: wholeNumber(json, "accepted"),
    agreeUntil: wholeNumber(json, "agreeUntil"),
    agreed: json.agreed === true,
  };
}

function wholeNumber(json: Json, member: string): number {
  const value = json[member];
  if (!isWholeNumber(value, Number.MAX_SAFE_INTEGER)) {
    throw new FormatError(`"${member}" must be a whole number`);
  }
  return value;
}
