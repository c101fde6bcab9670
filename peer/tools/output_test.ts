import assert from "node:assert/strict";
import { formatJson, formatTable, formatText, formatTime } from "./output.ts";

Deno.test("formatTable() puts values one below the other", () => {
  assert.deepEqual(formatTable([["a", "1"], ["long name", "two words"]], 80), [
    "a          1",
    "long name  two words",
  ]);
});

Deno.test("formatTable() gives what is too long lines of its own, divided between words", () => {
  const mnemonic = Array.from({ length: 24 }, (_, i) => `word${i}`).join(" ");
  const pk = `0x${"ab".repeat(33)}`;
  const lines = formatTable([["mnemonic", mnemonic], ["encryption key (pk)", pk], ["x", "1"]], 80);
  assert.ok(lines.every((line) => line.length <= 80), lines.join("\n"));
  assert.equal(lines[0], "mnemonic");
  const pkAt = lines.indexOf("encryption key (pk)");
  const words = lines.slice(1, pkAt);
  assert.ok(words.length >= 2 && words.every((line) => line.startsWith("  ")));
  assert.equal(words.map((line) => line.trim()).join(" "), mnemonic);
  assert.equal(lines[pkAt + 1], `  ${pk}`);
  assert.equal(lines.at(-1), "x                    1");
});

Deno.test("formatTable() is of one line each where there is no terminal, and controls none", () => {
  const value = `${"a".repeat(500)}\x1b[2J\n`;
  const [line, ...others] = formatTable([["name", value]], Infinity);
  assert.deepEqual(others, []);
  assert.doesNotMatch(line!, /\p{Cc}/u);
});

Deno.test("formatTime() has three digits that count", () => {
  assert.deepEqual([0.1234, 9.876, 12.34, 123.4, 1234.5].map(formatTime), [
    "0.12 ms",
    "9.88 ms",
    "12.3 ms",
    "123 ms",
    "1235 ms",
  ]);
});

Deno.test("formatJson() and formatText() let nothing control a terminal, and leave nothing out", () => {
  const text = `one\r\ntwo\t\x1b[2J\x7f\u009b31m\u2028\rover ${"ü".repeat(5000)}`;
  for (const space of [undefined, 2]) {
    const json = formatJson({ text }, space);
    assert.doesNotMatch(json, /(?!\n)\p{Cc}|\u2028/u);
    assert.deepEqual(JSON.parse(json), { text });
  }
  assert.equal(
    formatText(text),
    `one\r\ntwo\t\\u001b[2J\\u007f\\u009b31m\\u2028\\u000dover ${"ü".repeat(5000)}`,
  );
});
