/** How `rmb-peer` starts and ends: what it publishes, what it warns of, and what it gives up for. */
import { formatHex, parseSecret } from "@rmb/protocol";
import assert from "node:assert/strict";
import { inTime, until } from "./fixtures/deadline.ts";
import { CAROL, encryptionOf, keypairOf, publish } from "./fixtures/gateway_network.ts";
import { base64Of, LocalProgram } from "./fixtures/local_program.ts";
import { ALICE, BOB, Network, type StartOptions, type TestTwin } from "./fixtures/network.ts";

/** A twin whose secret has a derivation path, and so no encryption key. */
const DAVE: TestTwin = { id: 41, secret: "//Dave", type: "sr25519" };

/** A relay's URL where none is. */
const NO_RELAY = { url: "ws://127.0.0.1:1" };

interface TwinEntry {
  readonly id: number;
  readonly account: string;
  readonly relay?: string | null;
  readonly pk?: string | null;
}

async function twinsOf({ twins }: Network): Promise<TwinEntry[]> {
  return JSON.parse(await Deno.readTextFile(twins)).twins;
}

/** Starts a gateway that ends by itself, and gives its last line. */
async function failure(
  network: Network,
  twin: TestTwin,
  options: StartOptions = {},
): Promise<string> {
  const redis = { program: undefined as never, port: 1, url: "redis://127.0.0.1:1" };
  const program = await network.startGateway(twin, redis, NO_RELAY, {
    ready: /^rmb-peer: /,
    ...options,
  });
  const { code } = await inTime(program.ended, "the end");
  assert.equal(code, 1);
  assert.equal(program.lines.length, 1, program.lines.join("\n"));
  return program.lines[0]!;
}

Deno.test("rmb-peer publishes its relay and encryption key, and nothing twice", async () => {
  await using network = await Network.create([ALICE, BOB]);
  const [relay, redis] = await Promise.all([network.startRelay(), network.startRedis()]);
  const [, bob] = await twinsOf(network);
  const pk = formatHex(encryptionOf(ALICE).publicKey);
  const first = await network.startGateway(ALICE, redis, relay);
  await first.line(
    new RegExp(`twin 7 now publishes relay ${relay.domain} and encryption key ${pk}`),
  );
  const account = keypairOf(ALICE).address;
  assert.deepEqual(await twinsOf(network), [{ id: 7, account, relay: relay.domain, pk }, bob]);
  await first.line(new RegExp(`serving twin 7, account ${account}, on ${redis.url}$`));
  await first.stop();

  const written = await Deno.stat(network.twins);
  const second = await network.startGateway(ALICE, redis, relay);
  assert.equal((await second.stop("SIGINT")).code, 0);
  assert.ok(!second.lines.some((line) => line.includes("publish")), second.lines.join("\n"));
  assert.equal((await Deno.stat(network.twins)).ino, written.ino);

  // A wrong relay or pk is reason enough, each on its own.
  const right = { id: 7, account, relay: relay.domain, pk };
  for (const wrong of [{ pk: "0x00" }, { relay: "elsewhere" }, { relay: `${relay.domain}_b` }]) {
    await Deno.writeTextFile(
      network.twins,
      JSON.stringify({ twins: [{ ...right, ...wrong }, bob] }),
    );
    const third = await network.startGateway(ALICE, redis, relay, { ready: /now publishes/ });
    await third.stop("SIGKILL");
    assert.deepEqual(await twinsOf(network), [right, bob]);
  }
});

Deno.test("rmb-peer --no-update only warns where the twin publishes something else", async () => {
  await using network = await Network.create([ALICE]);
  const [relay, redis] = await Promise.all([network.startRelay(), network.startRedis()]);
  const before = await Deno.readTextFile(network.twins);
  const gateway = await network.startGateway(ALICE, redis, relay, { args: ["--no-update"] });
  const pk = formatHex(encryptionOf(ALICE).publicKey);
  await gateway.line(
    new RegExp(
      `\\[WRN\\].* twin 7 does not publish relay ${relay.domain} and encryption key ${pk}: ` +
        "others may not reach it, and it can't encrypt for them",
    ),
  );
  assert.equal(await Deno.readTextFile(network.twins), before);
});

Deno.test("rmb-peer fails for a key that no twin has, and says what to check", async () => {
  await using network = await Network.create([ALICE]);
  const { address } = keypairOf(CAROL);
  assert.equal(
    await failure(network, CAROL),
    `rmb-peer: No twin has the sr25519 account ${address}: ` +
      `add {"id":…,"account":"${address}"} to "${network.twins}", ` +
      "or check the secret and --key-type",
  );
  const other: TestTwin = { ...ALICE, type: "ed25519" };
  assert.equal(
    await failure(network, other),
    `rmb-peer: No twin has the ed25519 account ${keypairOf(other).address}, ` +
      `but twin 7 has the sr25519 account of this secret, ${keypairOf(ALICE).address}: ` +
      "use --key-type sr25519",
  );
});

Deno.test("rmb-peer fails for a twins file that it can't read, and names it", async () => {
  await using network = await Network.create([ALICE]);
  await Deno.writeTextFile(network.twins, "{");
  const said = await failure(network, ALICE);
  assert.ok(said.startsWith(`rmb-peer: Cannot read twins file "${network.twins}": `), said);
  await Deno.remove(network.twins);
  const missing = await failure(network, ALICE);
  assert.ok(missing.startsWith(`rmb-peer: Cannot read twins file "${network.twins}": `), missing);
});

