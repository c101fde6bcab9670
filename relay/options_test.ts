import assert from "node:assert/strict";
import { evaluate } from "../tests/fixtures/run_peer.ts";
import manifest from "./deno.json" with { type: "json" };

const NEEDED = ["--domain", "relay.test", "--twins", "twins.json"];
const DEFAULTS = {
  domains: ["relay.test"],
  registry: { twins: "twins.json" },
  catchUpThreshold: 600,
  listen: { hostname: "::", port: 8080 },
  store: { data: "rmb-relay.db" },
  rankerPeriod: 3600,
  workers: 100,
  userPerWorker: 1000,
  maxMessage: 64 * 1024 * 1024,
  federationScheme: "https",
  noStatusPage: false,
  verbosity: 0,
};

/** Arguments and environment to read. */
interface Given {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What is read of each, in a process of its own for the sake of the environment. */
async function read(...cases: Given[]) {
  const { code, stdout, stderr } = await evaluate(
    `
    import { parseOptions } from ${JSON.stringify(import.meta.resolve("./options.ts"))};
    for (const { args = [], env = {} } of JSON.parse(Deno.args[0])) {
      for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
      console.log(JSON.stringify(parseOptions(args)));
      for (const name of Object.keys(env)) Deno.env.delete(name);
    }`,
    [JSON.stringify(cases)],
  );
  assert.equal(code, 0, stderr);
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

/** Runs the program with arguments that it does not get far with, until it ends. */
function run(...args: string[]) {
  const main = JSON.stringify(import.meta.resolve("./main.ts"));
  return evaluate(`import { main } from ${main}; await main(Deno.args);`, ["--", ...args]);
}

Deno.test("parseOptions() reads long and short names, and has defaults for the rest", async () => {
  const all = [
    ...["--listen", "127.0.0.1:80", "--data", "x.db", "--limit", "100", "5000", "--debug"],
    ...["--ranker-period", "60", "--workers", "2", "--user-per-worker", "3"],
    ...["--max-message", "1000", "--tls-cert", "c.pem", "--tls-key", "k.pem"],
    ...["--federation-scheme", "http", "--catchup-threshold", "10", "--no-status-page"],
  ];
  const short = [
    ...["-m", "a", "-m", "b:81", "--twins", "t", "-l", "[::1]:0", "-r", "redis://h:1/2"],
    ...["-p", "60", "-w", "2", "-u", "3", "-d", "-d"],
  ];
  assert.deepEqual(await read({ args: NEEDED }, { args: [...NEEDED, ...all] }, { args: short }), [
    DEFAULTS,
    {
      ...DEFAULTS,
      listen: { hostname: "127.0.0.1", port: 80 },
      store: { data: "x.db" },
      rateLimit: { count: 100, size: 5000 },
      rankerPeriod: 60,
      workers: 2,
      userPerWorker: 3,
      maxMessage: 1000,
      tls: { cert: "c.pem", key: "k.pem" },
      federationScheme: "http",
      catchUpThreshold: 10,
      noStatusPage: true,
      verbosity: 1,
    },
    {
      ...DEFAULTS,
      domains: ["a", "b:81"],
      registry: { twins: "t" },
      listen: { hostname: "::1", port: 0 },
      store: { redis: "redis://h:1/2" },
      rankerPeriod: 60,
      workers: 2,
      userPerWorker: 3,
      verbosity: 2,
    },
  ]);
});

Deno.test("parseOptions() looks twins up on the chain unless told to use a file", async () => {
  const [a, b, c] = ["ws://a:9944", "wss://b/ws", "wss://user:secret@c:443"] as const;
  const domain = ["--domain", "relay.test"];
  const cases: [Given, object][] = [
    [{}, {
      substrate: ["", "02.", "03."].map((prefix) => `wss://${prefix}tfchain.grid.tf:443`),
    }],
    [{ args: ["-s", a] }, { substrate: [a] }],
    [{ args: ["-s", a, "-s", b, "--substrate", c] }, { substrate: [a, b, c] }],
    [{ args: ["-s", a, b, c] }, { substrate: [a, b, c] }],
    [{ args: [`--substrate=${a}`, `--substrate=${b}`] }, { substrate: [a, b] }],
    [{ env: { RMB_RELAY_SUBSTRATE: ` ${a}  ${c}` } }, { substrate: [a, c] }],
    [{ args: ["-s", a], env: { RMB_RELAY_SUBSTRATE: b } }, { substrate: [a] }],
    [{ args: ["--twins", "t"], env: { RMB_RELAY_SUBSTRATE: b } }, { twins: "t" }],
    [{ args: ["-s", a], env: { RMB_RELAY_TWINS: "t" } }, { substrate: [a] }],
  ];
  const given = cases.map(([{ args = [], env = {} }]) => ({ args: [...args, ...domain], env }));
  const places = (await read(...given)).map(({ registry }) => registry);
  assert.deepEqual(places, cases.map(([, place]) => place));
});

Deno.test("parseOptions() takes several domains behind one option", async () => {
  const [options] = await read({ args: ["--twins", "t", "-m", "a", "b", "c:1", "-d"] });
  assert.deepEqual(options.domains, ["a", "b", "c:1"]);
});

Deno.test("parseOptions() listens on all addresses when told a port only", async () => {
  const [options] = await read({ args: [...NEEDED, "-l", ":9000"] });
  assert.deepEqual(options.listen, { hostname: "::", port: 9000 });
});

Deno.test("parseOptions() takes domains as twins can publish them, letter for letter", async () => {
  const domains = ["Relay.Example.org", "relay-1", "10.0.0.1:8080", "[::1]:81", "[2001:db8::1]"];
  const args = ["--twins", "twins.json", ...domains.map((domain) => `--domain=${domain}`)];
  assert.deepEqual(await read({ args }), [{ ...DEFAULTS, domains }]);
});

Deno.test("parseOptions() takes from the environment what arguments leave out", async () => {
  const env = {
    RMB_RELAY_DOMAIN: "a b:81",
    RMB_RELAY_TWINS: "t",
    RMB_RELAY_LISTEN: "[::1]:81",
    RMB_RELAY_REDIS: "redis://h",
    RMB_RELAY_LIMIT: "100 5000",
    RMB_RELAY_RANKER_PERIOD: "60",
    RMB_RELAY_WORKERS: "2",
    RMB_RELAY_USER_PER_WORKER: "3",
    RMB_RELAY_TLS_CERT: "c.pem",
    RMB_RELAY_TLS_KEY: "k.pem",
    RMB_RELAY_FEDERATION_SCHEME: "http",
    RMB_RELAY_MAX_MESSAGE: "1000",
    RMB_RELAY_CATCHUP_THRESHOLD: "0",
    RMB_RELAY_NO_STATUS_PAGE: "true",
    RMB_RELAY_DEBUG: "1",
  };
  const given = {
    domains: ["a", "b:81"],
    registry: { twins: "t" },
    listen: { hostname: "::1", port: 81 },
    store: { redis: "redis://h" },
    rateLimit: { count: 100, size: 5000 },
    rankerPeriod: 60,
    workers: 2,
    userPerWorker: 3,
    maxMessage: 1000,
    tls: { cert: "c.pem", key: "k.pem" },
    federationScheme: "http",
    catchUpThreshold: 0,
    noStatusPage: true,
    verbosity: 1,
  };
  const args = ["-m", "c", "--twins=u", "--data", "x.db", "--limit", "1", "2"];
  assert.deepEqual(await read({ env }, { env, args }), [
    given,
    {
      ...given,
      domains: ["c"],
      registry: { twins: "u" },
      store: { data: "x.db" },
      rateLimit: { count: 1, size: 2 },
    },
  ]);
});

Deno.test("rmb-relay answers --help and --version", async () => {
  const [help, version] = await Promise.all([run("--help"), run("--version")]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /^Usage: rmb-relay .*--domain DOMAIN.*RMB_RELAY_DOMAIN/ms);
  assert.match(help.stdout, /^ +--limit +Most messages \(COUNT\), /m);
  assert.match(help.stdout, /^ +--data FILE .* Default: rmb-relay\.db, without --redis\.$/m);
  assert.match(
    help.stdout,
    /^ +-s, --substrate URL .* Default: wss:.*:443 wss:.*, without --twins/ms,
  );
  for (const value of ["600", "[::]:8080", "3600", "100", "1000", "67108864", "https"]) {
    assert.ok(help.stdout.includes(` Default: ${value}.\n`), value);
  }
  assert.doesNotMatch(help.stdout, /^ +(?:COUNT|SIZE)\b/m);
  assert.deepEqual([version.code, version.stdout.trim()], [0, manifest.version]);
});

Deno.test("rmb-relay ends with 2 and says what is wrong with its arguments", async () => {
  const cases: [string[], RegExp][] = [
    [[], /--domain is missing/],
    [["--twins", "t"], /--domain is missing/],
    [[...NEEDED, "-s", "wss://a"], /`--twins` and `-s` cannot be used together/],
    [["-m", "a", "-s", "https://a"], /Cannot use the URL of a node: expected wss:\/\/host/],
    [[...NEEDED, "--catchup-threshold", "-1"], /--catchup-threshold/],
    [["--twins", "t", "--domain", ""], /Cannot use "" as domain: expected host or host:port/],
    [[...NEEDED, "--domain", "https://a/"], /Cannot use "https:\/\/a\/" as domain: expected host/],
    [[...NEEDED, "--domain", "::1"], /Cannot use "::1" as domain: expected .* IPv6 in brackets/],
    [[...NEEDED, "--domain", "a:65536"], /Cannot use "a:65536" as domain: expected host/],
    [[...NEEDED, "--domain", "a_b"], /Cannot use "a_b" as domain: "_" divides/],
    [[...NEEDED, "--listen", "localhost"], /Cannot listen on "localhost": expected host:port/],
    [[...NEEDED, "--listen", "::1:80"], /Cannot listen on "::1:80"/],
    [[...NEEDED, "--listen", ":65536"], /Cannot listen on ":65536"/],
    [[...NEEDED, "--max-message", "0"], /--max-message/],
    [[...NEEDED, "--max-message", "67108865"], /--max-message/],
    [[...NEEDED, "--limit", "5"], /--limit|SIZE/],
    [[...NEEDED, "--redis", "http://x"], /Cannot use the Redis URL/],
    [[...NEEDED, "--redis", "redis://x", "--data", "x.db"], /`--redis` and `--data` cannot be/],
    [[...NEEDED, "--tls-cert", "c.pem"], /--tls-key/],
    [[...NEEDED, "--nonsense"], /--nonsense/],
  ];
  for (const [args, reason] of cases) {
    const { code, stderr } = await run(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, reason);
  }
});

Deno.test("rmb-relay quotes no password of a URL that is wrongly used", async () => {
  const url = "redis://user:secret@localhost";
  const cases: [string[], RegExp][] = [
    [["--redis", url, "--data", "x.db"], /Error: `--redis` and `--data` cannot be used together/],
    [[`--redis=${url}`, "--data=x.db"], /Error: `--redis` and `--data` cannot be used together/],
    [["--redis", url, "--redis", url], /Error: `--redis` cannot be used multiple times/],
    [["--redis", url, url], /Error: Unexpected option or argument: "…"/],
    [[`--redis-url=${url}`], /Error: Unexpected option or argument: "--redis-url=…"/],
    [[`-r${url}`], /Error: Unexpected option or argument: "…"/],
    [[`--debug=${url}`], /Error: Flag `--debug` does not accept a value, but got: "…"/],
    [["--workers", url], /Error: `-w`\/`--workers`: Expected a valid integer, but got "…"/],
    [["--listen", url], /Error: `-l`\/`--listen`: Cannot listen on "…": expected host:port/],
    [["--redis", `${url}/x`], /Error: `-r`\/`--redis`: Cannot use the Redis URL: expected/],
    [["-s", "wss://user:secret@h"], /Error: `--twins` and `-s` cannot be used together/],
    [["-s", "https://user:secret@h"], /Error: .*(?:together|expected wss)/],
    [["-s"], /Error: `-s` requires|Error: `--twins` and `-s`/],
    [["--redis", url, "--nonsense"], /Error: Unexpected option or argument: "--nonsense"/],
  ];
  for (const [args, reason] of cases) {
    const { code, stderr } = await run(...NEEDED, ...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, reason);
    assert.doesNotMatch(stderr, /secret/);
  }
});

Deno.test("rmb-relay ends with 1 and says what it can't start with", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  try {
    const twins = `${folder}/twins.json`;
    await Deno.writeTextFile(twins, '{"twins":[]}');
    await Deno.writeTextFile(`${folder}/no.db`, "not a database ".repeat(100));
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const good = {
      "--domain": "a",
      "--twins": twins,
      "--data": ":memory:",
      "--listen": "127.0.0.1:0",
    };
    const cases: [Partial<typeof good>, RegExp][] = [
      [{ "--twins": `${folder}/none.json` }, /^rmb-relay: Cannot read twins file ".*none\.json"/m],
      [{ "--data": `${folder}/no.db` }, /^rmb-relay: Cannot open mailbox ".*no\.db": .*database/m],
      [{ "--data": `${folder}/none/x` }, /^rmb-relay: Cannot open mailbox ".*none\/x": /m],
      [{ "--listen": `127.0.0.1:${taken.addr.port}` }, /^rmb-relay: .*in use/m],
    ];
    for (const [bad, reason] of cases) {
      const { code, stderr } = await run(...Object.entries({ ...good, ...bad }).flat());
      assert.equal(code, 1, stderr);
      assert.match(stderr, reason);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
