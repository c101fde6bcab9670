import assert from "node:assert/strict";
import { evaluate, runPeer } from "../tests/fixtures/run_peer.ts";
import vectors from "../tests/vectors/keys.json" with { type: "json" };
import manifest from "./deno.json" with { type: "json" };

const MNEMONIC = "neck stage box cup core magic produce exercise happy rely vocal then";
const SEED = "aa4e323bade8609a595108b585c4135855430c411ccf7923f81438cd8a188fce";
const NEEDED = ["--twins", "twins.json", "--relay", "ws://localhost:8080"];

/** The keys of a secret as another implementation makes them. */
function keysOf(secret: string, type = "sr25519") {
  const found = vectors.keys.find((key) => key.secret === secret && key.type === type)!;
  return { account: found.publicKey, pk: found.e2ePublicKey ?? undefined };
}

/** Arguments and environment to read. */
interface Given {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What is read of each, in a process of its own for the sake of the environment. */
async function read(cases: readonly Given[]) {
  const { code, stdout, stderr } = await evaluate(
    `
    import { parseOptions } from ${JSON.stringify(import.meta.resolve("./options.ts"))};
    import { readKeys } from ${JSON.stringify(import.meta.resolve("./identity_options.ts"))};
    for (const { args = [], env = {} } of JSON.parse(Deno.args[0])) {
      for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
      const { secret, ...options } = parseOptions(args);
      for (const name of Object.keys(env)) Deno.env.delete(name);
      const { keypair, encryption } = await readKeys({ secret, keyType: options.keyType });
      const [account, pk] = [keypair.publicKey.toHex(), encryption?.publicKey.toHex()];
      console.log(JSON.stringify({ ...options, account, pk }));
    }`,
    [JSON.stringify(cases)],
  );
  assert.equal(code, 0, stderr);
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

/** A file with a mnemonic, gone at the end. */
function mnemonicFile(content: string): { readonly path: string } & Disposable {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, content);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

Deno.test("parseOptions() reads the secret in each of its ways", async () => {
  using file = mnemonicFile(`${MNEMONIC}\n`);
  using spaced = mnemonicFile(`\t${MNEMONIC.replaceAll(" ", "  ")}\r\n\n`);
  const all = await read([
    { args: ["-m", MNEMONIC, ...NEEDED] },
    { args: ["--mnemonic", MNEMONIC, ...NEEDED] },
    { args: ["--mnemonics", MNEMONIC, ...NEEDED] },
    { args: [`--mnemonic=${MNEMONIC}`, ...NEEDED] },
    { args: ["-m", `0x${SEED}`, ...NEEDED] },
    { args: ["--mnemonic-file", file.path, ...NEEDED] },
    { args: ["--mnemonic-file", spaced.path, ...NEEDED] },
    { args: ["--seed", SEED, ...NEEDED] },
    { args: ["--seed", `0x${SEED.toUpperCase()}`, ...NEEDED] },
    { args: NEEDED, env: { RMB_PEER_MNEMONIC: MNEMONIC } },
    { args: NEEDED, env: { RMB_PEER_MNEMONIC_FILE: file.path } },
    { args: NEEDED, env: { RMB_PEER_SEED: SEED } },
    { args: NEEDED, env: { RMB_PEER_MNEMONIC: MNEMONIC, RMB_PEER_SEED: "" } },
  ]);
  assert.equal(all.length, 13);
  for (const { account, pk } of all) assert.deepEqual({ account, pk }, keysOf(MNEMONIC));
});

Deno.test("parseOptions() prefers a secret among the arguments to those of the environment", async () => {
  using file = mnemonicFile(MNEMONIC);
  const env = { RMB_PEER_MNEMONIC: "//Alice", RMB_PEER_SEED: "00".repeat(32) };
  const ways = [["-m", MNEMONIC], ["--mnemonics", MNEMONIC], ["--mnemonic-file", file.path], [
    `--seed=${SEED}`,
  ]];
  for (const { account } of await read(ways.map((way) => ({ args: [...way, ...NEEDED], env })))) {
    assert.equal(account, keysOf(MNEMONIC).account);
  }
});

Deno.test("readKeys() makes the kind of key that is asked for", async () => {
  const [ed25519] = await read([{ args: ["-m", MNEMONIC, "-k", "ed25519", ...NEEDED] }]);
  const { account, pk } = ed25519;
  assert.deepEqual({ account, pk }, keysOf(MNEMONIC, "ed25519"));
});

Deno.test("readKeys() makes no encryption key of a secret with a path or a password", async () => {
  const secrets = ["//Alice", `${MNEMONIC}//1`, `${MNEMONIC}///password`, `0x${SEED}/soft`];
  for (const { pk } of await read(secrets.map((secret) => ({ args: ["-m", secret, ...NEEDED] })))) {
    assert.equal(pk, undefined);
  }
});

Deno.test("parseOptions() has defaults for what can be left out", async () => {
  const [options] = await read([{ args: ["-m", MNEMONIC, ...NEEDED] }]);
  assert.deepEqual(options, {
    keyType: "sr25519",
    redis: "redis://localhost:6379",
    registry: { twins: "twins.json" },
    relays: ["ws://localhost:8080"],
    noUpdate: false,
    verbosity: 0,
    ...keysOf(MNEMONIC),
  });
});

Deno.test("parseOptions() uses the public network unless told otherwise", async () => {
  const [options, own] = await read([
    { args: ["-m", MNEMONIC] },
    { args: ["-m", MNEMONIC], env: { RMB_PEER_SUBSTRATE: "ws://a ws://b:9944" } },
  ]);
  assert.deepEqual(options.relays, ["wss://relay.grid.tf"]);
  assert.equal(options.registry.substrate[0], "wss://tfchain.grid.tf:443");
  assert.deepEqual(own.registry, { substrate: ["ws://a", "ws://b:9944"] });
});

Deno.test("parseOptions() reads every option, from the environment too", async () => {
  const args = ["--mnemonic", MNEMONIC, "--key-type", "ed25519", "--redis", "redis://:pw@h:1/2"];
  args.push("--twins", "t", "--relay", "wss://relay.example", "--relay", "wss://b.example");
  args.push("--no-update", "--debug");
  args.push("--uploads", "files", "--metrics-listen", "127.0.0.1:9464");
  const short = ["-m", MNEMONIC, "-k", "ed25519", "-r", "redis://:pw@h:1/2"];
  short.push("--twins=t", "--relay=wss://relay.example", "--relay=wss://b.example");
  short.push("--no-update", "-d", "-u", "files", "--metrics-listen=127.0.0.1:9464");
  const env = {
    RMB_PEER_MNEMONIC: MNEMONIC,
    RMB_PEER_KEY_TYPE: "ed25519",
    RMB_PEER_REDIS: "redis://:pw@h:1/2",
    RMB_PEER_TWINS: "t",
    RMB_PEER_RELAY: "wss://relay.example wss://b.example",
    RMB_PEER_UPLOADS: "files",
    RMB_PEER_METRICS_LISTEN: "127.0.0.1:9464",
    RMB_PEER_NO_UPDATE: "1",
    RMB_PEER_DEBUG: "true",
  };
  for (const options of await read([{ args }, { args: short }, { env }])) {
    assert.deepEqual(options, {
      keyType: "ed25519",
      redis: "redis://:pw@h:1/2",
      registry: { twins: "t" },
      relays: ["wss://relay.example", "wss://b.example"],
      uploads: "files",
      metricsListen: { hostname: "127.0.0.1", port: 9464 },
      noUpdate: true,
      verbosity: 1,
      ...keysOf(MNEMONIC, "ed25519"),
    });
  }
});

Deno.test("parseOptions() prefers arguments to the environment", async () => {
  const env = {
    RMB_PEER_KEY_TYPE: "ed25519",
    RMB_PEER_REDIS: "redis://other",
    RMB_PEER_TWINS: "other",
    RMB_PEER_RELAY: "ws://other",
    RMB_PEER_NO_UPDATE: "0",
    RMB_PEER_DEBUG: "1",
  };
  const args = ["-m", MNEMONIC, "-k", "sr25519", "-r", "redis://h", ...NEEDED, "-dd"];
  const [options] = await read([{ args, env }]);
  const { keyType, redis, registry, relays, noUpdate, verbosity } = options;
  assert.deepEqual([keyType, redis, registry, ...relays], [
    "sr25519",
    "redis://h",
    { twins: "twins.json" },
    "ws://localhost:8080",
  ]);
  assert.deepEqual([noUpdate, verbosity], [false, 2]);
});

const PASSWORD = "hunter2pass";

/** Wrong usage: what is said of it. */
const wrong: readonly (Given & { readonly says: RegExp })[] = [
  { says: /secret is missing: give --mnemonic-file or, in the environment, RMB_PEER_MNEMONIC/ },
  { args: NEEDED, says: /secret is missing/ },
  { args: ["-m", MNEMONIC, "-s", ...MNEMONIC.split(" ")], says: /Cannot use the URL of a node: / },
  {
    args: ["-m", MNEMONIC, "-s", `http://:${PASSWORD}@h`],
    says: /Cannot use the URL of a node: expected wss:\/\//,
  },
  {
    args: ["-m", MNEMONIC, "-s", `wss://:${PASSWORD}@h`, "--twins", "t"],
    says: /`-s` and `--twins` cannot be used together/,
  },
  { args: ["-m", ...MNEMONIC.split(" ")], says: /must stand in quotation marks/ },
  { args: [`-m${MNEMONIC}`], says: /must stand in quotation marks/ },
  { args: [`--mnemonc=${MNEMONIC}`], says: /Unexpected option: `--mnemonc`/ },
  { args: ["--mnemonc", MNEMONIC], says: /Unexpected option: `--mnemonc`/ },
  { args: ["-m", MNEMONIC, "-m", MNEMONIC], says: /`-m` cannot be used multiple times/ },
  { args: ["-m", MNEMONIC, "--seed", SEED], says: /`-m` and `--seed` cannot be used together/ },
  { args: [`--seed=${SEED}`, "-m", MNEMONIC], says: /`--seed` and `-m` cannot be used together/ },
  {
    env: { RMB_PEER_MNEMONIC: MNEMONIC, RMB_PEER_SEED: SEED },
    says: /`--mnemonic` and `--seed` cannot be used together/,
  },
  { args: ["-m"], says: /`-m` requires `WORDS`/ },
  {
    args: ["-m", MNEMONIC, "-k", "rsa", ...NEEDED],
    says: /Expected one of "sr25519" and "ed25519", but got "rsa"/,
  },
  { args: ["-m", MNEMONIC, "-k", MNEMONIC, ...NEEDED], says: /"ed25519", but got "…"/ },
  { args: ["-m", MNEMONIC, "-k", SEED, ...NEEDED], says: /"ed25519", but got "…"/ },
  { args: [`--debug=${MNEMONIC}`, ...NEEDED], says: /does not accept a value, but got: "…"/ },
  {
    args: ["-m", MNEMONIC, "--twins", "t", "--relay", MNEMONIC],
    says: /Cannot use relay URL "…": expected ws/,
  },
  {
    args: ["-m", MNEMONIC, ...NEEDED, "-r", `http://:${PASSWORD}@h`],
    says: /Cannot use the Redis URL: expected redis:\/\//,
  },
  {
    args: ["-m", MNEMONIC, ...NEEDED],
    env: { RMB_PEER_REDIS: `redis://:${PASSWORD}@h:port` },
    says: /Cannot use the Redis URL: expected redis:\/\//,
  },
  {
    args: ["-m", MNEMONIC, "--twins", "t", "--relay", `http://u:${PASSWORD}@h`],
    says: /Cannot use relay URL "h": expected ws:\/\//,
  },
];
for (const { args = [], env = {}, says } of wrong) {
  Deno.test(`rmb-peer refuses wrong usage and quotes no secret: ${says.source}`, async () => {
    const { code, stdout, stderr } = await runPeer(args, env);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    const [said, hint] = stderr.trim().split("\n").slice(-2);
    assert.match(said!, says);
    assert.equal(hint, "See rmb-peer --help");
    checkSilence(stderr);
  });
}

/** Secrets that can't be used: what is said of them. */
const unusable: readonly (Given & { readonly says: RegExp })[] = [
  { args: ["-m", MNEMONIC.replace("then", "zzz")], says: /word 12 is not in the English BIP-39/ },
  { args: ["-m", MNEMONIC.replace(" then", "")], says: /it has 11 words, expected 12,/ },
  { args: ["-m", MNEMONIC.replace("then", "abandon")], says: /its checksum is wrong/ },
  { args: ["--seed", SEED.slice(1)], says: /expected "0x" and 64 hexadecimal digits, got 63/ },
  { args: ["--seed", MNEMONIC], says: /expected "0x" and 64 hexadecimal digits/ },
  { args: ["-m", SEED], says: /it has 1 words/ },
  { args: ["--mnemonic-file", "/no/such"], says: /Cannot read mnemonic file "\/no\/such": / },
];
for (const { args = [], says } of unusable) {
  Deno.test(`rmb-peer fails for a secret that it can't use and does not quote it: ${says.source}`, async () => {
    const { code, stdout, stderr } = await runPeer([...args, ...NEEDED]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^rmb-peer: Cannot read [^\n]*\n$/);
    assert.match(stderr, says);
    checkSilence(stderr);
  });
}

Deno.test("rmb-peer refuses mnemonic files that are empty or too large", async () => {
  for (
    const [content, says] of [[" \n", /it is empty/], ["x".repeat(4097), /4097 bytes/]] as const
  ) {
    using file = mnemonicFile(content);
    const { code, stderr } = await runPeer(["--mnemonic-file", file.path, ...NEEDED]);
    assert.equal(code, 1);
    assert.ok(stderr.startsWith("rmb-peer: Cannot "), stderr);
    assert.match(stderr, says);
  }
});

Deno.test("rmb-peer tells its version and its options", async () => {
  const [version, help] = await Promise.all([runPeer(["--version"]), runPeer(["--help"])]);
  assert.deepEqual(version, { code: 0, stdout: `${manifest.version}\n`, stderr: "" });
  assert.deepEqual([help.code, help.stderr], [0, ""]);
  const defaults = ["Default: wss://relay.grid.tf.", "wss://tfchain.grid.tf:443 "];
  for (
    const option of ["--mnemonic-file FILE", "--redis URL", "RMB_PEER_MNEMONIC", ...defaults]
  ) {
    assert.ok(help.stdout.includes(option), option);
  }
});

/** Checks that text has nothing in it of the secrets of these tests. */
function checkSilence(text: string): void {
  for (const word of [...MNEMONIC.split(" "), SEED.slice(1, 20), PASSWORD]) {
    assert.doesNotMatch(text, new RegExp(`\\b${word}\\b`, "i"));
  }
}
