import assert from "node:assert/strict";
import { newUid } from "./uid.ts";

Deno.test("newUid() makes another one each time, also where there are no UUIDs", () => {
  const uuid = newUid();
  assert.match(uuid, /^[0-9a-f]{8}-/);
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  try {
    const uids = [newUid(), newUid()];
    assert.match(uids[0]!, /^[0-9a-f]{32}$/);
    assert.notEqual(uids[0], uids[1]);
  } finally {
    Reflect.deleteProperty(crypto, "randomUUID");
  }
});
