import { RmbError } from "@rmb/protocol";
import { CodedError, ErrorCode } from "@rmb/protocol/endpoint";
import { statfs } from "node:fs/promises";

const GIB = 1024 ** 3;

/**
 * What other twins may have here. The reference has no limits: these keep one twin from filling a disk
 * that others need, and fit what nodes exchange: images, logs, backups.
 */
export interface FileLimits {
  /** Largest file, in bytes. */
  readonly fileSize: number;
  /** Bytes of one twin's files: those under way count in full, complete ones until they are taken away. */
  readonly twinSize: number;
  /** The same of all twins. */
  readonly totalSize: number;
  /** Files of one twin: empty ones take room too. */
  readonly twinFiles: number;
  /** The same of all twins. */
  readonly totalFiles: number;
  /** Uploads under way at once of one twin: each is an open file. */
  readonly twinUploads: number;
  /** The same of all twins. */
  readonly totalUploads: number;
  /** Bytes of the disk that stay free. */
  readonly freeSpace: number;
}

/** The limits of a gateway. */
export const FILE_LIMITS: FileLimits = {
  fileSize: 16 * GIB,
  twinSize: 32 * GIB,
  totalSize: 128 * GIB,
  twinFiles: 1000,
  totalFiles: 10_000,
  twinUploads: 4,
  totalUploads: 32,
  freeSpace: GIB,
};

/** A file that takes room. */
export interface HeldFile {
  readonly twin: number;
  readonly size: number;
  /** Bytes of it that are written already. */
  readonly written: number;
  readonly complete: boolean;
}

/**
 * Bytes that are free on the disk of a folder.
 *
 * @throws {RmbError} if it can't be told: in Deno that takes `--allow-sys=statfs`.
 */
export async function freeSpace(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder).catch((cause) => {
    throw new RmbError(`Cannot tell how much room "${folder}" has: ${cause.message}`, { cause });
  });
  return bavail * bsize;
}

/**
 * Checks that there is room for another file.
 *
 * @param held All files that are there and under way.
 * @throws {CodedError} if there is not, with what stands in the way.
 */
export async function checkRoom(
  folder: string,
  limits: FileLimits,
  held: readonly HeldFile[],
  { twin, size }: Pick<HeldFile, "twin" | "size">,
): Promise<void> {
  const refuse = (what: string, most: number) => {
    throw new CodedError(ErrorCode.none, `${what}, at most ${most} are taken`);
  };
  if (size > limits.fileSize) refuse(`a file of ${size} bytes is too large`, limits.fileSize);
  const own: readonly HeldFile[] = held.filter((file) => file.twin === twin);
  const underWay = (files: readonly HeldFile[]) => files.filter(({ complete }) => !complete).length;
  for (
    const [files, uploads, count, bytes, of] of [
      [own, limits.twinUploads, limits.twinFiles, limits.twinSize, `from twin ${twin}`],
      [held, limits.totalUploads, limits.totalFiles, limits.totalSize, "in all"],
    ] as const
  ) {
    if (underWay(files) >= uploads) refuse(`too many uploads at once ${of}`, uploads);
    if (files.length >= count) refuse(`too many files ${of}`, count);
    const taken = files.reduce((sum, file) => sum + file.size, 0);
    if (taken + size > bytes) refuse(`too many bytes ${of} with ${size} more`, bytes);
  }
  const promised = held.reduce((sum, file) => sum + file.size - file.written, 0);
  if (await freeSpace(folder) - promised - size < limits.freeSpace) {
    throw new CodedError(ErrorCode.none, `no room on the disk for a file of ${size} bytes`);
  }
}
