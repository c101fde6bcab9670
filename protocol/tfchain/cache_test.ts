import assert from "node:assert/strict";
import type { Twin } from "../twin.ts";
import { type Found, TwinCache } from "./cache.ts";

Deno.test.sanitizer({ ops: true, resources: true });

function twin(id: number, relay = "a.test"): Twin {
  return { id, account: new Uint8Array(32), relays: [relay], pk: undefined };
}

/** A chain whose answers come when they are told to. */
class Chain {
  readonly asked: number[] = [];
  readonly #answers: PromiseWithResolvers<Found>[] = [];
  readonly cache = new TwinCache((id) => {
    this.asked.push(id);
    this.#answers.push(Promise.withResolvers());
    return this.#answers.at(-1)!.promise;
  });

  /** Answers the oldest question, and waits until that has arrived. */
  async answer(twin: Twin | undefined, lasting = true): Promise<void> {
    this.#answers.shift()!.resolve({ twin, lasting });
    await new Promise((resolve) => setTimeout(resolve));
  }

  async fail(): Promise<void> {
    this.#answers.shift()!.reject(new Error("told to"));
    await new Promise((resolve) => setTimeout(resolve));
  }
}

Deno.test("TwinCache asks once for a twin, also while the answer is on its way", async () => {
  const chain = new Chain();
  const [first, second] = [chain.cache.twin(7), chain.cache.twin(7)];
  await chain.answer(twin(7));
  assert.deepEqual([await first, await second, await chain.cache.twin(7)], Array(3).fill(twin(7)));
  assert.deepEqual(chain.asked, [7]);
  assert.deepEqual([chain.cache.misses, chain.cache.size], [1, 1]);
});

Deno.test("TwinCache keeps no failure, and no answer that does not last", async () => {
  const chain = new Chain();
  const failed = assert.rejects(chain.cache.twin(7), /told to/);
  await chain.fail();
  await failed;
  const passing = chain.cache.twin(7);
  await chain.answer(twin(7), false);
  assert.deepEqual(await passing, twin(7));
  assert.equal(chain.cache.size, 0);
  chain.cache.twin(7);
  assert.deepEqual(chain.asked, [7, 7, 7]);
});

for (const way of ["forget", "flush"] as const) {
  Deno.test(`TwinCache.${way}() has what is there asked for anew`, async () => {
    const chain = new Chain();
    for (const found of [twin(7), undefined]) {
      chain.cache.twin(7);
      await chain.answer(found);
      assert.equal(chain.cache.size, 1);
      chain.cache[way](7);
      assert.equal(chain.cache.size, 0);
    }
    chain.cache.twin(7);
    assert.deepEqual(chain.asked, [7, 7, 7]);
  });

  Deno.test(`TwinCache.${way}() has what is on its way asked for anew, and not kept`, async () => {
    const chain = new Chain();
    const before = chain.cache.twin(7);
    chain.cache[way](7);
    const after = chain.cache.twin(7);
    assert.deepEqual(chain.asked, [7, 7]);
    await chain.answer(twin(7, "old.test"));
    assert.deepEqual(await before, twin(7, "old.test"));
    assert.equal(chain.cache.twin(7), after, "who asks now waits for the new answer");
    await chain.answer(twin(7, "new.test"));
    assert.deepEqual(await after, twin(7, "new.test"));
    assert.deepEqual(await chain.cache.twin(7), twin(7, "new.test"));
  });
}

Deno.test("TwinCache keeps twins however many unknown ids are asked for", async () => {
  const found = (id: number) => Promise.resolve({ twin: id === 7 ? twin(7) : undefined });
  const cache = new TwinCache(async (id) => ({ ...await found(id), lasting: true }));
  await cache.twin(7);
  for (let id = 1000; id < 31_000; id++) await cache.twin(id);
  assert.equal(cache.size, 10_001);
  const { misses } = cache;
  assert.deepEqual(await cache.twin(7), twin(7));
  assert.equal(cache.misses, misses);
});

Deno.test("TwinCache asks again for an unknown id after 10 s", async () => {
  const chain = new Chain();
  const { now } = performance;
  let passed = 0;
  performance.now = () => now.call(performance) + passed;
  try {
    chain.cache.twin(7);
    await chain.answer(undefined);
    passed = 9000;
    await chain.cache.twin(7);
    assert.deepEqual(chain.asked, [7]);
    passed = 11_000;
    chain.cache.twin(7);
    assert.deepEqual(chain.asked, [7, 7]);
  } finally {
    Reflect.deleteProperty(performance, "now");
  }
});
