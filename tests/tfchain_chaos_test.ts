import assert from "node:assert/strict";
import fc from "fast-check";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { Devnet } from "./fixtures/devnet.ts";
import { longLived, relayOf, seen } from "./fixtures/tfchain.ts";

/** Twins of the chain, and an id that has none. */
const IDS = [1, 2, 3, 4, 5, 6, 7];

/** Something that happens to a chain of two nodes. */
const happening = fc.record({
  what: fc.constantFrom(
    ...["twin", "twin", "twin", "produce", "produce", "produce", "fork", "fork"] as const,
    ...["close", "fork and close", "skip", "slow"] as const,
  ),
  count: fc.integer({ min: 1, max: 4 }),
  /** Until the next, in milliseconds. */
  time: fc.nat({ max: 20 }),
  node: fc.nat({ max: 1 }),
  id: fc.integer({ min: 1, max: 6 }),
  relay: fc.stringMatching(/^r[0-9]{3}$/),
});

async function happen(
  devnet: Devnet,
  { what, count, node, id, relay }: typeof happening extends fc.Arbitrary<infer T> ? T : never,
): Promise<void> {
  switch (what) {
    case "twin":
      return void await devnet.setTwin({ id, relay });
    case "produce":
      return void await devnet.produce(count);
    case "fork":
      return void await fork(devnet, count);
    case "close":
      return void await devnet.closeConnections(node);
    case "fork and close":
      return void await Promise.all([fork(devnet, 1), devnet.closeConnections(node)]);
    case "skip":
      return void await devnet.faults({ skip: count }, node);
    case "slow":
      return void await devnet.faults({ slow: 2 * count }, node);
  }
}

/** Has the last blocks lost, or as many made as that takes. */
function fork(devnet: Devnet, depth: number): Promise<unknown> {
  return devnet.fork(depth).catch(() => devnet.produce(depth));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

Deno.test("whatever happens to blocks and connections, nothing that is remembered stays old", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { minLength: 60, maxLength: 60 }), async (happenings) => {
      await using devnet = await Devnet.start({ nodes: 2 });
      await devnet.finality(false);
      await using registry = await TfchainRegistry.connect({ urls: devnet.urls });
      using _ = longLived();
      let over = false;
      const used = (async () => {
        while (!over) {
          await Promise.allSettled(IDS.map((id) => registry.twin(id)));
          await pause(0); // What is remembered comes at once.
        }
      })();
      for (const happening of happenings) {
        await happen(devnet, happening);
        await pause(happening.time);
      }
      for (const node of [0, 1]) await devnet.faults({ skip: 0, slow: 0 }, node);
      await seen(registry, (await devnet.produce()).best.number);
      over = true;
      await used;
      await using fresh = await TfchainRegistry.connect({ urls: devnet.urls });
      for (const id of IDS) assert.equal(await relayOf(registry, id), await relayOf(fresh, id));
    }),
    { numRuns: 3, endOnFailure: true },
  );
});
