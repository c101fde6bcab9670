import assert from "node:assert/strict";
import fc from "fast-check";
import { Clock } from "../tests/clock.ts";
import { Ranker } from "./ranker.ts";

Deno.test("Ranker puts those first that failed least", () => {
  const ranker = new Ranker(3600);
  for (const domain of ["b", "c", "c"]) ranker.failed(domain);
  for (let i = 0; i < 20; i++) assert.deepEqual(ranker.order(["c", "b", "a"]), ["a", "b", "c"]);
});

Deno.test("Ranker leaves to chance which of equals is first", () => {
  const ranker = new Ranker(3600);
  for (const domain of ["a", "b", "z"]) ranker.failed(domain);
  const orders = Array.from({ length: 200 }, () => ranker.order(["a", "b", "z"]).join(""));
  assert.equal(new Set(orders).size, 6);
});

Deno.test("Ranker forgets failures after its period", () => {
  using clock = new Clock();
  const ranker = new Ranker(60);
  ranker.failed("a");
  ranker.failed("a");
  clock.advance(40);
  ranker.failed("b");
  assert.deepEqual(ranker.order(["a", "b"]), ["b", "a"]);
  clock.advance(30);
  assert.deepEqual(ranker.order(["b", "a"]), ["a", "b"]);
  clock.advance(40);
  const orders = Array.from({ length: 100 }, () => ranker.order(["a", "b"]).join(""));
  assert.equal(new Set(orders).size, 2);
});

Deno.test("Ranker orders as counting does, and loses and makes up none", () => {
  const anyDomains = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e", "f"));
  const anyFailures = fc.array(
    fc.record({ domain: fc.constantFrom("a", "b", "c"), at: fc.nat(99) }),
  );
  fc.assert(fc.property(anyDomains, anyFailures, (domains, failures) => {
    using clock = new Clock();
    const ranker = new Ranker(50);
    let now = 0;
    for (const { domain, at } of failures.sort((a, b) => a.at - b.at)) {
      clock.advance(at - now);
      now = at;
      ranker.failed(domain);
    }
    clock.advance(99.5 - now); // Nothing happened just then.
    const count = (domain: string) =>
      failures.filter((failure) => failure.domain === domain && failure.at > 49.5).length;
    const order = ranker.order(domains);
    assert.deepEqual(order.toSorted(), domains.toSorted());
    assert.deepEqual(order.map(count), domains.map(count).sort((a, b) => a - b));
  }));
});
