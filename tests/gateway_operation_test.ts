/** What operators see of a gateway: metrics, health, status, and one log line for a change of state. */
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import { CAROL, GatewayNetwork, statusOf, type TestGateway } from "./fixtures/gateway_network.ts";
import { base64Of } from "./fixtures/local_program.ts";
import { ALICE, BOB, Network } from "./fixtures/network.ts";
import type { Program } from "./fixtures/program.ts";
import { exchangeRaw } from "./fixtures/raw_http.ts";

const LISTEN = ["--metrics-listen", "127.0.0.1:0"];

/** Where a gateway is watched. */
async function watchOf(program: Program): Promise<string> {
  const [, url] = await program.line(/metrics are at (http:\/\/127\.0\.0\.1:\d+)\/metrics$/);
  return url!;
}

/** Looks at a path of a gateway: status and body. */
async function look(program: Program, path: string): Promise<string> {
  const response = await fetch(await watchOf(program) + path);
  return `${response.status} ${await response.text()}`;
}

/** All that a gateway counts, by name and labels. */
async function metricsOf({ program }: TestGateway): Promise<Record<string, number>> {
  const response = await fetch(`${await watchOf(program)}/metrics`);
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=/);
  const lines = (await response.text()).split("\n").filter((line) => /^[a-z]/.test(line));
  return Object.fromEntries(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space))];
  }));
}

/** The lines from one on that say of what level and what; times and numbers that differ are left out. */
function logOf({ lines }: Program, from = 0): string[] {
  return lines.slice(from).map((line) => line.replace(/^\S+ /, ""));
}

