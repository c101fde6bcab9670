import assert from "node:assert/strict";
import { runBounded, type RunOptions } from "./run_bounded.ts";

const NEVER = new AbortController().signal;
const utf8 = new TextDecoder();

Deno.test("runBounded() gives a program its input and environment, and takes its output", async () => {
  const { code, stdout, stderr, reason } = await sh('cat; echo "$WHO"; echo aside >&2', {
    input: new TextEncoder().encode("in;"),
    env: { WHO: "twin 7" },
  });
  assert.deepEqual({ code, stdout: utf8.decode(stdout), stderr, reason }, {
    code: 0,
    stdout: "in;twin 7\n",
    stderr: "aside\n",
    reason: undefined,
  });
});

Deno.test("runBounded() tells an exit code, also of a program that reads no input", async () => {
  const input = new Uint8Array(4 * 1024 * 1024);
  const { code, stderr, reason } = await sh("echo no use >&2; exit 3", { input });
  assert.deepEqual({ code, stderr, reason }, { code: 3, stderr: "no use\n", reason: undefined });
});

Deno.test("runBounded() kills a program that takes too long", async () => {
  const { reason } = await sh("exec sleep 600", { signal: AbortSignal.timeout(50) });
  assert.equal(reason, "it took too long");
});

Deno.test("runBounded() kills also what a program has started", async () => {
  const file = await Deno.makeTempFile();
  const script = `sleep 600 & echo $! > ${file}; wait`;
  const { reason } = await sh(script, { signal: AbortSignal.timeout(300) });
  const pid = Number(await Deno.readTextFile(file));
  await Deno.remove(file);
  assert.equal(reason, "it took too long");
  await gone(pid);
});

Deno.test("runBounded() does not wait for what holds a killed program's pipes open", async () => {
  // It is in a session of its own: it gets away, until it ends by itself.
  const { reason } = await sh("setsid sleep 3 & wait", { signal: AbortSignal.timeout(100) });
  assert.equal(reason, "it took too long");
});

Deno.test("runBounded() kills a program whose output is too long", async () => {
  const { reason, stdout } = await sh("exec cat /dev/zero", { maxOutput: 100_000 });
  assert.equal(reason, "its output is longer than 100000 bytes");
  assert.ok(stdout.length <= 100_000);
});

Deno.test("runBounded() keeps the end of what a program writes to stderr", async () => {
  const { stderr } = await sh("seq 1 100000 >&2");
  assert.ok(stderr.length <= 4096);
  assert.match(stderr, /\n99999\n100000\n$/);
});

Deno.test("runBounded() says why there is nothing to run", async () => {
  const { reason } = await runBounded("/no/such/program", [], {
    ...{ input: new Uint8Array(), env: {}, signal: NEVER },
  });
  assert.match(reason!, /No such file|Failed to spawn/);
});

/** Waits until a process is gone, or only its parent has yet to notice that it has ended. */
async function gone(pid: number): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const ps = new Deno.Command("ps", { args: ["-o", "stat=", "-p", `${pid}`] });
    const state = utf8.decode((await ps.output()).stdout).trim();
    if (state === "" || state.startsWith("Z")) return;
    if (Date.now() > deadline) assert.fail(`process ${pid} is still there: ${state}`);
  }
}

function sh(script: string, options: Partial<RunOptions> = {}) {
  const defaults = { input: new Uint8Array(), env: {}, signal: NEVER };
  return runBounded("sh", ["-c", script], { ...defaults, ...options });
}
