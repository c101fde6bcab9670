/** The dashboard and the alerts that operators are given: whether what they ask for is there. */
import assert from "node:assert/strict";
import { GatewayNetwork } from "./fixtures/gateway_network.ts";

const deploy = new URL("../docs/deploy/", import.meta.url);

/** Names in an expression that can only be metrics. */
const METRICS = /\b(?:relay|federation|rmb|events_listener|process)_\w+/g;

/** Labels of what is not told before it has been counted once. */
const UNCOUNTED: Readonly<Record<string, readonly string[]>> = {
  federation_message_success: ["relay"],
  federation_message_error: ["relay"],
  relay_session_evictions_total: ["reason"],
};

/** All metrics that a text asks for. */
function askedFor(text: string): string[] {
  return [...new Set(text.match(METRICS))];
}

Deno.test("dashboard and alerts ask for metrics and labels that there are", async () => {
  await using network = await GatewayNetwork.start({
    gatewayArgs: ["--metrics-listen", "127.0.0.1:0"],
  }, {
    blockTime: 200,
  });
  const [, address] = await network.alice.program.line(/metrics are at (http:\S+)/);
  const texts = await Promise.all(
    [`${network.relay.http}/metrics`, address!].map(async (url) => await (await fetch(url)).text()),
  );
  const metrics = texts.join("\n");
  const declared = new Set(
    [...metrics.matchAll(/^# TYPE (\w+) (\w+)/gm)].flatMap(([, name, type]) =>
      type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    ),
  );

  const dashboard = JSON.parse(await Deno.readTextFile(new URL("grafana-dashboard.json", deploy)));
  const expressions: string[] = dashboard.panels.flatMap(
    ({ targets = [] }: { targets?: { expr: string }[] }) => targets.map(({ expr }) => expr),
  );
  assert.ok(expressions.length > 20);
  const rules = await Deno.readTextFile(new URL("prometheus-rules.yaml", deploy));
  const asked = [...askedFor(expressions.join("\n")), ...askedFor(rules)];
  assert.deepEqual(asked.filter((name) => !declared.has(name)), []);

  // The labels that they are selected, summed and named by are there. Prometheus adds two of its own.
  const queries: { text: string; named: string }[] = [
    ...dashboard.panels.flatMap(
      ({ targets = [] }: { targets?: { expr: string; legendFormat: string }[] }) =>
        targets.map(({ expr, legendFormat }) => ({ text: expr, named: legendFormat })),
    ),
    ...rules.split("- alert:").slice(1).map((text) => ({ text, named: text })),
  ];
  for (const { text, named } of queries) {
    const names = askedFor(text);
    const labels = [
      ...text.matchAll(/by \(([^)]+)\)/g).flatMap(([, list]) => list!.split(/,\s*/)),
      ...text.matchAll(/[{,](\w+)=~?"/g).map(([, label]) => label!),
      ...named.matchAll(/\{\{ ?(?:\$labels\.)?(\w+) ?\}\}/g).map(([, label]) => label!),
    ];
    for (const label of labels) {
      if (["instance", "job"].includes(label)) continue;
      for (const name of names) {
        const known = UNCOUNTED[name]?.includes(label) ||
          new RegExp(`^${name}\\{[^}]*\\b${label}="`, "m").test(metrics);
        assert.ok(known, `${name} has no label ${label}`);
      }
    }
  }
});

Deno.test("units and images run with options that there are", async () => {
  const help = async (program: string) => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", `-P=${program}`, `${program}/mod.ts`, "--help"],
      cwd: new URL("../", import.meta.url),
    }).output();
    return new TextDecoder().decode(stdout);
  };
  const [relay, peer] = await Promise.all([help("relay"), help("peer")]);
  for await (const { name } of Deno.readDir(deploy)) {
    const text = await Deno.readTextFile(new URL(name, deploy));
    for (const [variable, program, option] of text.matchAll(/RMB_(RELAY|PEER)_([A-Z_]+)/g)) {
      const known = program === "RELAY" ? relay : peer;
      const long = `--${option!.toLowerCase().replaceAll("_", "-")}`;
      assert.ok(known.includes(`${long} `), `${name}: ${variable}`);
    }
  }
});
