import assert from "node:assert/strict";
import { CodedError } from "@rmb/protocol/endpoint";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { until } from "../../tests/fixtures/deadline.ts";
import type { PluginAnswer, PluginHost, PluginRequest } from "../plugin.ts";
import { Incoming } from "./incoming.ts";
import { FILE_LIMITS, type FileLimits } from "./limits.ts";
import { formatEnding, formatJson, formatOffer, parseAcknowledgement } from "./messages.ts";

const GIVEN = new TextEncoder().encode("what a file may have in it");
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A gateway's files in a folder of their own, and what local programs were told. */
class Receiver implements AsyncDisposable {
  readonly folder: string;
  readonly delivered: { command: string; uid: string; json: Record<string, unknown> }[] = [];
  #incoming: Incoming;

  private constructor(folder: string, incoming: Incoming) {
    this.folder = folder;
    this.#incoming = incoming;
  }

  static async start(limits?: Partial<FileLimits>): Promise<Receiver> {
    const folder = await Deno.makeTempDir({ prefix: "rmb-files-" });
    const receiver: Receiver = new Receiver(
      folder,
      await Incoming.open(folder, hostOf(() => receiver), { ...FILE_LIMITS, ...limits }),
    );
    return receiver;
  }

  /** Stops, and starts again on the same folder. */
  async restart(meanwhile = async () => {}): Promise<void> {
    await this.#incoming.stop();
    await meanwhile();
    this.#incoming = await Incoming.open(this.folder, hostOf(() => this), FILE_LIMITS);
  }

  /** Offers a file. */
  negotiate(upload: string, size: number, more: object = {}, twin = 7): Promise<PluginAnswer> {
    const offer = { size, command: "got", name: "../a.txt", acknowledge: true, ...more };
    return this.#incoming.negotiate(request(upload, formatOffer(offer), twin));
  }

  /** Sends a chunk, and gives what is acknowledged: null for nothing. */
  async write(uid: string, bytes: Uint8Array, twin = 7): Promise<number | null | undefined> {
    const answer = await this.#incoming.write(request(uid, bytes, twin));
    return answer === null ? null : parseAcknowledgement(answer.payload);
  }

  /** Says that a file has ended. */
  async close(uid: string, bytes?: Uint8Array, twin = 7): Promise<number | null | undefined> {
    const payload = bytes === undefined
      ? new Uint8Array()
      : formatEnding({ size: bytes.length, sha256: sha256Of(bytes) });
    return await this.end(uid, payload, twin);
  }

  /** Closes a file with any payload. */
  async end(uid: string, payload: Uint8Array, twin = 7): Promise<number | null | undefined> {
    const answer = await this.#incoming.close(request(uid, payload, twin));
    return answer === null ? null : parseAcknowledgement(answer.payload);
  }

  /** The names in its folder, or in the one of what is under way. */
  names(under = ""): string[] {
    return [...Deno.readDirSync(`${this.folder}${under}`)].filter(({ isFile }) => isFile)
      .map(({ name }) => name).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#incoming.stop();
    await Deno.remove(this.folder, { recursive: true });
  }
}

function request(uid: string, payload: Uint8Array, twin: number): PluginRequest {
  return { uid, payload, source: { twin } };
}

/** All that taking files asks of a gateway: to call a command. */
function hostOf(receiver: () => Receiver): PluginHost {
  const unused = () => Promise.reject(new Error("not for this"));
  return {
    call: unused,
    send: unused,
    reply: unused,
    deliver: (command, { uid, payload }) => {
      receiver().delivered.push({ command, uid, json: JSON.parse(textOf(payload)) });
      return Promise.resolve();
    },
  };
}

