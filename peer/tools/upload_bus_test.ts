import assert from "node:assert/strict";
import { readUploadAnswer, UploadError } from "./upload_bus.ts";

Deno.test("readUploadAnswer() reads what a gateway answers about an upload", () => {
  for (const answer of ["an-id", { uploaded: 5, size: 10 }]) {
    const dat = new TextEncoder().encode(JSON.stringify(answer)).toBase64();
    assert.deepEqual(readUploadAnswer(JSON.stringify({ dat, err: null })), answer);
  }
});

Deno.test("readUploadAnswer() throws an answer that is an error", () => {
  const entry = JSON.stringify({ dat: "", err: { code: 500, message: "it is full" } });
  assert.throws(() => readUploadAnswer(entry), (error) => {
    assert.ok(error instanceof UploadError);
    assert.equal(error.message, "it is full");
    return true;
  });
});
