/**
 * A bot in Node 20 or later: answers `greeter.hello`, and asks another twin for its version.
 *
 *     npm install @rmb/protocol @polkadot/api ws
 *     RMB_SECRET="…" node bot.mjs wss://relay.grid.tf wss://tfchain.grid.tf 9
 */
import process from "node:process";
import { Client, Commands } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";

// Node has a WebSocket of its own from version 22 on.
globalThis.WebSocket ??= (await import("ws")).WebSocket;

const [relay, substrate, other] = process.argv.slice(2);
const commands = new Commands();
commands.prefix("greeter").handle(
  "hello",
  (name, { caller }) => `Hello ${name}, twin ${caller.twin}, from Node ${process.version}`,
);

const registry = await TfchainRegistry.connect({ urls: [substrate] });
const client = await Client.connect({
  secret: process.env.RMB_SECRET,
  registry,
  relays: [relay],
  session: "greeter",
  commands,
});
console.log(`answering at ${client.twin}:${client.session.connection}`);

const version = await client.call(Number(other), "rmb.version", null, { timeout: 10_000 });
console.log(`the gateway of twin ${other} has version ${version}`);

process.once("SIGTERM", async () => {
  await client.close();
  await registry[Symbol.asyncDispose]();
  console.log("closed");
});
