import { RmbError } from "@rmb/protocol";
import { parseObject } from "../json.ts";

/** Files that are there for the gateway's own user alone. */
const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;

/**
 * Makes a folder, for the gateway's user alone, unless it is there.
 *
 * @returns Its real path.
 * @throws {RmbError} if it can't be used.
 */
export async function openFolder(path: string): Promise<string> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: PRIVATE_FOLDER });
    return await Deno.realPath(path);
  } catch (cause) {
    throw new RmbError(`Cannot use folder "${path}" for uploads: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Makes a file, for the gateway's user alone; whatever has its name already goes. */
export async function createFile(path: string): Promise<Deno.FsFile> {
  await removeFile(path);
  return await Deno.open(path, { read: true, write: true, createNew: true, mode: PRIVATE_FILE });
}

/** Removes a file, if it is there. */
export async function removeFile(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** What is at a path, symbolic links not followed; undefined if nothing is. */
export async function statFile(path: string): Promise<Deno.FileInfo | undefined> {
  return await Deno.lstat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
}

/** Makes what happened to the names in a folder outlive a loss of power. */
export async function syncFolder(path: string): Promise<void> {
  using folder = await Deno.open(path);
  await folder.sync();
}

/** Moves a file to a folder under another path; it is there, or here, at any moment. */
export async function moveFile(from: string, to: string): Promise<void> {
  await Deno.rename(from, to);
  await syncFolder(parentOf(to));
}

/** Writes a record so that it is there as a whole, or as it was before, whatever happens. */
export async function writeRecord(path: string, record: object): Promise<void> {
  const fresh = `${path}.fresh`;
  {
    using file = await createFile(fresh);
    await writeAll(file, new TextEncoder().encode(JSON.stringify(record)));
    await file.sync();
  }
  await moveFile(fresh, path);
}

/**
 * Reads all records of a folder: files that end in `.json`.
 *
 * @returns Each with the name of its file, without the ending; undefined for what can't be read.
 */
export async function readRecords(
  folder: string,
): Promise<ReadonlyMap<string, Readonly<Record<string, unknown>> | undefined>> {
  const records = new Map<string, Readonly<Record<string, unknown>> | undefined>();
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".json")) continue;
    const record = await Deno.readFile(`${folder}/${name}`).then(parseObject).catch(() => {});
    records.set(name.slice(0, -".json".length), record ?? undefined);
  }
  return records;
}

/** Writes all of the bytes where the file's position is. */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/**
 * Reads at an offset.
 *
 * @returns As many bytes as were asked for, fewer only at the end of the file.
 */
export async function readAt(
  file: Deno.FsFile,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await file.seek(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < length) {
    const read = await file.read(bytes.subarray(filled));
    if (read === null) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