Deno.test("a gateway counts what it does, and says how it is", async (t) => {
  await using network = await GatewayNetwork.start({ gatewayArgs: LISTEN });
  const { alice, bob, relay } = network;
  const { local } = alice;

  await t.step("messages, answers and time-outs are counted", async () => {
    const ret = await local.request({ dst: [9], dat: base64Of("question") });
    await bob.local.respond(await bob.local.pop("msgbus.test.echo"), {});
    await local.pop(ret);
    await local.ask({ dst: [9], cmd: "rmb.none" });
    await local.ask({ dst: [9], cmd: "silent", exp: 1 });
    await local.ask({ dst: [404] });
    await local.push("msgbus.system.local", { ver: 1, ret: "invalid" });
    await local.pop("invalid");
    const isConfirmed = async () => (await metricsOf(alice))["rmb_peer_messages_waiting"] === 0;
    await until(isConfirmed, "all messages confirmed");
    const values = await metricsOf(alice);
    const expected = {
      'rmb_peer_messages_sent_total{kind="request"}': 3,
      'rmb_peer_messages_sent_total{kind="response"}': 0,
      'rmb_peer_messages_received_total{kind="response"}': 1,
      'rmb_peer_messages_received_total{kind="error"}': 1,
      'rmb_peer_answers_total{of="twin"}': 2,
      'rmb_peer_answers_total{of="relay"}': 0,
      'rmb_peer_answers_total{of="gateway"}': 3,
      "rmb_peer_timeouts_total": 1,
      "rmb_peer_round_trip_seconds_count": 2,
      "rmb_peer_messages_in_hand": 0,
      "rmb_peer_messages_waiting": 0,
      "rmb_peer_redis_up": 1,
      'rmb_peer_queue_entries{queue="local"}': 0,
      'rmb_peer_queue_entries{queue="reply"}': 0,
      'rmb_peer_queue_entries{queue="working"}': 0,
      'rmb_peer_queue_entries{queue="pending"}': 0,
      [`rmb_peer_relay_connected{relay="${relay.domain}"}`]: 1,
      [`rmb_peer_relay_healthy{relay="${relay.domain}"}`]: 1,
      [`rmb_peer_relay_preferred{relay="${relay.domain}"}`]: 1,
      [`rmb_peer_relay_waiting{relay="${relay.domain}"}`]: 0,
    };
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, values[name]]));
    assert.deepEqual(found, expected);
    const offset = values[`rmb_peer_relay_clock_offset_seconds{relay="${relay.domain}"}`]!;
    assert.ok(Math.abs(offset) < 5, `${offset} s`);
    assert.ok(values[`rmb_peer_relay_round_trip_seconds{relay="${relay.domain}"}`]! > 0);
    const trips = values["rmb_peer_round_trip_seconds_sum"]!;
    assert.ok(trips > 0 && trips < 20, `${trips} s`);
    const started = values["process_start_time_seconds"]!;
    assert.ok(started > Date.now() / 1000 - 300 && started < Date.now() / 1000);
    assert.ok(values["process_cpu_seconds_total"]! > 0);
    assert.ok(values["process_resident_memory_bytes"]! > 1e7);
    const others = await metricsOf(bob);
    assert.equal(others['rmb_peer_messages_refused_total{code="0"}'], 1);
    assert.equal(others['rmb_peer_messages_received_total{kind="request"}'], 3);
  });

  await t.step("rmb.status tells a local program the same", async () => {
    const status = await statusOf(alice);
    assert.match(status.version, /^\d+\.\d+\.\d+/);
    assert.equal(status.twin, 7);
    assert.ok(status.uptime >= 0 && status.uptime < 300);
    assert.deepEqual(status.redis, { connected: true });
    const [{ roundTrip, clockOffset, ...first }, ...more] = status.relays;
    assert.deepEqual(more, []);
    assert.deepEqual(first, {
      url: relay.domain,
      connected: true,
      healthy: true,
      preferred: true,
      waiting: 0,
    });
    assert.ok(roundTrip > 0 && Math.abs(clockOffset) < 5);
    // The request itself is in hand.
    const queues = { local: 0, reply: 0, working: 1, pending: 0, commands: {} };
    assert.deepEqual(status.queues, queues);
    assert.equal(status.counts.timeouts, 1);
    assert.deepEqual(status.counts.answers, { twin: 2, relay: 0, gateway: 3 });
    assert.deepEqual((await statusOf(bob)).queues.commands, { silent: 1 });
  });

  await t.step("the example in the documentation works as it is written", async () => {
    const text = await Deno.readTextFile(new URL("../docs/gateway.md", import.meta.url));
    const [, example] = text.match(/^### rmb\.status$[^]*?^```sh\n([^]*?)^```$/m)!;
    const command = example!.replaceAll("redis-cli", `redis-cli -p ${alice.redis.port}`);
    const { stdout, stderr } = await new Deno.Command("sh", { args: ["-c", command] }).output();
    const [length, json] = new TextDecoder().decode(stdout).split(/\n(.*)/s);
    assert.match(length!, /1$/, new TextDecoder().decode(stderr));
    assert.equal(JSON.parse(json!).twin, 7);
  });

  await t.step("other twins don't get it, a session of the same twin does", async () => {
    const { err } = await local.ask({ dst: [9], cmd: "rmb.status" });
    assert.deepEqual(err, { code: 0, message: "no such command: rmb.status" });
    const several = await local.request({ dst: [7, 9], cmd: "rmb.status" });
    const answers = [await local.pop(several), await local.pop(several)];
    // Over the relay, to which it is connected itself.
    assert.deepEqual(answers.map(({ src, err }) => [src, err === null]).toSorted(), [
      ["7", true],
      ["9", false],
    ]);
    const { src, err: none } = await local.ask({ dst: [7], cmd: "rmb.version" });
    assert.deepEqual({ src, none }, { src: "7", none: null });
  });

  await t.step("only metrics and health are served, and nobody is waited for long", async () => {
    assert.equal(await look(alice.program, "/health"), "200 ready\n");
    for (const path of ["/", "/metrics/", "/health/live", "/__proto__", "/toString"]) {
      assert.equal(await look(alice.program, path), "404 page not found\n", path);
    }
    const url = await watchOf(alice.program);
    const posted = await fetch(`${url}/metrics`, { method: "POST", body: "x" });
    assert.deepEqual([posted.status, await posted.text()], [404, "page not found\n"]);
    const head = await fetch(`${url}/health`, { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    const port = Number(new URL(url).port);
    assert.equal((await exchangeRaw(port, [`GET /${"x".repeat(20_000)}`])).status, 431);
    // A full house of those who say nothing is put out.
    const silent = Array.from({ length: 40 }, () => exchangeRaw(port, ["GET /hea"]));
    await Promise.all(silent);
    assert.equal(await look(alice.program, "/health"), "200 ready\n");
  });

  await t.step("the log of all that has no line twice", () => {
    for (const { program } of [alice, bob]) {
      const lines = logOf(program);
      assert.equal(new Set(lines).size, lines.length, lines.join("\n"));
    }
  });
});

Deno.test("a gateway says what is missing, once in the log, and for as long as it is asked", async (t) => {
  await using network = await GatewayNetwork.start({ gatewayArgs: LISTEN });
  const { alice, relay } = network;
  const { program } = alice;
  await until(async () => await look(program, "/health") === "200 ready\n", "it ready");

  /** Waits for a line, and asserts which there were since, whatever the numbers in them. */
  const lines = async (action: () => Promise<unknown>, last: RegExp, expected: RegExp[]) => {
    const from = program.lines.length;
    await action();
    const isThere = () => program.lines.slice(from).some((line) => last.test(line));
    await until(isThere, `a line like ${last}`);
    const found = logOf(program, from);
    assert.equal(found.length, expected.length, found.join("\n"));
    expected.forEach((pattern, i) => assert.match(found[i]!, pattern));
  };

  await t.step("a relay that is away", async () => {
    const lost = /is not connected: \S+ closed the connection \(1006\); next attempt in \d+ ms$/;
    const gone = /is not connected: connect ECONNREFUSED \S+; next attempt in \d+ ms$/;
    await lines(() => relay.program.stop("SIGKILL"), gone, [lost, gone]);
    const health = await look(program, "/health");
    assert.match(health, /^503 alive, but not ready: 127\.0\.0\.1:\d+ was not connected in time/);
    // Told on the spot, without a relay.
    const { relays: [{ connected, healthy, waiting }] } = await statusOf(alice);
    assert.deepEqual({ connected, healthy, waiting }, {
      connected: false,
      healthy: false,
      waiting: 0,
    });
    assert.equal((await metricsOf(alice))[`rmb_peer_relay_connected{relay="${relay.domain}"}`], 0);
    const back = /relay \S+ is connected$/;
    await lines(() => network.network.startRelay({ port: relay.port }), back, [back]);
    await until(async () => await look(program, "/health") === "200 ready\n", "it ready");
  });

  await t.step("Redis that is away", async () => {
    const lost = /\[ERR\].* Redis is not reachable: \S+/;
    await lines(() => alice.redis.program.stop("SIGKILL"), lost, [lost]);
    const health = await look(program, "/health");
    assert.equal(health, "503 alive, but not ready: Redis is not reachable\n");
    const values = await metricsOf(alice);
    assert.equal(values["rmb_peer_redis_up"], 0);
    assert.equal(values['rmb_peer_queue_entries{queue="local"}'], undefined);
    const back = /\[INF\].* Redis is back$/;
    await lines(() => network.network.startRedis(alice.redis.port), back, [back]);
    await until(async () => await look(program, "/health") === "200 ready\n", "it ready");
    await until(() => alice.local.redis.isReady, "the local program connected");
    await statusOf(alice);
  });

  await t.step("nothing more, once it has stopped", async () => {
    assert.equal((await program.stop()).code, 0);
  });
});

Deno.test("a gateway that waits for Redis at its start says so", async () => {
  await using network = await Network.create([ALICE, BOB, CAROL]);
  const nowhere = { program: undefined as never, port: 1, url: "redis://127.0.0.1:1" };
  const gateway = await network.startGateway(ALICE, nowhere, { url: "ws://127.0.0.1:1" }, {
    args: LISTEN,
    ready: /Redis is not reachable/,
  });
  const health = await look(gateway, "/health");
  assert.equal(health, "503 alive, but not ready: Redis is not reachable; starting\n");
  assert.match(await look(gateway, "/metrics"), /^200 [^]*^rmb_peer_redis_up 0$/m);
  assert.equal((await gateway.stop()).code, 0);
});

Deno.test("a gateway that can't listen does not start", async () => {
  await using network = await Network.create([ALICE]);
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const nowhere = { program: undefined as never, port: 1, url: "redis://127.0.0.1:1" };
  const gateway = await network.startGateway(ALICE, nowhere, { url: "ws://127.0.0.1:1" }, {
    args: ["--metrics-listen", `127.0.0.1:${taken.addr.port}`],
    ready: /^rmb-peer: /,
  });
  assert.equal((await gateway.ended).code, 1);
  const last = gateway.lines.at(-1)!;
  assert.match(last, /^rmb-peer: Cannot listen on "127\.0\.0\.1:\d+": .*in use/);
});
