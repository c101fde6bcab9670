import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { CHUNK_SIZE } from "./messages.ts";
import { inspectFile, SourceFile, SourceFileError } from "./source_file.ts";

const SIZE = 2 * CHUNK_SIZE + 100;

/** A file with content that is nowhere the same, for the time of a test. */
async function withFile(test: (path: string, content: Uint8Array) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "rmb-" });
  try {
    const content = Uint8Array.from({ length: SIZE }, (_, i) => i ^ (i >> 8) ^ (i >> 16));
    await Deno.writeFile(path, content);
    await test(path, content);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("a file's hash is that of all of it, whatever of it was read, in whatever steps", async () => {
  await withFile(async (path, content) => {
    const expected = createHash("sha256").update(content).digest("hex");
    for (const offsets of [[0, CHUNK_SIZE], [], [100], [CHUNK_SIZE, 7, CHUNK_SIZE + 9], [SIZE]]) {
      using file = await SourceFile.open(path, await inspectFile(path));
      for (const offset of offsets) {
        const bytes = await file.read(offset);
        assert.deepEqual(bytes, content.subarray(offset, offset + CHUNK_SIZE));
      }
      assert.equal(await file.sha256(), expected);
    }
  });
});

Deno.test("a file that changes is noticed", async () => {
  await withFile(async (path, content) => {
    const state = await inspectFile(path);
    const changed = { name: "SourceFileError", message: /has changed since/ };
    {
      using file = await SourceFile.open(path, state);
      await file.read(0);
      await Deno.truncate(path, CHUNK_SIZE + 1);
      await assert.rejects(file.read(CHUNK_SIZE), changed);
      await assert.rejects(file.sha256(), changed);
    }
    await assert.rejects(SourceFile.open(path, state), changed);
    await Deno.writeFile(path, content);
    await Deno.utime(path, 1, 1);
    await assert.rejects(SourceFile.open(path, state), changed, "of the same size, but newer");
  });
});

Deno.test("what is no regular file can't be uploaded", async () => {
  for (const path of ["/dev/null", "/", "/no/such"]) {
    await assert.rejects(inspectFile(path), SourceFileError);
  }
});
