/** How bots come to the network: what connects, what is published, and what is said when it fails. */
import {
  AbortError,
  Client,
  Commands,
  ConnectError,
  EncryptionKeypair,
  formatHex,
  NoTwinError,
  RegistryError,
  RmbError,
  SecretError,
} from "@rmb/protocol";
import assert from "node:assert/strict";
import { BotNetwork } from "./fixtures/bot_network.ts";
import { CAROL, GatewayNetwork } from "./fixtures/gateway_network.ts";
import { base64Of, textOf } from "./fixtures/local_program.ts";
import { FileRegistry } from "@rmb/protocol/file-registry";
import { ALICE, BOB } from "./fixtures/network.ts";

Deno.test("a bot publishes what its twin does not, and nothing else", async () => {
  await using network = await BotNetwork.start();
  const { registry, relay } = network;
  const before = await registry.twin(ALICE.id);
  await network.connect(ALICE, { relays: [relay.url.replace("127.0.0.1", "localhost")] });
  assert.deepEqual(await registry.twin(ALICE.id), before);

  await network.connect(CAROL, { publish: false });
  assert.deepEqual((await registry.twin(CAROL.id))!.relays, []);
  const carol = await network.connect(CAROL, { commands: new Commands().handle("hi", () => "hi") });
  const { relays, pk } = (await registry.twin(CAROL.id))!;
  assert.deepEqual(relays, [relay.domain]);
  assert.equal(formatHex(pk!), formatHex(EncryptionKeypair.fromSecret(CAROL.secret)!.publicKey));
  const bob = await network.connect(BOB);
  assert.equal(await bob.call(CAROL.id, "hi", null, { session: carol.session.connection }), "hi");
});

Deno.test("a bot says why it can't connect", async (t) => {
  await using network = await BotNetwork.start();
  const { registry, relay } = network;
  const secret = ALICE.secret;
  const connect = (options: object) =>
    Client.connect({ secret, registry, relays: [relay.url], ...options });
  const cases: [string, object, new () => Error, RegExp][] = [
    ["an empty secret", { secret: " " }, SecretError, /it is empty/],
    ["a wrong secret", { secret: "one two" }, SecretError, /it has 2 words/],
    [
      "the wrong kind of key",
      { keyType: "ed25519" },
      NoTwinError,
      /No twin has the ed25519 account 5/,
    ],
    ["no relay", { relays: [] }, RmbError, /1 to 4 relays/],
    ["what is no relay's URL", { relays: ["http://x"] }, RmbError, /expected ws:\/\/host/],
    [
      "one of two that is none",
      { relays: [relay.url, "http://x"] },
      RmbError,
      /expected ws:\/\/host/,
    ],
    [
      "a relay that is not there",
      { relays: ["ws://127.0.0.1:9"], timeout: 500 },
      ConnectError,
      /^Cannot connect: 127\.0\.0\.1:9 was not connected in time \(.+\)$/,
    ],
    ["a signal that is aborted", { signal: AbortSignal.abort("enough") }, AbortError, /given up/],
  ];
  for (const [what, options, kind, message] of cases) {
    await t.step(what, async () => {
      await assert.rejects(connect(options), (error) => {
        assert.ok(error instanceof kind, `${error}`);
        assert.match(error.message, message);
        return true;
      });
    });
  }
  await t.step("a registry that says nothing, or fails", async () => {
    const saying = (twinIdByAccount: () => Promise<number>) => ({
      registry: Object.assign(Object.create(registry), { twinIdByAccount }),
      timeout: 300,
    });
    await assert.rejects(
      connect(saying(() => new Promise(() => {}))),
      (error) => error instanceof ConnectError && /no answer who the twin is/.test(error.message),
    );
    await assert.rejects(connect(saying(() => Promise.reject(undefined))), RegistryError);
  });
  await t.step("a signal aborted meanwhile", async () => {
    const stop = new AbortController();
    const connecting = connect({ relays: ["ws://127.0.0.1:9"], signal: stop.signal });
    stop.abort("enough");
    await assert.rejects(connecting, AbortError);
  });
});

Deno.test("a bot lives beside a gateway of the same twin", async () => {
  await using network = await GatewayNetwork.start();
  const { alice, bob, relay } = network;
  await using registry = await FileRegistry.open(network.network.twins);
  const commands = new Commands().handle("double", (number: number) => 2 * number);
  await using bot = await Client.connect({
    ...{ secret: BOB.secret, keyType: BOB.type, registry, relays: [relay.url] },
    ...{ session: "bot", commands },
  });

  // A bot asks its own twin's gateway, and another's local program.
  assert.match(await bot.call<string>(BOB.id, "rmb.version"), /^\d+\.\d+\.\d+/);
  const answer = bot.call(ALICE.id, "test.ask", { question: 6 });
  const request = await alice.local.pop("msgbus.test.ask");
  assert.equal(request.src, `${BOB.id}:bot`);
  assert.equal(textOf(request.dat), '{"question":6}');
  await alice.local.respond(request, { dat: base64Of("42"), shm: "application/json" });
  assert.equal(await answer, 42);

  // A local program asks the bot, and still the gateway beside it.
  const ask = (members: object) =>
    alice.local.ask({ dst: [BOB.id], dat: base64Of("21"), ...members });
  assert.equal(textOf((await ask({ cmd: "double", con: "bot" })).dat), "42");
  assert.equal((await ask({ cmd: "rmb.version" })).src, `${BOB.id}`);
  assert.equal(bob.program.lines.some((line) => line.includes("is not connected")), false);
});
