/** A twin that speaks the protocol itself, well or badly: what a gateway makes of its envelopes. */
import {
  decodeEnvelope,
  encodeEnvelope,
  type Envelope,
  type EnvelopeInit,
  formatHex,
  type Session,
  unixNow,
  verifyEnvelope,
} from "@rmb/protocol";
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import {
  CAROL,
  encryptionOf,
  GatewayNetwork,
  keypairOf,
  signedByCarol,
} from "./fixtures/gateway_network.ts";
import { base64Of } from "./fixtures/local_program.ts";
import { ALICE, BOB } from "./fixtures/network.ts";

const PLAIN = new TextEncoder().encode("[1,2]");
const carol = encryptionOf(CAROL);

const request = (command: string, fields: EnvelopeInit = {}): EnvelopeInit => ({
  message: { case: "request", value: { command } },
  payload: { case: "plain", value: PLAIN },
  ...fields,
});

const cipher = (value: Uint8Array): EnvelopeInit => ({ payload: { case: "cipher", value } });

/** Checks that an envelope is an answer of BOB's gateway, signed by it, and gives its error. */
async function errorOf(answer: Envelope, to: Session): Promise<[code: number, message: string]> {
  assert.ok(await verifyEnvelope(answer, keypairOf(BOB).publicKey), "the signature holds");
  const { source, destination, message, timestamp, expiration, schema, payload } = answer;
  assert.deepEqual([source?.twin, source?.connection], [BOB.id, undefined]);
  assert.deepEqual([destination?.twin, destination?.connection], [to.twin, to.connection]);
  assert.ok(Math.abs(unixNow() - Number(timestamp)) <= 10);
  assert.equal(expiration, 300n);
  assert.equal(schema, "application/json");
  assert.equal(payload.case, undefined);
  if (message.case !== "error") throw new Error(`${message.case} instead of an error`);
  return [message.value.code, message.value.message];
}

