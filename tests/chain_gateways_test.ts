/** Gateways and a relay whose twins are on a chain, and what becomes of them when that fails. */
import { formatHex } from "@rmb/protocol";
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
import type { TestRelay, TestTwin } from "./fixtures/network.ts";
import type { TestSession } from "./fixtures/test_session.ts";

const CHAIN = { blockTime: 200 };

/** The value of one of a relay's metrics. */
async function metric({ http }: TestRelay, name: string): Promise<number> {
  const text = await (await fetch(`${http}/metrics`)).text();
  const line = text.split("\n").find((line) => line.startsWith(`${name} `));
  assert.ok(line, `${name} is missing`);
  return Number(line.slice(name.length));
}

async function health({ http }: TestRelay): Promise<[status: number, body: string]> {
  const response = await fetch(`${http}/health`);
  return [response.status, await response.text()];
}

/** Asks BOB for his version as CAROL; gives the kind of the answer, or the code of the error. */
async function askBob(session: TestSession, signer: TestTwin): Promise<string | number> {
  const message = { case: "request", value: { command: "rmb.version" } } as const;
  session.send(await signedByCarol({ message }, signer));
  const answer = (await session.nextEnvelope()).message;
  return answer.case === "error" ? answer.value.code : `${answer.case}`;
}

Deno.test("gateways and a relay with twins on a chain exchange messages, encrypted", async () => {
  await using network = await GatewayNetwork.start({ args: ["-d", "-d"] }, CHAIN);
  const { alice, bob, relay } = network;
  const question = "may nobody else read this?";
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    const ret = await from.local.request({ dst: [to.twin.id], dat: base64Of(question) });
    const request = await to.local.pop("msgbus.test.echo");
    assert.deepEqual([request.dat, request.src], [base64Of(question), `${from.twin.id}`]);
    await to.local.respond(request, { dat: base64Of("nobody") });
    const { dat, err } = await from.local.pop(ret);
    assert.deepEqual([dat, err], [base64Of("nobody"), null]);
    const pk = formatHex(encryptionOf(from.twin).publicKey);
    await from.program.line(
      new RegExp(`twin ${from.twin.id} now publishes relay 127.0.0.1 and encryption key ${pk}$`),
    );
  }
  const log = relay.program.lines.join("\n");
  assert.match(log, /payload of request \S+: 0x/);
  assert.ok(!log.includes(new TextEncoder().encode(question).toHex().slice(0, 16)));

  assert.ok(await metric(relay, "rmb_cache_misses_total") >= 2);
  await until(async () => { // What is looked up while a block comes may not be kept.
    await (await network.connect()).close();
    return await metric(relay, "rmb_cache_entries") > 0;
  }, "a twin in the cache");
  assert.ok(await metric(relay, "events_listener_twin_updated_total") >= 2);
  assert.equal(await metric(relay, "events_listener_reconnecting"), 0);
  const before = await metric(relay, "events_listener_last_processed_block_number");
  const moved = async () =>
    await metric(relay, "events_listener_last_processed_block_number") > before;
  await until(moved, "the next block processed");
  assert.deepEqual(await health(relay), [200, "ready\n"]);
});

Deno.test("a key changed on the chain counts at once, for connected twins too", async () => {
  await using network = await GatewayNetwork.start({}, CHAIN);
  await using session = await network.connect();
  const changed: TestTwin = { ...CAROL, secret: `0x${"4d".repeat(32)}`, type: "ed25519" };
  assert.equal(await askBob(session, CAROL), "response");
  assert.equal(await askBob(session, changed), 104);
  await network.network.chain.setTwin({ id: CAROL.id, account: keypairOf(changed).address });
  await until(async () => await askBob(session, CAROL) === 104, "the old key refused");
  assert.equal(await askBob(session, changed), "response");
  assert.equal(await askBob(session, CAROL), 104);

  // The relay lets the old key's sessions in no more; the one that is connected stays.
  const refused = () => network.connect("another").then((other) => other.close(), () => true);
  await until(async () => await refused() === true, "the old key's token refused");
  assert.equal(await askBob(session, changed), "response");
});

Deno.test("what is known goes on while the chain is away, and the rest when it is back", async () => {
  await using network = await GatewayNetwork.start({}, CHAIN);
  const { alice, bob, relay, network: { chain } } = network;
  const version = async (from: typeof alice, to: number) =>
    (await from.local.ask({ dst: [to], cmd: "rmb.version" })).err?.message ?? "answered";
  for (const [from, to] of [[alice, 9], [bob, 7]] as const) {
    assert.equal(await version(from, to), "answered");
  }

  await chain.kill();
  await until(async () => await metric(relay, "events_listener_reconnecting") === 1, "the loss");
  const remark = "but no node of the chain is connected: only known twins are served";
  assert.deepEqual(await health(relay), [200, `ready, ${remark}\n`]);
  for (const [from, to] of [[alice, 9], [bob, 7]] as const) {
    assert.equal(await version(from, to), "answered");
  }
  assert.equal(await version(alice, CAROL.id), `twin ${CAROL.id} can't be looked up now`);
  await assert.rejects(network.connect(), /503/);

  await chain.restart();
  await until(
    async () => await metric(relay, "events_listener_reconnecting") === 0,
    "the chain back",
    60_000,
  );
  assert.deepEqual(await health(relay), [200, "ready\n"]);
  await using session = await network.connect();
  await until(
    async () => await askBob(session, CAROL) === "response",
    "CAROL known to BOB",
    60_000,
  );
  assert.equal(await version(alice, 9), "answered");
});
