/** What local programs see of requests and responses: every member of the JSON, in both directions. */
import { fromBinary } from "@bufbuild/protobuf";
import { RESP_TYPES } from "@redis/client";
import { unixNow } from "@rmb/protocol";
import assert from "node:assert/strict";
import manifest from "../peer/deno.json" with { type: "json" };
import { BacklogSchema } from "../peer/gen/peer_pb.ts";
import { until } from "./fixtures/deadline.ts";
import { CAROL, GatewayNetwork, type TestGateway } from "./fixtures/gateway_network.ts";
import { base64Of, type Json, type LocalProgram, textOf } from "./fixtures/local_program.ts";
import { ALICE, BOB } from "./fixtures/network.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Serves one request with an echo. */
async function echo({ local }: TestGateway, command = "test.echo"): Promise<Json> {
  const request = await local.pop(`msgbus.${command}`);
  await local.respond(request, { dat: request.dat });
  return request;
}

/** Checks a Unix time of now, give or take what a slow machine needs. */
function checkNow(time: unknown): void {
  assert.ok(Number.isInteger(time));
  assert.ok(Math.abs(unixNow() - (time as number)) <= 10, `${time}`);
}

/** A request and its response, with every member that there is. */
async function checkExchange(from: TestGateway, to: TestGateway): Promise<void> {
  const now = unixNow();
  const dat = base64Of("[19,23]");
  const ret = await from.local.request({
    ref: "my-ref",
    cmd: "calculator.add",
    exp: 120,
    dat,
    tag: "a,b",
    dst: [to.twin.id],
    shm: "application/json",
    now,
  });
  const request = await to.local.pop("msgbus.calculator.add");
  assert.match(request.ref, UUID);
  assert.equal(request.now + request.exp, now + 120);
  checkNow(request.now);
  assert.deepEqual(request, {
    ver: 1,
    ref: request.ref,
    src: `${from.twin.id}`,
    cmd: "calculator.add",
    exp: request.exp,
    dat,
    tag: "a,b",
    ret: "msgbus.system.reply",
    shm: "application/json",
    now: request.now,
  });
  await checkBacklog(from.local, request.ref, { reference: "my-ref", replyTo: ret, seconds: 120 });

  const answer = { dat: base64Of("42"), shm: "application/x", now: unixNow(), err: null };
  await to.local.respond(request, answer);
  const response = await from.local.pop(ret);
  assert.equal(await from.local.redis.exists(`msgbus.backlog.${request.ref}`), 0); // It is over.
  checkNow(response.now);
  assert.deepEqual(response, {
    ver: 1,
    ref: "my-ref",
    dat: base64Of("42"),
    src: `${to.twin.id}`,
    shm: "application/x",
    now: response.now,
    err: null,
  });
}

/** What the reference keeps of a request too, and how long. */
async function checkBacklog(
  { redis }: LocalProgram,
  uid: string,
  { reference, replyTo, seconds }: { reference: string; replyTo: string; seconds: number },
): Promise<void> {
  const stored = await redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
    .get(`msgbus.backlog.${uid}`);
  const backlog = fromBinary(BacklogSchema, stored!);
  assert.deepEqual([backlog.uid, backlog.reference, backlog.replyTo], [uid, reference, replyTo]);
  assert.ok(backlog.ttl <= seconds && backlog.ttl > seconds - 10, `${backlog.ttl}`);
  // Longer: should the gateway be away when it ends, the next one can still say so.
  const left = await redis.ttl(`msgbus.backlog.${uid}`) - 24 * 3600;
  assert.ok(left <= seconds && left > seconds - 10, `${left}`);
}