function refuses(promise: Promise<unknown>, message: RegExp): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof CodedError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("a file arrives in chunks, and its command is called once", async () => {
  await using receiver = await Receiver.start();
  const id = crypto.randomUUID();
  assert.equal(parseAcknowledgement((await receiver.negotiate(id, 26)).payload), 0);
  assert.equal(await receiver.write(`${id}/0`, GIVEN.subarray(0, 10)), 10);
  assert.equal(await receiver.write(`${id}/10`, GIVEN.subarray(10)), 26);
  assert.deepEqual(receiver.names(), []);
  assert.equal(await receiver.close(`${id}/close`, GIVEN), 26);
  assert.equal(await receiver.close(`${id}/close`, GIVEN), 26, "again, its answer was lost");

  const path = `${receiver.folder}/7-${id}`;
  assert.equal(await Deno.readTextFile(path), textOf(GIVEN));
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  assert.deepEqual(receiver.delivered, [{
    command: "got",
    uid: `${id}/close`,
    json: { path, size: 26, sha256: sha256Of(GIVEN), name: "a.txt", upload: id },
  }]);

  await receiver.restart();
  assert.equal(parseAcknowledgement((await receiver.negotiate(id, 26)).payload), 26);
  assert.equal(await receiver.close(`${id}/close`, GIVEN), 26, "and after a restart");
  assert.equal(receiver.delivered.length, 1);
});

Deno.test("chunks may come twice, overlap or leave a gap: the file is right", async () => {
  await using receiver = await Receiver.start();
  const chunk = fc.nat({ max: 25 }).chain((from) =>
    fc.record({ from: fc.constant(from), length: fc.nat({ max: 26 - from }) })
  );
  await fc.assert(
    fc.asyncProperty(fc.array(chunk), async (chunks) => {
      const id = crypto.randomUUID();
      await receiver.negotiate(id, 26, { command: undefined });
      let known = 0;
      for (const { from, length } of chunks) {
        const answered = await receiver.write(`${id}/${from}`, GIVEN.subarray(from, from + length));
        if (from <= known) known = Math.max(known, from + length);
        assert.equal(answered, known);
        assert.equal(await receiver.close(`${id}/close`, GIVEN.slice()) === 26, known === 26);
      }
      await receiver.write(`${id}/${known}`, GIVEN.subarray(known));
      assert.equal(await receiver.close(`${id}/close`, GIVEN), 26);
      assert.equal(await Deno.readTextFile(`${receiver.folder}/7-${id}`), textOf(GIVEN));
    }),
    { numRuns: 30 },
  );
});

Deno.test("a restart goes on where it was", async () => {
  await using receiver = await Receiver.start();
  const id = crypto.randomUUID();
  await receiver.negotiate(id, 26);
  await receiver.write(`${id}/0`, GIVEN.subarray(0, 17));
  await receiver.restart();
  assert.equal(parseAcknowledgement((await receiver.negotiate(id, 26)).payload), 17);
  assert.equal(await receiver.write(`${id}/17`, GIVEN.subarray(17)), 26);
  await receiver.restart();
  assert.equal(await receiver.close(`${id}/close`, GIVEN), 26);
  assert.equal(await Deno.readTextFile(`${receiver.folder}/7-${id}`), textOf(GIVEN));
});

Deno.test("an empty file is a file", async () => {
  await using receiver = await Receiver.start();
  const id = crypto.randomUUID();
  await receiver.negotiate(id, 0);
  assert.equal(await receiver.close(`${id}/close`, new Uint8Array()), 0);
  assert.equal((await Deno.stat(`${receiver.folder}/7-${id}`)).size, 0);
  assert.equal(receiver.delivered.length, 1);
});

Deno.test("a file with another hash or size is refused, and nothing of it stays", async () => {
  await using receiver = await Receiver.start();
  const id = crypto.randomUUID();
  await receiver.negotiate(id, 26);
  await receiver.write(`${id}/0`, GIVEN);
  await refuses(receiver.close(`${id}/close`, GIVEN.toReversed()), /has SHA-256 .* here, not/);
  await receiver.negotiate(id, 26);
  await receiver.write(`${id}/0`, GIVEN);
  await refuses(receiver.close(`${id}/close`, new Uint8Array(27)), /has 27 bytes, not the 26/);
  await refuses(receiver.write(`${id}/0`, GIVEN), /no such upload/);
  assert.deepEqual([receiver.names(), receiver.names("/incoming")], [[], []]);
  assert.deepEqual(receiver.delivered, []);
});

