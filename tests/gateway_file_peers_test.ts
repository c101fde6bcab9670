/** Files to and from a twin that speaks the protocol itself: as the reference does, or badly. */
import { decodeEnvelope, type Envelope, type EnvelopeInit } from "@rmb/protocol";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { FileNetwork } from "./fixtures/file_network.ts";
import { CAROL, signedByCarol } from "./fixtures/gateway_network.ts";
import { textOf } from "./fixtures/local_program.ts";
import { ALICE } from "./fixtures/network.ts";
import type { TestSession } from "./fixtures/test_session.ts";

/** What the reference sends in one message. */
const CHUNK = 512 * 1024;
const GIB = 1024 ** 3;

const bytesOf = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

/** A request of CAROL's to BOB's gateway. */
function request(uid: string, command: string, payload: Uint8Array): Promise<Uint8Array> {
  return signedByCarol({
    uid,
    message: { case: "request", value: { command } },
    payload: { case: "plain", value: payload },
  });
}

/** Sends a request, and gives what is answered: the text of a result, or of an error. */
async function ask(
  session: TestSession,
  uid: string,
  command: string,
  payload: Uint8Array,
): Promise<string> {
  session.send(await request(uid, command, payload));
  const { uid: answered, message, payload: result } = await session.nextEnvelope();
  assert.equal(answered, uid);
  return message.case === "error"
    ? `${message.value.code} ${message.value.message}`
    : new TextDecoder().decode(result.value);
}

/** Sends a file as the reference does: three commands with one uid, of which it hears but the first. */
async function sendAsReference(session: TestSession, size: number, chunks: Uint8Array[]) {
  const uid = crypto.randomUUID();
  const negotiated = await ask(session, uid, "file.negotiate", bytesOf({ size, cmd: "files.got" }));
  assert.equal(negotiated, "null");
  for (const chunk of chunks) session.send(await request(uid, "file.write", chunk));
  session.send(await request(uid, "file.close", new Uint8Array()));
  return uid;
}

