/** What local programs do wrong: it harms nobody, is told to who did it, and is kept to be looked at. */
import { unixNow } from "@rmb/protocol";
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import { GatewayNetwork } from "./fixtures/gateway_network.ts";
import type { Json } from "./fixtures/local_program.ts";

const LOCAL = "msgbus.system.local";
const REPLY = "msgbus.system.reply";
const INVALID = "msgbus.system.invalid";

/** A request that is right, to be made wrong. */
const REQUEST = {
  ver: 1,
  ref: "my-ref",
  cmd: "test.echo",
  exp: 60,
  dat: "",
  tag: null,
  dst: [9],
  ret: "replies",
  shm: null,
  now: unixNow(),
};

const wrongRequests: readonly [members: object, says: string][] = [
  [{ ver: 2 }, '"ver" must be 1'],
  [{ ref: 7 }, '"ref" must be text, null or absent'],
  [{ cmd: undefined }, '"cmd" must be text'],
  [{ exp: "60" }, '"exp" must be a number of whole seconds'],
  [{ exp: -5 }, '"exp" must be a number of whole seconds'],
  [{ dat: "no base64!" }, '"dat" must be standard base64 with padding'],
  [{ dat: "AA" }, '"dat" must be standard base64 with padding'],
  [{ dat: { a: 1 } }, '"dat" must be text'],
  [{ tag: 7 }, '"tag" must be text, null or absent'],
  [{ dst: 9 }, '"dst" must be a list of twin ids'],
  [{ dst: ["9"] }, '"dst" must be a list of twin ids'],
  [{ dst: [] }, '"dst" must name a twin'],
  [
    { dst: Array.from({ length: 10_001 }, (_, i) => i + 1) },
    '"dst" must not name more than 10000 twins',
  ],
  [{ con: 7 }, '"con" must be text, null or absent'],
  [{ shm: 7 }, '"shm" must be text, null or absent'],
  [{ now: null }, '"now" must be a number of whole seconds'],
];

/** Entries that do not even say where an answer could go. */
const unanswerable: readonly (string | Uint8Array)[] = [
  "",
  "no JSON",
  JSON.stringify(REQUEST).slice(0, -1),
  "null",
  "[1]",
  JSON.stringify({ ...REQUEST, ret: undefined }),
  JSON.stringify({ ...REQUEST, ret: 7 }),
  Uint8Array.of(0x7b, 0xff, 0x00, 0x7d),
];

const wrongResponses: readonly (string | Uint8Array)[] = [
  "{",
  Uint8Array.of(0xc3, 0x28),
  ...[
    { ref: null },
    { dst: "nobody" },
    { dst: 7 },
    { dat: "AA" },
    { err: { code: "1", message: "" } },
    { ver: 0 },
    { ver: 0, ret: "replies.none" },
  ].map((members) =>
    JSON.stringify({ ver: 1, ref: "uid", dat: "", dst: "7", shm: null, now: 0, ...members })
  ),
];

const bufferOf = (entry: string | Uint8Array) => Buffer.from(entry as Uint8Array);