Deno.test("gateways stand what another twin sends", async (t) => {
  await using network = await GatewayNetwork.start({ args: ["-d"] });
  const { alice, bob } = network;
  await using session = await network.connect();

  /** Sends a request and gives the error that BOB's gateway answers with. */
  async function refused(fields: EnvelopeInit, signer = CAROL): Promise<[number, string]> {
    const uid = crypto.randomUUID();
    session.send(
      await signedByCarol({ ...request("test.echo"), uid, tags: "a b", ...fields }, signer),
    );
    const answer = await session.nextEnvelope();
    assert.deepEqual([answer.uid, answer.tags], [uid, "a b"]);
    return await errorOf(answer, session.session);
  }

  /** Waits until BOB's gateway has handled what was sent before. */
  async function settled(): Promise<void> {
    session.send(await signedByCarol(request("rmb.version")));
    assert.equal((await session.nextEnvelope()).message.case, "response");
  }

  /** Makes the twins file say something of CAROL, and waits until BOB's gateway knows. */
  async function publish(change: object, isKnown: () => Promise<boolean>): Promise<void> {
    await network.changeTwin(CAROL, change);
    await until(isKnown, "the change known to the gateway");
  }

  await t.step("a request and its response, not encrypted to a twin without a pk", async () => {
    const uid = "any text may be a uid";
    session.send(await signedByCarol(request("test.echo", { uid, expiration: 60n })));
    const received = await bob.local.pop("msgbus.test.echo");
    const { now } = received;
    const dat = base64Of("[1,2]");
    const shm = "application/json";
    assert.deepEqual(received, {
      ver: 1,
      ref: uid,
      src: "30",
      cmd: "test.echo",
      exp: 60,
      dat,
      tag: null,
      ret: "msgbus.system.reply",
      shm,
      now,
    });
    await bob.local.respond(received, { dat });
    const response = await session.nextEnvelope();
    assert.ok(await verifyEnvelope(response, keypairOf(BOB).publicKey));
    assert.deepEqual([response.uid, response.message.case, response.schema], [
      uid,
      "response",
      shm,
    ]);
    assert.deepEqual(response.payload, { case: "plain", value: PLAIN });
    assert.ok(response.expiration <= 1800n && response.expiration > 1790n);
  });

  await t.step("a response lives from the `now` of its service on", async () => {
    for (
      const [nowOf, life] of [
        [() => unixNow() - 100, 1700n],
        [() => unixNow() + 100, 1800n],
        [() => 0, 1800n],
      ] as const
    ) {
      session.send(await signedByCarol(request("test.echo")));
      await bob.local.respond(await bob.local.pop("msgbus.test.echo"), { now: nowOf() });
      const { timestamp, expiration } = await session.nextEnvelope();
      assert.ok(Math.abs(unixNow() - Number(timestamp)) <= 10);
      assert.ok(expiration <= life && expiration > life - 10n, `${expiration}`);
    }
  });

  await t.step("102: a request that has expired", async () => {
    const timestamp = BigInt(unixNow() - 60);
    assert.deepEqual(await refused({ timestamp }), [102, "message has expired"]);
    assert.deepEqual(await refused({ expiration: 0n }), [102, "message has expired"]);
  });

  await t.step("104: a request that someone else signed", async () => {
    const expected = [104, "signature does not hold for the account of twin 30"];
    assert.deepEqual(await refused({}, ALICE), expected);
    assert.deepEqual(await refused({}, BOB), expected);
  });

  await t.step("105: a cipher from a twin without a pk", async () => {
    const value = await carol.encrypt(PLAIN, encryptionOf(BOB).publicKey);
    assert.deepEqual(await refused(cipher(value)), [105, "twin 30 has no pk to decrypt with"]);
  });

  await t.step("106: a cipher that can't be decrypted", async () => {
    const garbled = cipher(new Uint8Array(40));
    const pk = formatHex(carol.publicKey);
    await publish({ pk }, async () => (await refused(garbled))[0] === 106);
    assert.deepEqual(
      await refused(garbled),
      [106, "Cannot decrypt: altered, or encrypted for another key"],
    );
    const forAlice = cipher(await carol.encrypt(PLAIN, encryptionOf(ALICE).publicKey));
    assert.equal((await refused(forAlice))[0], 106);
    assert.equal((await refused(cipher(new Uint8Array(3))))[0], 106);
  });

  await t.step("encrypted both ways once there is a pk", async () => {
    const { publicKey } = encryptionOf(BOB);
    const sealed = cipher(await carol.encrypt(PLAIN, publicKey));
    session.send(await signedByCarol(request("test.echo", sealed)));
    const received = await bob.local.pop("msgbus.test.echo");
    assert.equal(received.dat, base64Of("[1,2]"));
    await bob.local.respond(received, { dat: base64Of("3") });
    const { payload } = await session.nextEnvelope();
    assert.equal(payload.case, "cipher");
    const plain = await carol.decrypt(payload.value!, publicKey);
    assert.deepEqual(plain, new TextEncoder().encode("3"));
  });

  await t.step("commands that are the gateway's own keys", async () => {
    const stored = base64Of(JSON.stringify({ ver: 1, cmd: "x", dst: [7] }));
    for (const command of ["system.local", "system.reply", "system", "backlog.x", "backlog"]) {
      const payload = { case: "plain", value: new TextEncoder().encode(stored) } as const;
      const expected = [0, `command is reserved: ${command}`];
      assert.deepEqual(await refused(request(command, { payload })), expected);
      assert.equal(await bob.local.redis.exists(`msgbus.${command}`), 0);
    }
    assert.deepEqual(await refused(request("rmb.x")), [0, "no such command: rmb.x"]);
  });

  await t.step("answers that are forged: only the right one is taken", async () => {
    const ret = await alice.local.request({ dst: [CAROL.id], ref: "r" });
    const { uid } = await session.nextEnvelope();
    const back: EnvelopeInit = {
      uid,
      destination: { twin: ALICE.id },
      message: { case: "response", value: {} },
      payload: { case: "plain", value: PLAIN },
    };
    const error: EnvelopeInit = {
      ...back,
      message: { case: "error", value: { code: 1, message: "" } },
    };
    for (const fields of [back, error]) {
      session.send(fields); // Not signed.
      session.send({ ...fields, source: { twin: 0 } }); // As a relay: it does not let that pass.
      session.send(await signedByCarol(fields, BOB));
      session.send(await signedByCarol({ ...fields, expiration: 0n }));
      session.send(await signedByCarol({ ...fields, uid: "another" }));
      session.send(await signedByCarol({ ...fields, ...cipher(new Uint8Array(40)) }));
    }
    session.send(await signedByCarol(back));
    const { src, ref, dat, err } = await alice.local.pop(ret);
    assert.deepEqual({ src, ref, dat, err }, {
      src: "30",
      ref: "r",
      dat: base64Of("[1,2]"),
      err: null,
    });
    assert.equal(await alice.local.redis.exists(ret), 0);
    const { lines } = alice.program;
    const refusals = lines.filter((line) => line.includes(`${uid} from 30 is refused: `));
    assert.equal(refusals.length, 8, refusals.join("\n"));
    // Neither is the right one taken twice.
    session.send(await signedByCarol(back));
    await alice.program.line(new RegExp(`response ${uid} from 30 answers nothing that waits`));
    assert.equal(await alice.local.redis.exists(ret), 0);
  });

  await t.step(
    "sessions: `con` asks one of them, and answers go to the one that asked",
    async () => {
      await using bot = await network.connect("bot");
      const ret = await alice.local.request({ dst: [CAROL.id], con: "bot", cmd: "for.bot" });
      const asked = await bot.nextEnvelope();
      assert.equal(asked.destination?.connection, "bot");
      bot.send(
        await signedByCarol({
          uid: asked.uid,
          source: bot.session,
          destination: { twin: ALICE.id },
          message: { case: "response", value: {} },
        }),
      );
      assert.equal((await alice.local.pop(ret)).src, "30:bot");

      bot.send(await signedByCarol(request("test.echo", { source: bot.session })));
      const received = await bob.local.pop("msgbus.test.echo");
      assert.equal(received.src, "30:bot");
      await bob.local.respond(received, { err: { code: 7, message: "no" } });
      const { message, uid, destination } = await bot.nextEnvelope();
      assert.equal(uid, received.ref);
      assert.equal(destination?.connection, "bot");
      assert.deepEqual(message.case === "error" && [message.value.code, message.value.message], [
        7,
        "no",
      ]);
      bot.send(await signedByCarol(request("x", { source: bot.session, expiration: 0n })));
      assert.equal((await errorOf(await bot.nextEnvelope(), bot.session))[0], 102);
      assert.deepEqual(await session.settled(), []); // None of it came here.
    },
  );

  await t.step("text that would forge lines of the log", async () => {
    const uid = "x\n2000-01-01T00:00:00Z [INF] rmb·peer: forged\u001b[2J";
    session.send(await signedByCarol({ ...request("test.echo"), uid, expiration: 0n }));
    assert.equal((await session.nextEnvelope()).uid, uid);
    await bob.program.line(/request x\\u000a2000-.*forged\\u001b\[2J from 30 is refused/);
    assert.ok(!bob.program.lines.some((line) => line.startsWith("2000-01-01")));
    const long = "long".repeat(100_000);
    session.send(await signedByCarol({ ...request("test.echo"), uid: long, expiration: 0n }));
    assert.equal((await session.nextEnvelope()).uid, long);
    assert.ok((await bob.program.line(/request longlong.*… from 30 is refused/)).length < 2000);
  });

  await t.step("envelopes of every kind, and numbers as large as they get", async () => {
    // Beyond an hour nothing counts: so long copies are known.
    const max = 2n ** 64n - 1n;
    const ahead = await refused({ timestamp: max, expiration: max });
    assert.deepEqual(ahead, [500, "message is of a time more than an hour ahead"]);
    const kinds = ["ping", "pong", "response"] as const;
    for (const kind of kinds) {
      session.send(await signedByCarol({ message: { case: kind, value: {} } }));
    }
    session.send(await signedByCarol({}));
    session.send(await signedByCarol(request("test.max", { expiration: max })));
    assert.equal((await bob.local.pop("msgbus.test.max")).exp, 3600);
    // The ping went no further than the relay, which answers.
    assert.deepEqual((await session.settled()).map(({ message }) => message.case), ["pong"]);
  });

  await t.step(
    "a flood of bad requests: each is answered, and a good one gets through",
    async () => {
      const bad = await signedByCarol(request("test.echo"), ALICE);
      const count = 4000; // More than wait at once to be handled.
      for (let i = 0; i < count; i++) session.send(bad);
      session.send(await signedByCarol(request("test.echo", { uid: "good" })));
      assert.equal((await bob.local.pop("msgbus.test.echo")).ref, "good");
      const answers = (await session.take(count)).map((bytes) => decodeEnvelope(bytes));
      assert.ok(answers.every(({ message }) => message.case === "error"));
    },
  );

  await t.step(
    "copies that are altered where the signature does not tell: one is taken",
    async () => {
      await using empty = await network.connect("");
      const uid = "12345678";
      const command = "test.altered";
      const bytes = await signedByCarol(request(command, { uid }));
      session.send(bytes);
      assert.equal((await bob.local.pop(`msgbus.${command}`)).ref, uid);
      const altered = decodeEnvelope(bytes);
      for (const length of [5, 0]) {
        Object.assign(altered, { uid: uid.slice(0, length), tags: uid.slice(length) });
        session.send(encodeEnvelope(altered));
      }
      Object.assign(altered, { uid, tags: undefined });
      altered.source!.connection = "";
      empty.send(encodeEnvelope(altered));
      // Behind each of them in its lane.
      session.send(await signedByCarol(request(command, { uid: "next" })));
      empty.send(await signedByCarol(request(command, { uid: "last", source: empty.session })));
      const refs = [
        await bob.local.pop(`msgbus.${command}`),
        await bob.local.pop(`msgbus.${command}`),
      ]
        .map(({ ref }) => ref);
      assert.deepEqual(refs.toSorted(), ["last", "next"]);
    },
  );

  await t.step("commands as long as they get", async () => {
    const longest = "x".repeat(1024);
    session.send(await signedByCarol(request(longest)));
    assert.equal((await bob.local.pop(`msgbus.${longest}`)).cmd, longest);
    const expected = [0, "command is longer than 1024 characters"];
    assert.deepEqual(await refused(request(`${longest}x`)), expected);
  });

  await t.step("nothing of all this in any list, but what no service took", async () => {
    await settled();
    const keys = (await bob.local.redis.keys("*")).filter((key) =>
      !/^(?:msgbus\.backlog\.|msgbus\.system\.(?:gateway|seen|.*\.working)$|replies\.)/.test(key)
    );
    assert.deepEqual(keys, []);
  });

  await t.step("103: a twin that the gateway does not know", async () => {
    await network.changeTwin(CAROL, null);
    // A wrong signature is answered by 104 until the gateway knows that there is no such twin.
    await until(async () => (await refused({}, ALICE))[0] !== 104, "the twin gone");
    assert.deepEqual(await refused({}), [103, "twin 30 is unknown"]);
  });
});
