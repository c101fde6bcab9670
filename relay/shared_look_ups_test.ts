import assert from "node:assert/strict";
import type { Twin } from "@rmb/protocol";
import { SharedLookUps } from "./shared_look_ups.ts";
import { MemoryRegistry } from "./tests/memory_registry.ts";

/** A registry whose answers wait, and look-ups shared in front of it. */
class Fixture {
  /** The twins asked for, and what answers. */
  readonly asked: {
    readonly id: number;
    readonly answer: PromiseWithResolvers<Twin | undefined>;
  }[] = [];
  readonly lookUps: SharedLookUps;

  constructor() {
    const registry = new MemoryRegistry();
    registry.twin = (id) => {
      const answer = Promise.withResolvers<Twin | undefined>();
      this.asked.push({ id, answer });
      return answer.promise;
    };
    this.lookUps = new SharedLookUps(registry);
  }
}

Deno.test("SharedLookUps gives all that ask meanwhile the same answer", async () => {
  const { asked, lookUps } = new Fixture();
  const answers = [lookUps.twin(7), lookUps.twin(7)];
  await Promise.resolve();
  answers.push(lookUps.twin(7));
  assert.equal(asked.length, 1);
  asked[0]!.answer.resolve(twin(7));
  const [first, ...others] = await Promise.all(answers);
  assert.deepEqual(first, twin(7));
  assert.ok(others.every((other) => other === first));
});

Deno.test("SharedLookUps asks again once there is an answer, also if nothing was found", async () => {
  const { asked, lookUps } = new Fixture();
  for (const answer of [undefined, twin(7), undefined]) {
    const lookUp = lookUps.twin(7);
    asked.at(-1)!.answer.resolve(answer);
    assert.equal(await lookUp, answer);
  }
  assert.equal(asked.length, 3);
});

Deno.test("SharedLookUps looks up different twins at once", async () => {
  const { asked, lookUps } = new Fixture();
  const answers = [lookUps.twin(7), lookUps.twin(8)];
  assert.deepEqual(asked.map(({ id }) => id), [7, 8]);
  asked[1]!.answer.resolve(twin(8));
  assert.deepEqual(await answers[1], twin(8));
  const again = lookUps.twin(8);
  assert.equal(asked.length, 3, "only the other is under way still");
  for (const { id, answer } of asked) answer.resolve(twin(id));
  assert.deepEqual(await Promise.all([answers[0], again]), [twin(7), twin(8)]);
});

Deno.test("SharedLookUps fails for all that asked, and asks again after that", async () => {
  const { asked, lookUps } = new Fixture();
  const answers = [lookUps.twin(7), lookUps.twin(7)];
  asked[0]!.answer.reject(new Error("no registry"));
  for (const answer of answers) await assert.rejects(answer, /^Error: no registry$/);
  const again = lookUps.twin(7);
  asked[1]!.answer.resolve(twin(7));
  assert.deepEqual(await again, twin(7));
});

function twin(id: number): Twin {
  return { id, account: new Uint8Array(32), relays: ["relay.test"], pk: undefined };
}
