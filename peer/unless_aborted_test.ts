import assert from "node:assert/strict";
import { unlessAborted } from "./unless_aborted.ts";

const never = new Promise<number>(() => {});

Deno.test("unlessAborted() gives what a promise does, or undefined once it is aborted", async () => {
  const stop = new AbortController();
  assert.equal(await unlessAborted(Promise.resolve(7), stop.signal), 7);
  await assert.rejects(unlessAborted(Promise.reject(new Error("no")), stop.signal), /^Error: no$/);
  const waiting = unlessAborted(never, stop.signal);
  stop.abort();
  assert.equal(await waiting, undefined);
  assert.equal(await unlessAborted(never, stop.signal), undefined);
});

Deno.test("unlessAborted() leaves nothing behind on the signal", async () => {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  const counted = new Proxy(signal, {
    get: (target, name) => {
      if (name === "addEventListener") return (_: string, added: unknown) => listeners.add(added);
      if (name === "removeEventListener") {
        return (_: string, removed: unknown) => listeners.delete(removed);
      }
      return Reflect.get(target, name, target);
    },
  });
  const waiting = unlessAborted(Promise.resolve(), counted);
  assert.equal(listeners.size, 1);
  await waiting;
  await unlessAborted(Promise.reject(new Error()), counted).catch(() => {});
  assert.equal(listeners.size, 0);
});
