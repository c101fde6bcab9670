import assert from "node:assert/strict";
import { Sample, Span } from "./metrics_text.ts";
import { jsonOfView, renderView, viewOf } from "./top_view.ts";

const GATEWAY = `
process_start_time_seconds 1
process_cpu_seconds_total 4
process_resident_memory_bytes 64000000
rmb_peer_redis_up 1
rmb_peer_queue_entries{queue="local"} 3
rmb_peer_messages_received_total{kind="request"} 100
rmb_peer_messages_sent_total{kind="request"} 7
rmb_peer_relay_connected{relay="a.example"} 1
rmb_peer_relay_healthy{relay="a.example"} 1
rmb_peer_relay_preferred{relay="a.example"} 1
rmb_peer_relay_waiting{relay="a.example"} 0
rmb_peer_relay_round_trip_seconds{relay="a.example"} 0.0234
rmb_peer_relay_connected{relay="b.example"} 0
rmb_peer_relay_healthy{relay="b.example"} 0
rmb_peer_relay_preferred{relay="b.example"} 0
rmb_peer_relay_connected{relay="c.example"} 1
rmb_peer_relay_healthy{relay="c.example"} 0
rmb_peer_relay_connected{relay="d.example"} 1
rmb_peer_relay_healthy{relay="d.example"} 1
rmb_peer_relay_preferred{relay="d.example"} 0
`;

Deno.test("viewOf() knows gateways and relays, and nothing else", () => {
  assert.equal(gateway().kind, "gateway");
  assert.equal(relay(1).kind, "relay");
  const other = new Sample("up 1\n", 0);
  assert.equal(viewOf(new Span(other, other)), undefined);
});

Deno.test("a gateway's view says how each relay is", () => {
  const { relays } = jsonOfView(gateway(), "here") as { relays: Record<string, object> };
  assert.deepEqual(relays, {
    "a.example": { state: "in use", waiting: 0, roundTrip: 0.0234 },
    "b.example": { state: "not connected", waiting: null, roundTrip: null },
    "c.example": { state: "silent", waiting: null, roundTrip: null },
    "d.example": { state: "ready", waiting: null, roundTrip: null },
  });
});

Deno.test("a view as JSON has rates, and names without blanks", () => {
  const json = jsonOfView(gateway(), "here") as Record<string, Record<string, unknown>>;
  assert.equal(json.host, "here");
  assert.deepEqual(json.messages!.request, { inPerSecond: 50, outPerSecond: 3.5 });
  assert.equal(json.process!.cpu, 2);
  assert.equal(json.programs!.queueLocal, 3);
  assert.equal(json.programs!.redis, "connected");
});

Deno.test("a relay's view has federation by relay", () => {
  const json = jsonOfView(relay(2), "here") as Record<string, Record<string, unknown>>;
  assert.deepEqual(json.federation, {
    "relay0.example": { takenPerSecond: 5, failedPerSecond: 0 },
    "relay1.example": { takenPerSecond: 5, failedPerSecond: 0 },
  });
  assert.deepEqual(json.messages!.in, { perSecond: 10, bytesPerSecond: 1000 });
  assert.deepEqual(json.waiting!.delivery, { p50: 0.01, p99: 0.1 });
});

Deno.test("a view fits into 80 columns and 24 rows, with all that matters of a gateway", () => {
  const lines = renderView(gateway(), "127.0.0.1:9464", { columns: 80, rows: 24 });
  assert.ok(lines.length <= 24, lines.join("\n"));
  assert.ok(lines.every((line) => line.length <= 80), lines.join("\n"));
  const text = lines.join("\n");
  for (
    const part of ["rmb gateway at 127.0.0.1:9464", "a.example", "in use", "23 ms", "queue local"]
  ) {
    assert.ok(text.includes(part), `${part} in:\n${text}`);
  }
});

Deno.test("a view says how much of it does not fit", () => {
  const lines = renderView(relay(100), "here", { columns: 80, rows: 24 });
  assert.equal(lines.length, 24);
  const all = renderView(relay(100), "here", { columns: 80, rows: Infinity }).filter(Boolean);
  assert.equal(lines.at(-1), `… ${all.length - 23} more lines`);
});

Deno.test("a view of a narrow terminal is cut, and names can't control it", () => {
  const view = relay(1, "evil\\n\x1b[2Jname");
  for (const line of renderView(view, "a".repeat(100), { columns: 30, rows: 50 })) {
    assert.ok(line.length <= 30);
    assert.doesNotMatch(line, /\p{Cc}/u);
  }
});

function gateway() {
  const before = GATEWAY.replaceAll(/^(rmb_peer_messages\S*|process_cpu\S*) \S+$/gm, "$1 0");
  return viewOf(new Span(new Sample(before, 0), new Sample(GATEWAY, 2)))!;
}

function relay(others: number, name?: string) {
  const text = (factor: number) =>
    [
      `relay_message_rx ${20 * factor}`,
      `relay_message_rx_bytes ${2000 * factor}`,
      `relay_delivery_seconds_bucket{le="0.01"} ${50 * factor}`,
      `relay_delivery_seconds_bucket{le="0.1"} ${100 * factor}`,
      `relay_delivery_seconds_bucket{le="+Inf"} ${100 * factor}`,
      ...Array.from(
        { length: others },
        (_, i) =>
          `federation_message_success{relay="${name ?? `relay${i}.example`}"} ${10 * factor}`,
      ),
      "",
    ].join("\n");
  return viewOf(new Span(new Sample(text(0), 0), new Sample(text(1), 2)))!;
}