Deno.test("what a sender gives up makes room, unless it is complete", async () => {
  await using receiver = await Receiver.start();
  const id = crypto.randomUUID();
  await receiver.negotiate(id, 26);
  await receiver.write(`${id}/0`, GIVEN);
  await refuses(receiver.end(`${id}/close`, formatEnding(undefined), 8), /no such upload/);
  await receiver.end(`${id}/close`, formatEnding(undefined));
  assert.deepEqual(receiver.names("/incoming"), []);

  await receiver.negotiate(id, 26);
  await receiver.write(`${id}/0`, GIVEN);
  await receiver.close(`${id}/close`, GIVEN);
  assert.equal(await receiver.end(`${id}/close`, formatEnding(undefined)), 26);
  assert.deepEqual(receiver.names(), [`7-${id}`]);
});

Deno.test("what the reference does not say is refused: other forms, ends, twins and commands", async () => {
  await using receiver = await Receiver.start();
  const id = crypto.randomUUID();
  await receiver.negotiate(id, 26);
  await refuses(receiver.write(id, GIVEN), /not in the form/);
  await refuses(receiver.close(id), /not in the form/);
  await refuses(receiver.write(`${id}/20`, GIVEN), /beyond the 26 bytes/);
  await refuses(receiver.write(`${id}/0`, GIVEN, 8), /no such upload/);
  await refuses(receiver.close(`${id}/close`, GIVEN, 8), /no such upload/);
  await refuses(receiver.negotiate(id, 27), /is known, and not the same/);
  await refuses(receiver.negotiate(`../${id}`, 1), /must be a UUID/);
  await refuses(
    receiver.negotiate(crypto.randomUUID(), 1, { command: "system.local" }),
    /command is reserved/,
  );
  assert.equal(await receiver.write(`${id}/0`, GIVEN), 26, "all that changed nothing");
});

Deno.test("the reference's form: nothing is acknowledged, and failures end it", async () => {
  await using receiver = await Receiver.start();
  const plain = { acknowledge: false };
  const id = crypto.randomUUID();
  assert.deepEqual((await receiver.negotiate(id, 26, plain)).payload, formatJson(null));
  assert.equal(await receiver.write(id, GIVEN.subarray(0, 20)), null);
  assert.deepEqual((await receiver.negotiate(id, 26, plain)).payload, formatJson(null), "afresh");
  assert.equal(await receiver.write(id, GIVEN.subarray(0, 10)), null);
  assert.equal(await receiver.write(id, GIVEN.subarray(10)), null);
  assert.equal(await receiver.close(id), null);
  assert.equal(await Deno.readTextFile(`${receiver.folder}/7-${id}`), textOf(GIVEN));
  assert.equal(receiver.delivered.length, 1);

  const short = crypto.randomUUID();
  await receiver.negotiate(short, 26, plain);
  await receiver.write(short, GIVEN.subarray(0, 20));
  await refuses(receiver.close(short), /has 20 bytes, not the 26/);

  const long = crypto.randomUUID();
  await receiver.negotiate(long, 20, plain);
  await refuses(receiver.write(long, GIVEN), /beyond the 20 bytes/);
  assert.equal(await receiver.write(long, GIVEN), null, "it is told once");
  await refuses(receiver.close(long), /no such upload/);
  assert.deepEqual(receiver.names("/incoming"), [`7-${id}.json`]);
});