Deno.test("rmb-peer ends when told to while it waits for Redis", async () => {
  await using network = await Network.create([ALICE]);
  const redis = { program: undefined as never, port: 1, url: "redis://127.0.0.1:1" };
  const gateway = await network.startGateway(ALICE, redis, NO_RELAY, {
    ready: /\[ERR\].*Redis is not reachable \(commands\): /,
  });
  assert.equal((await gateway.stop()).code, 0);
});

Deno.test("rmb-peer says why a relay does not let it in, and keeps trying", async () => {
  await using network = await Network.create([ALICE]);
  await using others = await Network.create([BOB]);
  const [relay, redis] = await Promise.all([others.startRelay(), network.startRedis()]);
  const gateway = await network.startGateway(ALICE, redis, relay, { ready: /is not connected/ });
  const reason =
    'refused the token \\(401, "twin 7 is unknown"\\): twin 7 is unknown to the relay, or its account is not' +
    ` the sr25519 key ${keypairOf(ALICE).address} \\(twin id, secret or key type is wrong\\)`;
  await gateway.line(
    new RegExp(`is not connected: ${relay.domain} ${reason}; next attempt in \\d+ ms`),
  );
  await Deno.copyFile(network.twins, others.twins);
  await gateway.line(/is connected/);
});

Deno.test("a secret with a derivation path works without encryption, with a warning", async () => {
  await using network = await Network.create([ALICE, DAVE]);
  const relay = await network.startRelay();
  const [aliceRedis, daveRedis] = [await network.startRedis(), await network.startRedis()];
  await Deno.writeTextFile(
    network.twins,
    JSON.stringify({
      twins: (await twinsOf(network)).map((twin) => ({
        ...twin,
        pk: formatHex(encryptionOf(BOB).publicKey), // Of an earlier secret.
      })),
    }),
  );
  const aliceGateway = await network.startGateway(ALICE, aliceRedis, relay);
  await aliceGateway.line(/twin 7 now publishes/);
  const gateway = await network.startGateway(DAVE, daveRedis, relay);
  await gateway.line(
    /\[WRN\].*this secret has no encryption key \(a derivation path or a password\)/,
  );
  await gateway.line(/twin 41 now publishes relay \S+ and encryption key none/);
  assert.equal((await twinsOf(network))[1]!.pk, null);

  await using alice = await LocalProgram.connect(aliceRedis.url);
  await using dave = await LocalProgram.connect(daveRedis.url);
  const asked = async () => await alice.ask({ dst: [41], cmd: "rmb.version" });
  await until(async () => (await asked()).err === null, "the change known to the other gateway");
  for (const [from, to, twin] of [[alice, dave, 41], [dave, alice, 7]] as const) {
    const ret = await from.request({ dst: [twin], dat: base64Of("question") });
    const request = await to.pop("msgbus.test.echo");
    assert.equal(request.dat, base64Of("question"));
    await to.respond(request, { dat: base64Of("answer") });
    const { dat, err } = await from.pop(ret);
    assert.deepEqual({ dat, err }, { dat: base64Of("answer"), err: null });
  }
});

Deno.test("secrets and the password of Redis are in no line of any log", async () => {
  await using network = await Network.create([ALICE, BOB]);
  const lines: string[] = [];
  const options = { args: ["-d", "-d"], onLine: (line: string) => void lines.push(line) };
  const relay = await network.startRelay(options);
  await publish(network, [relay], [ALICE, BOB]);
  const redis = await network.startRedis();
  const password = "pass-w0rd";
  await using alice = await LocalProgram.connect(redis.url);
  await alice.redis.configSet("requirepass", password);
  const url = `redis://:${password}@127.0.0.1:${redis.port}`;
  const gateway = await network.startGateway(ALICE, { ...redis, url }, relay, options);
  await network.startGateway(BOB, await network.startRedis(), relay, options);
  assert.equal(
    (await alice.ask({ dst: [9], cmd: "rmb.version", dat: base64Of("in private") })).src,
    "9",
  );
  // Where things go wrong more is said.
  await alice.redis.configSet("requirepass", "another");
  await alice.redis.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  await gateway.line(/Redis is not reachable/);
  await relay.program.stop();
  await gateway.line(/is not connected/);
  await gateway.stop();

  const log = lines.join("\n");
  for (const { id, secret } of [ALICE, BOB]) {
    assert.ok(log.includes(`serving twin ${id}`));
    const words = secret.split(" ");
    for (let i = 1; i < words.length; i++) assert.ok(!log.includes(`${words[i - 1]} ${words[i]}`));
    assert.ok(!log.includes(parseSecret(secret).seed.toHex().slice(0, 16)));
  }
  for (const text of [password, "another", "in private", base64Of("in private")]) {
    assert.ok(!log.includes(text), text);
  }
  assert.match(log, /payload of request \S+: 0x/); // The relay did log all there is.
  assert.doesNotMatch(log, /\beyJ/); // Tokens begin so, and are secrets while they hold.
});