Deno.test("gateways carry requests and responses between local programs", async (t) => {
  await using network = await GatewayNetwork.start({ args: ["-dd"] });
  const { alice, bob } = network;

  await t.step("with every member, from sr25519 to ed25519 and back", async () => {
    await checkExchange(alice, bob);
    await checkExchange(bob, alice);
  });

  await t.step("null for what the request leaves out", async () => {
    const ret = await alice.local.request({ dst: [9], shm: null });
    const { tag, shm, dat, ...request } = await bob.local.pop("msgbus.test.echo");
    assert.deepEqual({ tag, shm, dat }, { tag: null, shm: null, dat: "" });
    await bob.local.respond(request, { shm: null });
    const { ref, shm: schema, err, dat: payload } = await alice.local.pop(ret);
    assert.deepEqual({ ref, schema, err, payload }, {
      ref: null,
      schema: null,
      err: null,
      payload: "",
    });
  });

  await t.step("and want no answer where the reply list is empty", async () => {
    await alice.local.request({ dst: [9, 999], ret: "" });
    const request = await bob.local.pop("msgbus.test.echo");
    await bob.local.respond(request, { dat: "" });
    await alice.local.request({ dst: [9], cmd: "test.next" });
    await bob.local.pop("msgbus.test.next");
    assert.deepEqual(await alice.local.redis.keys("msgbus.backlog.*" + request.ref), []);
    assert.equal(await alice.local.redis.exists(""), 0);
  });

  await t.step("to several destinations, itself too, under one uid", async () => {
    const ret = await alice.local.request({ dst: [7, 9, 7], ref: "several" });
    const [own, other] = await Promise.all([echo(alice), echo(bob)]);
    assert.equal(own.ref, other.ref);
    assert.deepEqual([own.src, other.src], ["7", "7"]);
    const answers = [await alice.local.pop(ret), await alice.local.pop(ret)];
    assert.deepEqual(answers.map(({ src }) => src).sort(), ["7", "9"]);
    assert.deepEqual(answers.map(({ ref }) => ref), ["several", "several"]);
  });

  await t.step("errors of services, without their payload", async () => {
    const ret = await alice.local.request({ dst: [9], ref: "r" });
    const request = await bob.local.pop("msgbus.test.echo");
    const err = { code: 42, message: "no ✗" };
    await bob.local.respond(request, { dat: "not read", err });
    const { now, ...error } = await alice.local.pop(ret);
    checkNow(now);
    assert.deepEqual(error, { ver: 1, ref: "r", dat: "", src: "9", shm: "application/json", err });
  });

  await t.step("text of any script, and bytes of any kind", async () => {
    const text = "grüße \u0000 漢字 \u{1f980}";
    const ret = await alice.local.request({
      dst: [9],
      cmd: "grüße.漢",
      ref: text,
      tag: text,
      shm: text,
      dat: base64Of(text),
    });
    const request = await echo(bob, "grüße.漢");
    assert.deepEqual([request.cmd, request.tag, request.shm], ["grüße.漢", text, text]);
    const response = await alice.local.pop(ret);
    assert.deepEqual([response.ref, textOf(response.dat)], [text, text]);
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i).toBase64();
    const asked = alice.local.ask({ dst: [9], dat: bytes });
    await echo(bob);
    assert.equal((await asked).dat, bytes);
  });

  await t.step("payloads of 1 MiB", async () => {
    const dat = new Uint8Array(1024 * 1024).map((_, i) => i * i >> 3).toBase64();
    const asked = alice.local.ask({ dst: [9], dat });
    assert.equal((await echo(bob)).dat, dat);
    assert.equal((await asked).dat, dat);
  });

  await t.step("with members that nobody knows", async () => {
    const asked = alice.local.ask({ dst: [9], src: "8", uid: 7, err: "x", more: { a: [1] } });
    const request = await bob.local.pop("msgbus.test.echo");
    assert.equal(request.src, "7");
    assert.ok(!("more" in request));
    await bob.local.respond(request, { cmd: 7, exp: "x", ret: null, more: 1 });
    assert.equal((await asked).err, null);
  });

  await t.step("of programs that push right and services that pop left", async () => {
    const ret = await alice.local.request({ dst: [9], cmd: "left" }, "right");
    const request = await bob.local.pop("msgbus.left", "left");
    await bob.local.push(
      request.ret,
      { ver: 1, ref: request.ref, dat: "", dst: "7", now: 0 },
      "right",
    );
    assert.equal((await alice.local.pop(ret, "left")).src, "9");
  });

  await t.step("in order, first in, first out", async () => {
    const ret = "replies.in-order";
    for (let i = 0; i < 50; i++) {
      await alice.local.request({ dst: [9], ref: `${i}`, cmd: "order", ret });
    }
    for (let i = 0; i < 50; i++) await echo(bob, "order");
    const refs: string[] = [];
    for (let i = 0; i < 50; i++) refs.push((await alice.local.pop(ret)).ref);
    assert.deepEqual(refs, Array.from({ length: 50 }, (_, i) => `${i}`));
  });

  await t.step("lives of 300 s for 0, of 1800 s at most, and from `now` on", async () => {
    const now = unixNow();
    const deadline = async (members: Json) => {
      await alice.local.request({ dst: [9], cmd: "life", ...members });
      const request = await bob.local.pop("msgbus.life");
      checkNow(request.now);
      return request.exp + request.now;
    };
    const near = (time: number, expected: number) =>
      assert.ok(time >= expected && time <= expected + 10, `${time - now}`);
    near(await deadline({ exp: 0 }), now + 300);
    near(await deadline({ exp: 0, now: 0 }), now + 300);
    near(await deadline({ exp: 1_000_000 }), now + 1800);
    near(await deadline({ exp: 60, now: now * 1000 }), now + 60);
    assert.equal(await deadline({ exp: 60, now: now - 40 }), now + 20);
    const left = await alice.local.redis.keys("msgbus.backlog.*");
    assert.ok(left.length > 5, "backlogs stay until they expire");
  });

  await t.step(
    "requests that no service takes are dropped when they have long expired",
    async () => {
      await alice.local.request({ dst: [9], cmd: "nobody" });
      await until(async () => await bob.local.redis.exists("msgbus.nobody") === 1, "the request");
      const left = await bob.local.redis.ttl("msgbus.nobody");
      assert.ok(left > 3500 && left <= 3600, `${left}`);
    },
  );

  await t.step("rmb.version, which the gateway answers itself", async () => {
    const { now, ...answer } = await alice.local.ask({ dst: [9], cmd: "rmb.version", ref: "v" });
    checkNow(now);
    const dat = base64Of(JSON.stringify(manifest.version));
    const expected = { ver: 1, ref: "v", dat, src: "9", shm: "application/json", err: null };
    assert.deepEqual(answer, expected);
    assert.equal(await bob.local.redis.exists("msgbus.rmb.version"), 0);
  });

  await t.step("an error for other commands of the gateway's", async () => {
    for (const cmd of ["rmb.", "rmb.versions", "rmb.version.x"]) {
      const { src, err, dat } = await alice.local.ask({ dst: [9], cmd });
      const expected = { code: 0, message: `no such command: ${cmd}` };
      assert.deepEqual({ src, err, dat }, { src: "9", err: expected, dat: "" });
    }
    const asked = alice.local.ask({ dst: [9], cmd: "rmb" });
    await echo(bob, "rmb"); // Only what is behind a dot is a command of the gateway's.
    assert.equal((await asked).err, null);
  });

  await t.step("no command that would be one of the gateway's own lists", async () => {
    for (const cmd of ["system.local", "system.reply", "system.invalid", "system", "backlog.x"]) {
      const { src, err } = await alice.local.ask({ dst: [9], cmd });
      const expected = { code: 0, message: `command is reserved: ${cmd}` };
      assert.deepEqual({ src, err }, { src: "9", err: expected });
      assert.equal(await bob.local.redis.exists(`msgbus.${cmd}`), 0, cmd);
    }
  });

  await t.step("an error of the gateway itself for a twin that is unknown", async () => {
    const asked = alice.local.ask({ dst: [99], ref: "r" });
    const err = { code: 103, message: "twin 99 is unknown" };
    const expected = { ver: 1, ref: "r", dat: "", src: "", shm: null, now: 0, err };
    assert.deepEqual(await asked, expected);
  });

  await t.step("to the other destinations when one is unknown", async () => {
    const ret = await alice.local.request({ dst: [99, 9, 98], ref: "r" });
    await echo(bob);
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await alice.local.pop(ret));
    assert.deepEqual(answers.map(({ src, err }) => [src, err?.code]).sort(), [
      ["", 103],
      ["", 103],
      ["9", undefined],
    ]);
  });

  await t.step("an error of the relay as from 0", async () => {
    const { now, ...error } = await alice.local.ask({ dst: [CAROL.id], ref: "r" });
    checkNow(now);
    const err = { code: 0, message: "relay info is not set for this twin" };
    assert.deepEqual(error, { ver: 1, ref: "r", dat: "", src: "0", shm: null, err });
  });

  await t.step("no response that nobody waits for", async () => {
    const before = await alice.local.redis.keys("*");
    const ref = crypto.randomUUID();
    await bob.local.respond({ ref, src: "7", ret: "msgbus.system.reply" }, { dat: "AA==" });
    await alice.program.line(new RegExp(`response ${ref} from 9 answers nothing that waits`));
    const after = await alice.local.redis.keys("*");
    assert.deepEqual(after.filter((key) => !before.includes(key)), []);
  });

  await t.step("an error for a request that can't be handed over", async () => {
    await bob.local.redis.set("msgbus.text", "not a list");
    const { src, err } = await alice.local.ask({ dst: [9], cmd: "text" });
    const expected = { code: 0, message: "request can't be handed over now" };
    assert.deepEqual({ src, err }, { src: "9", err: expected });
  });

  await t.step("and leave nothing in lists that were read, nor a secret in any log", async () => {
    for (const { local, twin, program } of [alice, bob]) {
      const isEmpty = async (list: string) => await local.redis.lLen(`msgbus.system.${list}`) === 0;
      for (const list of ["local", "reply", "invalid"]) await until(() => isEmpty(list), list);
      assert.ok(program.lines.length > 3, `the gateway of ${twin.id} logs`);
    }
    const keys = [...await alice.local.redis.keys("*"), ...await bob.local.redis.keys("*")];
    const kept = /^msgbus\.(?:backlog\.|nobody$|text$|system\.(?:asked\.|gateway|pending|seen))/;
    const isKnown = (key: string) => kept.test(key) || key.endsWith(".working");
    assert.deepEqual(keys.filter((key) => !isKnown(key)), []);
    for (const { local } of [alice, bob]) {
      for (const list of ["local", "reply"]) {
        const isDone = async () => await local.redis.xLen(`msgbus.system.${list}.working`) === 0;
        await until(isDone, `nothing of ${list} in hand`);
      }
    }
    const log = [alice.program, bob.program, network.relay.program].flatMap(({ lines }) => lines)
      .join("\n");
    for (const { secret } of [ALICE, BOB]) {
      const words = secret.split(" ");
      for (let i = 1; i < words.length; i++) {
        assert.ok(!log.includes(`${words[i - 1]} ${words[i]}`), "a mnemonic is in a log");
      }
    }
    assert.ok(!/grüße \\u0000 漢字|\[19,23\]/.test(log), "a payload is in a log");
  });
});