Deno.test("each limit is one, and says so", async () => {
  const cases: readonly [Partial<FileLimits>, RegExp][] = [
    [{ fileSize: 25 }, /a file of 26 bytes is too large, at most 25/],
    [{ twinUploads: 1 }, /too many uploads at once from twin 7, at most 1/],
    [{ totalUploads: 1 }, /too many uploads at once in all, at most 1/],
    [{ twinFiles: 2 }, /too many files from twin 7, at most 2/],
    [{ totalFiles: 2 }, /too many files in all, at most 2/],
    [{ twinSize: 77 }, /too many bytes from twin 7 with 26 more, at most 77/],
    [{ totalSize: 77 }, /too many bytes in all with 26 more, at most 77/],
    [{ freeSpace: Number.MAX_SAFE_INTEGER }, /no room on the disk/],
  ];
  for (const [limits, message] of cases) {
    await using receiver = await Receiver.start(limits);
    if (!("fileSize" in limits || "freeSpace" in limits)) {
      // One that is complete, and one under way; the others count neither.
      await Deno.writeFile(`${receiver.folder}/7-${crypto.randomUUID()}`, GIVEN);
      await Deno.writeFile(`${receiver.folder}/else`, GIVEN);
      await receiver.negotiate(crypto.randomUUID(), 26);
    }
    const id = crypto.randomUUID();
    await refuses(receiver.negotiate(id, 26), message);
    if (message.source.includes("from twin")) await receiver.negotiate(id, 26, {}, 8);
  }
});

Deno.test("a start removes what is of no use, and follows no link", async () => {
  await using receiver = await Receiver.start();
  const [old, linked, kept] = [1, 2, 3].map(() => crypto.randomUUID());
  for (const id of [old!, linked!, kept!]) {
    await receiver.negotiate(id, 26);
    await receiver.write(`${id}/0`, GIVEN.subarray(0, 9));
  }
  const target = await Deno.makeTempFile();
  await receiver.restart(async () => {
    const partial = `${receiver.folder}/incoming`;
    const before = new Date(Date.now() - 2 * 3600_000);
    await Deno.utime(`${partial}/7-${old}`, before, before);
    await Deno.remove(`${partial}/7-${linked}`);
    await Deno.symlink(target, `${partial}/7-${linked}`);
    await Deno.writeTextFile(`${partial}/7-${crypto.randomUUID()}`, "no record of it");
    await Deno.writeTextFile(`${partial}/7-${crypto.randomUUID()}.json`, "no JSON");
    await Deno.writeTextFile(`${partial}/7-${crypto.randomUUID()}.json.fresh`, "half");
  });
  assert.equal(await receiver.write(`${kept}/9`, GIVEN.subarray(9)), 26);
  for (const id of [old, linked]) {
    await refuses(receiver.write(`${id}/9`, GIVEN.subarray(9)), /no such upload/);
  }
  assert.deepEqual(receiver.names("/incoming"), [`7-${kept}`, `7-${kept}.json`]);
  assert.equal(await Deno.readTextFile(target), "");
  await Deno.remove(target);
});

Deno.test("an upload of which nothing is heard for an hour makes room", async () => {
  const { setInterval } = globalThis;
  const { now } = Date;
  let sweep = () => {};
  globalThis.setInterval = ((callback: () => void, interval: number) => {
    sweep = callback;
    return setInterval(callback, interval);
  }) as typeof setInterval;
  try {
    await using receiver = await Receiver.start();
    globalThis.setInterval = setInterval;
    const [silent, active] = [crypto.randomUUID(), crypto.randomUUID()];
    for (const id of [silent, active]) await receiver.negotiate(id, 26);
    Date.now = () => now.call(Date) + 3599_000;
    await receiver.write(`${active}/0`, GIVEN.subarray(0, 9));
    Date.now = () => now.call(Date) + 3601_000;
    sweep();
    const kept = [`7-${active}`, `7-${active}.json`];
    await until(() => receiver.names("/incoming").length === kept.length, "one removed");
    assert.deepEqual(receiver.names("/incoming"), kept);
    assert.equal(await receiver.write(`${active}/9`, GIVEN.subarray(9)), 26);
    await refuses(receiver.write(`${silent}/0`, GIVEN), /no such upload/);
  } finally {
    globalThis.setInterval = setInterval;
    Date.now = now;
  }
});
