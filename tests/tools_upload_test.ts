import assert from "node:assert/strict";
import { FileNetwork } from "./fixtures/file_network.ts";
import { BOB, Network } from "./fixtures/network.ts";
import { Terminal } from "./fixtures/terminal.ts";
import { runTool, startTool, toolArguments } from "./fixtures/tools.ts";

/** Bytes that take a while. */
const LARGE = 200_000_000;

Deno.test("upload sends a file through the gateway, and waits until it is there", async () => {
  await using files = await FileNetwork.start();
  const env = { RMB_PEER_REDIS: files.alice.redis.url };
  const { path, sha256 } = await files.makeFile("report.pdf", 1_000_000);
  const run = await runTool(["upload", path, "9", "--command", "reports.new"], { env });
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^upload [0-9a-f-]{36} begins\n/);
  assert.ok(
    run.stdout.endsWith(`the file is there: 1.0 MB, verified\nSHA-256 ${sha256}\n`),
    run.stdout,
  );
  const { dat } = await files.bob.local.pop("msgbus.reports.new");
  const { name, size } = JSON.parse(atob(dat));
  assert.deepEqual({ name, size }, { name: "report.pdf", size: 1_000_000 });
});

Deno.test("upload writes lines of JSON, with how fast it is", async () => {
  await using files = await FileNetwork.start();
  const env = { RMB_PEER_REDIS: files.alice.redis.url };
  const { path, sha256 } = await files.makeFile("large", LARGE);
  const { code, stdout } = await runTool(["upload", "--json", path, "9"], { env });
  assert.equal(code, 0);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.match(lines.shift().upload, /^[0-9a-f-]{36}$/);
  assert.deepEqual(lines.pop(), { done: true, size: LARGE, sha256, verified: true });
  assert.ok(lines.length > 0);
  for (const { uploaded, size, rate, left } of lines) {
    assert.ok(uploaded <= LARGE && size === LARGE && rate >= 0);
    assert.equal(left === null, rate === 0 && uploaded < LARGE);
  }
});

Deno.test("upload says why a file can't be sent, with code 3", async () => {
  await using files = await FileNetwork.start();
  const env = { RMB_PEER_REDIS: files.alice.redis.url };
  const run = await runTool(["upload", "/no/such/file", "9"], { env });
  assert.deepEqual({ code: run.code, stdout: run.stdout }, { code: 3, stdout: "" });
  assert.match(run.stderr, /^rmb-peer upload: file "\/no\/such\/file" can't be uploaded/);
  const { path } = await files.makeFile("small", 10);
  const json = await runTool(["upload", "--json", "-t", "1", path, "9:nobody"], { env });
  assert.equal(json.code, 3);
  const { error } = JSON.parse(json.stdout);
  assert.equal(error.kind, "UploadError");
  assert.match(error.message, /^9:nobody did not agree in time/);
});

Deno.test("upload takes its request back where no gateway takes it, with code 4", async () => {
  await using network = await Network.create([BOB]);
  const redis = await network.startRedis();
  const run = await runTool(["upload", "/etc/hostname", "9"], {
    env: { RMB_PEER_REDIS: redis.url },
  });
  assert.equal(run.code, 4);
  assert.match(run.stderr, /No gateway takes requests from the Redis at redis:\/\/127/);
  const left = new Deno.Command("redis-cli", {
    args: ["-p", `${redis.port}`, "EXISTS", "msgbus.system.local"],
  });
  assert.equal(new TextDecoder().decode((await left.output()).stdout).trim(), "0");
});

Deno.test("upload quotes no password of a Redis that it can't reach", async () => {
  const { code, stderr } = await runTool(["upload", "/etc/hostname", "9"], {
    env: { RMB_PEER_REDIS: "redis://:hush@127.0.0.1:1" },
  });
  assert.equal(code, 1);
  assert.match(stderr, /Cannot connect to Redis at redis:\/\/127\.0\.0\.1:1: /);
  assert.doesNotMatch(stderr, /hush/);
});

Deno.test("the gateway goes on with an upload that is interrupted, and its answers expire", async () => {
  await using files = await FileNetwork.start();
  const env = { RMB_PEER_REDIS: files.alice.redis.url };
  const { path, sha256 } = await files.makeFile("large", LARGE);
  const args = ["upload", path, "9", "--command", "files.new"];
  await using upload = await startTool(args, /^upload .+ begins/, { env });
  const { code } = await upload.stop("SIGINT");
  assert.equal(code, 130);
  await upload.line(/no longer watched: the gateway goes on/);
  const { dat } = await files.bob.local.pop("msgbus.files.new");
  assert.equal(JSON.parse(atob(dat)).sha256, sha256);
  const { redis } = files.alice.local;
  const [list] = await redis.keys("rmb-peer.upload.*");
  assert.ok(await redis.ttl(list!) > 3600);
});

Deno.test("upload goes on when Redis was away", async () => {
  await using files = await FileNetwork.start();
  const { alice } = files;
  const env = { RMB_PEER_REDIS: alice.redis.url };
  const { path } = await files.makeFile("large", LARGE);
  await using upload = await startTool(["upload", path, "9"], /^upload .+ begins/, { env });
  await alice.local.redis.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"])
    .catch(() => {}); // It kills itself too.
  await upload.line(/^the file is there/);
  assert.equal((await upload.ended).code, 0);
});

const onLinux = { ignore: Deno.build.os !== "linux" };

Deno.test("upload shows a bar on a terminal", onLinux, async () => {
  await using files = await FileNetwork.start();
  const { path, sha256 } = await files.makeFile("large", LARGE);
  const command = [Deno.execPath(), ...toolArguments(["upload", path, "9"], "peer")];
  await using terminal = new Terminal(command, { RMB_PEER_REDIS: files.alice.redis.url });
  await terminal.shows(/\[=* *\] \d+ %, [\d.]+ [kM]?B of 200 MB/);
  await terminal.shows(new RegExp(`SHA-256 ${sha256}`));
  assert.equal(await terminal.ended(), 0);
});
