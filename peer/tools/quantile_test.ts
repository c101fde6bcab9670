import assert from "node:assert/strict";
import { quantile } from "./quantile.ts";

Deno.test("quantile() is the nearest rank", () => {
  const times = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual([0, 0.5, 0.9, 0.99, 1].map((share) => quantile(times, share)), [
    1,
    50,
    90,
    99,
    100,
  ]);
});

Deno.test("quantile() of one value is that value, of none 0", () => {
  assert.equal(quantile([7], 0.5), 7);
  assert.equal(quantile([7], 0.99), 7);
  assert.equal(quantile([], 0.5), 0);
});
