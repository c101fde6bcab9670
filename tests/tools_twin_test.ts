import { EncryptionKeypair, formatHex, Keypair, parseSecret } from "@rmb/protocol";
import assert from "node:assert/strict";
import { ALICE, BOB, Network } from "./fixtures/network.ts";
import { environmentOf, runTool } from "./fixtures/tools.ts";

const RELAY = { url: "ws://relay.example.org" };

Deno.test("keys makes a mnemonic, whose keys it then shows", async () => {
  for (const words of ["12", "24"]) {
    const made = await runTool(["keys", "--new", "--words", words, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    const { mnemonic, ...keys } = JSON.parse(made.stdout);
    assert.equal(mnemonic.split(" ").length, Number(words));
    parseSecret(mnemonic);
    const shown = await runTool(["keys", "--json"], { env: { RMB_PEER_MNEMONIC: mnemonic } });
    assert.deepEqual(JSON.parse(shown.stdout), keys);
  }
});

Deno.test("keys makes another mnemonic each time, also where the environment has one", async () => {
  const env = { RMB_PEER_MNEMONIC: ALICE.secret };
  const runs = await Promise.all([1, 2].map(() => runTool(["keys", "--new"], { env })));
  const [one, two] = runs.map(({ stdout }) => /^mnemonic +(.+)$/m.exec(stdout)![1]);
  assert.notEqual(one, two);
  assert.notEqual(one, ALICE.secret);
});

Deno.test("keys shows the keys of a secret of both types, and not the secret", async () => {
  const { code, stdout, stderr } = await runTool(["keys"], {
    env: { RMB_PEER_MNEMONIC: ALICE.secret },
  });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  for (const type of ["sr25519", "ed25519"] as const) {
    const { address, publicKey } = Keypair.fromSecret(ALICE.secret, type);
    assert.match(stdout, new RegExp(`^${type} address +${address}$`, "m"));
    assert.match(stdout, new RegExp(`^${type} public key +${formatHex(publicKey)}$`, "m"));
  }
  const pk = formatHex(EncryptionKeypair.fromSecret(ALICE.secret)!.publicKey);
  assert.match(stdout, new RegExp(`^encryption key \\(pk\\) +${pk}$`, "m"));
  assert.doesNotMatch(stdout, /neck|stage/);
});

Deno.test("keys says what a secret with a path has not", async () => {
  const run = await runTool(["keys", "--json"], { env: { RMB_PEER_MNEMONIC: "//Alice/soft" } });
  const { sr25519, ed25519, pk } = JSON.parse(run.stdout);
  assert.equal(sr25519.address, Keypair.fromSecret("//Alice/soft").address);
  assert.deepEqual({ ed25519, pk }, { ed25519: undefined, pk: null });
});

Deno.test("twin shows a twin by its id and by its account", async () => {
  await using network = await Network.create([ALICE, BOB]);
  const env = environmentOf(network, RELAY, ALICE);
  const account = Keypair.fromSecret(BOB.secret, BOB.type).address;
  for (const who of ["9", account]) {
    const { code, stdout } = await runTool(["twin", who, "--json"], { env });
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), { id: 9, account, relays: [], pk: null });
  }
  const own = await runTool(["twin"], { env });
  assert.match(own.stdout, /^twin +7$/m);
});

Deno.test("twin publishes the own relays and key, and says what changed", async () => {
  await using network = await Network.create([ALICE, BOB]);
  const env = environmentOf(network, RELAY, ALICE);
  const pk = formatHex(EncryptionKeypair.fromSecret(ALICE.secret)!.publicKey);
  const first = await runTool(["twin", "--update"], { env });
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^relays +relay\.example\.org \(was none\)$/m);
  assert.match(first.stdout, new RegExp(`^encryption key \\(pk\\) +${pk} \\(was none\\)$`, "m"));
  const args = [
    "twin",
    "--update",
    "--json",
    "--relay",
    "ws://a.example",
    "--relay",
    "ws://b.example",
  ];
  const second = JSON.parse((await runTool(args, { env })).stdout);
  assert.deepEqual(second.before.relays, ["relay.example.org"]);
  assert.deepEqual(second.after.relays, ["a.example", "b.example"]);
  const shown = await runTool(["twin", "7", "--json"], { env });
  assert.deepEqual(JSON.parse(shown.stdout), second.after);
});

Deno.test("twin looks up and updates twins on a chain", async () => {
  await using network = await Network.create([ALICE, BOB], { blockTime: 200 });
  const env = {
    RMB_PEER_MNEMONIC: ALICE.secret,
    RMB_PEER_RELAY: RELAY.url,
    RMB_PEER_SUBSTRATE: network.chain.urls.join(" "),
  };
  const updated = await runTool(["twin", "--update"], { env });
  assert.equal(updated.code, 0, updated.stderr);
  const shown = await runTool(["twin", "7", "--json"], { env });
  assert.deepEqual(JSON.parse(shown.stdout).relays, ["relay.example.org"]);
});

Deno.test("twin ends with code 6 where there is no such twin", async () => {
  await using network = await Network.create([ALICE]);
  const env = environmentOf(network, RELAY, BOB);
  for (const args of [["99"], [], ["--update"]]) {
    const { code, stderr } = await runTool(["twin", ...args], { env });
    assert.equal(code, 6);
    assert.match(stderr, /^rmb-peer twin: (There is no twin 99|No twin has the account 5\w+)\n$/);
    const json = await runTool(["twin", "--json", ...args], { env });
    assert.equal(JSON.parse(json.stdout).error.kind, "NoTwinError");
  }
});

Deno.test("twin updates nobody but the own twin", async () => {
  const { code, stderr } = await runTool(["twin", "9", "--update"], {
    env: { RMB_PEER_MNEMONIC: ALICE.secret },
  });
  assert.equal(code, 2);
  assert.match(stderr, /Only the own twin can be updated/);
});
