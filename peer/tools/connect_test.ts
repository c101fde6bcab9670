import assert from "node:assert/strict";
import { parseDestination } from "./connect.ts";

Deno.test("parseDestination() reads a twin, and a session of one", () => {
  assert.deepEqual(parseDestination("9"), { twin: 9 });
  assert.deepEqual(parseDestination("9:bot"), { twin: 9, connection: "bot" });
  assert.deepEqual(parseDestination("9:"), { twin: 9, connection: "" });
  assert.deepEqual(parseDestination("9:a:b"), { twin: 9, connection: "a:b" });
});

Deno.test("parseDestination() refuses anything else, and does not quote it", () => {
  for (const text of ["stage", "0", "0:bot", "-1", "4294967296", "", ":bot", "1.5"]) {
    assert.throws(() => parseDestination(text), {
      name: "FormatError",
      message: "Cannot read a twin: expected its id, such as 9, or a session, as in 9:bot",
    });
  }
});
