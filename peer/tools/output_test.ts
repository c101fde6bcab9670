import assert from "node:assert/strict";
import { formatJson } from "./output.ts";

Deno.test("JSON of others controls no terminal, and says the same", () => {
  const value = { "\u009b31m": ["\u001b[2J", "\u007f", "\u0085", "é", "日本"] };
  const text = formatJson(value);
  // deno-lint-ignore no-control-regex -- they are what is looked for
  assert.ok(!/[\x00-\x1f\x7f-\x9f]/.test(text), text);
  assert.deepEqual(JSON.parse(text), value);
  assert.match(text, /é.*日本/);
  assert.equal(formatJson([1], 2), "[\n  1\n]");
});