Deno.test("a peer that speaks the reference's form", async (t) => {
  await using files = await FileNetwork.start();
  const { alice, bob } = files;
  await using session = await files.network.connect();

  await t.step("sends a file", async () => {
    const content = randomBytes(3 * CHUNK + 17);
    const chunks = [0, 1, 2, 3].map((i) => content.slice(i * CHUNK, (i + 1) * CHUNK));
    const upload = await sendAsReference(session, content.length, chunks);
    const { src, dat } = await bob.local.pop("msgbus.files.got");
    const { path, ...json } = JSON.parse(textOf(dat));
    const sha256 = sha256Of(content);
    assert.equal(src, `${CAROL.id}`);
    assert.deepEqual(json, { size: content.length, sha256, name: null, upload });
    assert.equal(sha256Of(await Deno.readFile(path)), sha256);
    // An answer to any chunk would have come by now: the reference would take it for a new start.
    assert.match(await ask(session, "v", "rmb.version", new Uint8Array()), /^"\d/);
  });

  await t.step("is told once that what it sends is too much or too little", async () => {
    for (const [size, error] of [[10, /beyond the 10 bytes/], [12, /has 11 bytes, not the 12/]]) {
      const chunk = new Uint8Array(11);
      const uid = await sendAsReference(session, size as number, [chunk]);
      const { uid: answered, message } = await session.nextEnvelope();
      assert.equal(answered, uid);
      if (message.case !== "error") throw new Error(`${message.case} instead of an error`);
      assert.match(message.value.message, error as RegExp);
      if (size === 10) assert.equal((await session.nextEnvelope()).message.case, "error"); // The end.
    }
    assert.equal(files.filesOf(bob).length, 1, "the one that is complete");
  });

  await t.step("takes a file, and no more of it at once than it has said it has read", async () => {
    const size = 20 * CHUNK + 5;
    const { path, sha256 } = await files.makeFile("a file.bin", size);
    const ret = await files.upload({ path, cmd: "files.got" }, { dst: [CAROL.id] });
    const answer = async ({ uid }: Envelope, fields: EnvelopeInit = {}) =>
      session.send(
        await signedByCarol({
          uid,
          destination: { twin: ALICE.id },
          message: { case: "response", value: {} },
          ...fields,
        }),
      );
    const hash = createHash("sha256");
    const commands: string[] = [];
    let offered: Envelope | undefined;
    let unread = 0;
    while (commands.at(-1) !== "file.close") {
      const envelope = decodeEnvelope(await session.next());
      const { message, payload } = envelope;
      if (message.case !== "request") throw new Error(`${message.case} instead of a request`);
      const { command } = message.value;
      if (command === "rmb.version") {
        unread = 0;
        await answer(envelope, { payload: { case: "plain", value: bytesOf("1.0.0") } });
        continue;
      }
      commands.push(command);
      if (command === "file.negotiate") {
        offered = envelope;
        const { size: offeredSize, cmd } = JSON.parse(new TextDecoder().decode(payload.value));
        assert.deepEqual([offeredSize, cmd], [size, "files.got"]);
        await answer(envelope);
      } else {
        assert.equal(envelope.uid, offered!.uid);
        hash.update(payload.value ?? new Uint8Array());
        assert.ok(++unread <= 9, `${unread} messages on their way`);
      }
    }
    const writes = Array.from({ length: 21 }, () => "file.write");
    assert.deepEqual(commands, ["file.negotiate", ...writes, "file.close"]);
    assert.equal(hash.digest("hex"), sha256);
    await answer(await session.nextEnvelope()); // How far it has come, once more.
    const { id, last, error } = await files.answers(ret);
    assert.equal(error, null);
    assert.equal(id, offered!.uid);
    assert.deepEqual(last, { done: true, size, sha256, verified: false });
  });

  await t.step("or refuses it", async () => {
    const { path } = await files.makeFile("a file.bin", 5);
    const ret = await files.upload({ path }, { dst: [CAROL.id] });
    const { uid } = await session.nextEnvelope();
    const error = { code: 0, message: "upload is not enabled" };
    session.send(
      await signedByCarol({
        uid,
        destination: { twin: ALICE.id },
        message: { case: "error", value: error },
      }),
    );
    const { error: told, id } = await files.answers(ret);
    assert.deepEqual([told.message, id], ["upload is not enabled", undefined]);
    assert.deepEqual(files.filesOf(alice), []);
  });
});

Deno.test("a peer gets no further than it may", async () => {
  await using files = await FileNetwork.start();
  const { bob } = files;
  await using session = await files.network.connect();
  const offer = (more = {}) => bytesOf({ size: 5, acknowledge: true, ...more });
  const id = crypto.randomUUID();
  assert.equal(await ask(session, id, "file.negotiate", offer()), '{"offset":0}');
  const cases: readonly [uid: string, command: string, payload: Uint8Array, answer: RegExp][] = [
    ["../../escaped", "negotiate", offer(), /^0 .*its uid must be a UUID/],
    [`../${id}`, "write", new Uint8Array(1), /^0 .*its uid must be a UUID/],
    [`${id}/../../escaped`, "close", new Uint8Array(1), /^0 .*its uid must be a UUID/],
    [crypto.randomUUID(), "negotiate", offer({ size: 17 * GIB }), /^0 a file of .* is too large/],
    [crypto.randomUUID(), "negotiate", offer({ cmd: "system.reply" }), /^0 command is reserved/],
    [crypto.randomUUID(), "negotiate", bytesOf([]), /^0 request can't be read: /],
    [`${crypto.randomUUID()}/0`, "write", new Uint8Array(1), /^500 no such upload/],
    [`${id}/3`, "write", new Uint8Array(3), /^0 chunk goes beyond the 5 bytes/],
    [`${id}/3`, "write", new Uint8Array(2), /^\{"offset":0\}$/],
    [`${id}/0`, "write", new Uint8Array(2), /^\{"offset":2\}$/],
    [`${id}/0`, "write", new Uint8Array(2), /^\{"offset":2\}$/],
    [`${id}/1`, "write", new Uint8Array(4), /^\{"offset":5\}$/],
    [`${id}/close`, "close", bytesOf({ size: 5, sha256: "00".repeat(32) }), /^0 file has SHA-256 /],
    [`${id}/close`, "close", bytesOf({ size: 5, sha256: "00".repeat(32) }), /^500 no such upload/],
    [crypto.randomUUID(), "upload", offer(), /^0 no such command: file\.upload/],
  ];
  for (const [uid, command, payload, answer] of cases) {
    assert.match(await ask(session, uid, `file.${command}`, payload), answer);
  }
  for (let i = 1; i <= 5; i++) {
    const answer = await ask(session, crypto.randomUUID(), "file.negotiate", offer());
    assert.match(answer, i < 5 ? /^\{"offset":0\}$/ : /^0 too many uploads at once from twin 30/);
  }
  const { folder } = files.network.network;
  const found = [...Deno.readDirSync(folder)].map(({ name }) => name);
  assert.deepEqual(found.filter((name) => name.includes("escaped")), []);
  assert.deepEqual(files.filesOf(bob), []);
});