Deno.test("gateways survive whatever local programs push", async (t) => {
  await using network = await GatewayNetwork.start();
  const { alice: { local, program }, bob } = network;
  const { redis } = local;

  /** Waits until a request pushed now is answered: what came before was handled. */
  async function settled(): Promise<void> {
    assert.equal((await local.ask({ dst: [9], cmd: "rmb.version" })).err, null);
  }

  /** Takes what is in the list of invalid entries, the oldest first, as bytes. */
  async function takeInvalid(): Promise<string[]> {
    const entries: string[] = [];
    for (let i = await redis.lLen(INVALID); i > 0; i--) {
      // In hexadecimal: the client would decode it as text.
      entries.push(String(await redis.eval(TAKE_HEX, { keys: [INVALID] })));
    }
    return entries;
  }

  for (const [members, says] of wrongRequests) {
    await t.step(`an error for a request with ${Deno.inspect(members)}`, async () => {
      const ret = `replies.${crypto.randomUUID()}`;
      const request = JSON.stringify({ ...REQUEST, ret, ...members });
      await local.push(LOCAL, request);
      assert.deepEqual(await local.pop(ret), {
        ver: 1,
        ref: "ref" in members ? null : "my-ref",
        dat: "",
        src: "",
        shm: null,
        now: 0,
        err: { code: 500, message: `Cannot read the request: ${says}` },
      });
      assert.deepEqual(await takeInvalid(), [bufferOf(request).toString("hex")]);
    });
  }

  await t.step("what can't be answered is kept byte by byte, in order", async () => {
    for (const entry of unanswerable) await redis.lPush(LOCAL, bufferOf(entry));
    await settled();
    const expected = unanswerable.map((entry) => bufferOf(entry).toString("hex"));
    assert.deepEqual(await takeInvalid(), expected);
    await program.line(
      /(?:an entry|\d+ entries) of msgbus.system.local can't be read and (?:is|are) now in msgbus.system.invalid: it is not JSON$/,
    );
  });

  await t.step("responses that can't be read are kept too", async () => {
    for (const entry of wrongResponses) await redis.lPush(REPLY, bufferOf(entry));
    await until(async () => await redis.lLen(INVALID) === wrongResponses.length, "all of them");
    const expected = wrongResponses.map((entry) => bufferOf(entry).toString("hex"));
    assert.deepEqual(await takeInvalid(), expected);
    await settled();
    assert.equal(await redis.exists("replies.none"), 0); // They have no one to answer.
  });

  await t.step("an error for a request that has expired before it was taken", async () => {
    const { src, now, err } = await local.ask({ dst: [9], exp: 10, now: unixNow() - 10 });
    const expected = { code: 500, message: "request has expired" };
    assert.deepEqual({ src, now, err }, { src: "", now: 0, err: expected });
    assert.equal(await bob.local.redis.exists("msgbus.test.echo"), 0);
  });

  await t.step("no answers to the gateway's own keys", async () => {
    const own = [LOCAL, REPLY, INVALID, "msgbus.system.pending", "msgbus.backlog.x"];
    for (const ret of own) await local.push(LOCAL, { ...REQUEST, ret, dst: [99] });
    await until(async () => await redis.lLen(INVALID) === own.length, "all of them");
    await settled();
    assert.equal((await takeInvalid()).length, own.length);
    assert.equal(await redis.exists("msgbus.backlog.x"), 0);
    await program.line(/"ret" must not be one of the gateway's own keys/);
  });

  await t.step("responses to nobody, and to those who can't be reached", async () => {
    for (const src of ["0", "99", "30", "30:bot"]) {
      await local.respond({ ref: "uid", src, ret: REPLY }, {});
    }
    await program.line(/response uid to 99 was not sent: twin 99 is unknown/);
    await program.line(/response uid to 0 was not sent: twin 0 is unknown/);
    await settled();
  });

  await t.step("answers for a key that is no list are lost, and nothing else", async () => {
    await redis.set("text", "not a list");
    for (const dst of [[9], [99]]) await local.request({ dst, ret: "text", cmd: "rmb.version" });
    await settled();
    await program.line(/response \S+ from 9 is refused: WRONGTYPE/);
    await program.line(
      /an entry of msgbus.system.local can't be dealt with as it should: .*WRONGTYPE/,
    );
    assert.equal(await redis.get("text"), "not a list");
  });

  await t.step("an error for a request that Redis does not take", async () => {
    await redis.sendCommand(["ACL", "SETUSER", "default", "-set"]);
    const { src, ref, err } = await local.ask({ dst: [9], ref: "r" });
    await redis.sendCommand(["ACL", "SETUSER", "default", "+set"]);
    const expected = { code: 500, message: "Redis did not take the request" };
    assert.deepEqual({ src, ref, err }, { src: "", ref: "r", err: expected });
    await settled();
  });

  await t.step(
    "the list of invalid entries keeps the newest 1000, and the start of each",
    async () => {
      const entries = Array.from({ length: 1020 }, (_, i) => `bad ${i}`);
      await redis.lPush(LOCAL, [...entries, "x".repeat(100_000)]);
      await until(async () => await redis.lIndex(INVALID, -1) === "bad 21", "the last");
      assert.equal(await redis.lLen(INVALID), 1000);
      assert.equal(await redis.lIndex(INVALID, 0), "x".repeat(64 * 1024));
      await redis.del(INVALID);
      await settled();
    },
  );

  await t.step("a flood of mixed entries: each right one is answered once", async () => {
    const ret = "replies.mixed";
    const right = { ...REQUEST, ret, cmd: "rmb.version", now: 0 };
    const entries = Array.from(
      { length: 300 },
      (_, i) =>
        JSON.stringify(
          i % 3 === 0 ? { ...right, ref: `${i}` } : i % 3 === 1 ? null : { ...right, ver: i },
        ),
    );
    await redis.lPush(LOCAL, entries);
    const refs = new Map<string, Json>();
    for (let i = 0; i < 200; i++) {
      const { ref, src, err } = await local.pop(ret);
      if (src === "") assert.match(err.message, /"ver" must be 1/);
      else refs.set(ref, err);
    }
    assert.equal(refs.size, 100);
    assert.ok([...refs.values()].every((err) => err === null));
    await settled();
    assert.equal(await redis.exists(ret), 0);
  });
});

/** Pops the oldest entry of a list in hexadecimal. */
const TAKE_HEX = `
  return (redis.call("RPOP", KEYS[1]):gsub(".", function(c)
    return string.format("%02x", string.byte(c))
  end))`;
