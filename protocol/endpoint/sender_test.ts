import assert from "node:assert/strict";
import type { Identity } from "./identity.ts";
import { Sender } from "./sender.ts";

Deno.test("Sender.whenRoom() lets no more through than there is room for, in order", async () => {
  const confirm: (() => void)[] = [];
  const identity = {
    seal: () => Promise.resolve({ bytes: new Uint8Array(), timeLeft: 60 }),
  } as Pick<Identity, "seal"> as Identity;
  const send = () => new Promise<void>((resolve) => confirm.push(resolve));
  const stop = new AbortController();
  const sender = new Sender(identity, { send }, stop.signal);
  const begun: number[] = [];
  const done: Promise<void>[] = [];
  for (let i = 0; i < 10_005; i++) {
    sender.whenRoom(() => {
      begun.push(i);
      done.push(sender.send({}, { twin: i }));
    });
  }
  assert.equal(begun.length, 10_000);
  await new Promise((resolve) => setTimeout(resolve)); // All are sealed.
  confirm.shift()!();
  await done[0];
  assert.deepEqual([begun.length, begun.at(-1), sender.waiting], [10_001, 10_000, 10_000]);

  stop.abort();
  assert.deepEqual([begun.length, begun.at(-1)], [10_005, 10_004]);
  await new Promise((resolve) => setTimeout(resolve));
  for (const confirmed of confirm) confirmed();
  await Promise.all(done);
  assert.equal(sender.waiting, 0);
});
