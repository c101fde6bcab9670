/** @rmb/protocol in Node: built as an npm package, installed by npm, run by a real node. */
import { Client, formatHex } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";
import assert from "node:assert/strict";
import { CAROL, GatewayNetwork } from "./fixtures/gateway_network.ts";

const root = new URL("../", import.meta.url);

/** A program for Node: calls a gateway on the package's own WebSocket, with twins from its arguments. */
const BARE = `
import process from "node:process";
import { Client, EncryptionKeypair, Keypair, parseHex } from "@rmb/protocol";
import { openWsSocket } from "@rmb/protocol/ws-socket";

delete globalThis.WebSocket; // Node 20 has none.
const [relay, id, account, pk, secret] = process.argv.slice(2);
const own = {
  id: ${CAROL.id},
  account: Keypair.fromSecret(secret).publicKey,
  pk: EncryptionKeypair.fromSecret(secret).publicKey,
  relays: [],
};
const twin = { id: Number(id), account: parseHex(account), pk: parseHex(pk), relays: [] };
const registry = {
  twin: (id) => Promise.resolve([own, twin].find((twin) => twin.id === id)),
  twinIdByAccount: () => Promise.resolve(own.id),
  relayDomain: () => undefined,
};
const options = { secret, registry, relays: [relay], publish: false };
await Client.connect(options).catch((error) => console.log(String(error)));
const client = await Client.connect({ ...options, openSocket: openWsSocket });
console.log(await client.call(twin.id, "rmb.version"));
await client.close();
`;

/** Runs a command until it ends, which must go well; gives what it prints. */
async function run(cwd: string | URL, command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const text = new TextDecoder().decode(stdout);
  assert.ok(success, `${command} ${args.join(" ")}:\n${text}${new TextDecoder().decode(stderr)}`);
  return text;
}

Deno.test("a bot in Node calls gateways and is called by bots in Deno", async () => {
  await using network = await GatewayNetwork.start({}, { blockTime: 200 });
  const { relay, bob, network: { folder, chain } } = network;

  await run(root, Deno.execPath(), "run", "-P=test", "tests/npm.ts", `${folder}/npm`);
  await run(`${folder}/npm`, "npm", "pack", "--silent", "--pack-destination", folder);
  const bot = `${folder}/bot`;
  await Deno.mkdir(bot);
  await Deno.writeTextFile(`${bot}/package.json`, '{"private":true,"type":"module"}');
  await Deno.copyFile(new URL("docs/examples/node/bot.mjs", root), `${bot}/bot.mjs`);
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const needs = ["@polkadot/api", "ws", "typescript"].map((name) => imports[name].slice(4));
  const { name } = [...Deno.readDirSync(folder)].find(({ name }) => name.endsWith(".tgz"))!;
  await run(bot, "npm", "install", "--silent", "--no-audit", "--no-fund", `../${name}`, ...needs);

  const program = await network.network.start({
    command: "node",
    args: [`${bot}/bot.mjs`, relay.url, chain.urls[0]!, `${bob.twin.id}`],
    env: { RMB_SECRET: CAROL.secret },
    ready: /^the gateway of twin 9 has version \d/,
  });
  assert.ok(program.lines.includes(`answering at ${CAROL.id}:greeter`), program.lines.join("\n"));

  await using registry = await TfchainRegistry.connect({ urls: chain.urls });
  const { secret, type } = bob.twin;
  await using client = await Client.connect({
    ...{ secret, keyType: type, registry, relays: [relay.url], session: "deno" },
  });
  const answer = await client.call(CAROL.id, "greeter.hello", "Bob", { session: "greeter" });
  const version = (await run(bot, "node", "--version")).trim();
  assert.equal(answer, `Hello Bob, twin ${bob.twin.id}, from Node ${version}`);
  assert.ok((await program.stop()).success);
  assert.equal(program.lines.at(-1), "closed");

  // Node without a WebSocket, and twins from elsewhere.
  await Deno.writeTextFile(`${bot}/bare.mjs`, BARE);
  const { account, pk } = (await registry.twin(bob.twin.id))!;
  const args = [relay.url, `${bob.twin.id}`, formatHex(account), formatHex(pk!), CAROL.secret];
  const [error, bare] = (await run(bot, "node", "bare.mjs", ...args)).split("\n");
  assert.match(error!, /^RmbError: This platform has no WebSocket/);
  assert.match(bare!, /^\d+\.\d+\.\d+/);

  // Its types, for who writes TypeScript.
  await Deno.writeTextFile(
    `${bot}/types.ts`,
    `import { Client, type ClientOptions, Commands } from "@rmb/protocol";
     import { TfchainRegistry } from "@rmb/protocol/tfchain";
     import { openWsSocket } from "@rmb/protocol/ws-socket";
     export async function sum(options: ClientOptions): Promise<number> {
       await using registry = await TfchainRegistry.connect({ urls: ["wss://tfchain.grid.tf"] });
       const commands = new Commands().handle("x", (n: number, { caller }) => n + caller.twin);
       const more = { commands, registry, openSocket: openWsSocket };
       await using client = await Client.connect({ ...options, ...more });
       // @ts-expect-error Twins have numbers.
       await client.call("7", "x");
       return await client.call<number>(7, "x", 1, { timeout: 5 });
     }`,
  );
  const options = ["--strict", "--module", "nodenext", "--target", "es2022"];
  await run(bot, "npx", "tsc", "--noEmit", ...options, "types.ts");
});

Deno.test("the package is not built over anything else", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/precious`, "");
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-P=test", "tests/npm.ts", folder],
      cwd: root,
    }).output();
    assert.equal(code, 2);
    assert.match(new TextDecoder().decode(stderr), /there is something else in it\n$/);
    assert.ok((await Deno.stat(`${folder}/precious`)).isFile);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
