import { printable } from "@rmb/protocol/program";
import type { Span } from "./metrics_text.ts";
import { formatBytes, formatDuration } from "./progress_bar.ts";

/** What is shown of a program: sections of rows, the first cell of each a name. */
export interface View {
  /** Which program it is. */
  readonly kind: "relay" | "gateway";
  readonly sections: readonly Section[];
}

interface Section {
  readonly title: string;
  /** Heads of columns, and their names for programs. */
  readonly columns?: readonly (readonly [head: string, name: string])[];
  /** Whether the names of rows come from elsewhere; programs read them as they are. */
  readonly named?: boolean;
  readonly rows: readonly (readonly [name: string, ...cells: Cell[]])[];
}

/** A value as programs read it, null for none, and as people do. */
interface Cell {
  readonly value: unknown;
  readonly text: string;
}

/** Makes a view of a program's metrics; undefined if they are of neither relay nor gateway. */
export function viewOf(span: Span): View | undefined {
  if (span.now.has("relay_message_rx")) return { kind: "relay", sections: relaySections(span) };
  if (span.now.has("rmb_peer_redis_up")) {
    return { kind: "gateway", sections: gatewaySections(span) };
  }
  return undefined;
}

function relaySections(span: Span): Section[] {
  const { now } = span;
  const relays = new Set([
    ...now.by("federation_message_success", "relay").keys(),
    ...now.by("federation_message_error", "relay").keys(),
  ]);
  const success = span.rates("federation_message_success", "relay");
  const error = span.rates("federation_message_error", "relay");
  return [
    processSection(span),
    {
      title: "sessions",
      rows: [
        ["connected", count(now.total("relay_worker_connections"))],
        ["held back", count(now.total("relay_sessions_held_back"))],
        ["ended", perSecond(span.rate("relay_session_evictions_total"))],
      ],
    },
    {
      title: "messages",
      columns: [["a second", "perSecond"], ["bytes a second", "bytesPerSecond"]],
      rows: [
        [
          "in",
          perSecond(span.rate("relay_message_rx")),
          bytes(span.rate("relay_message_rx_bytes")),
        ],
        [
          "out",
          perSecond(span.rate("relay_message_tx")),
          bytes(span.rate("relay_message_tx_bytes")),
        ],
        ["refused", perSecond(span.rate("relay_messages_refused_total"))],
      ],
    },
    {
      title: "waiting",
      rows: [
        ["in queues", count(now.total("relay_queue_messages"))],
        ["for the store", bytes(now.total("relay_waiting_bytes"))],
        ["for the network", bytes(now.total("relay_unsent_bytes"))],
        ["delivery", latency(span, "relay_delivery_seconds")],
      ],
    },
    {
      title: "federation",
      named: true,
      columns: [["taken, a second", "takenPerSecond"], ["failed, a second", "failedPerSecond"]],
      rows: [...relays].map((relay) => [
        relay,
        perSecond(success.get(relay) ?? 0),
        perSecond(error.get(relay) ?? 0),
      ]),
    },
  ];
}

function gatewaySections(span: Span): Section[] {
  const { now } = span;
  const received = span.rates("rmb_peer_messages_received_total", "kind");
  const sent = span.rates("rmb_peer_messages_sent_total", "kind");
  const relay = (name: string) => now.by(`rmb_peer_relay_${name}`, "relay");
  const [healthy, preferred] = [relay("healthy"), relay("preferred")];
  const [waiting, roundTrip] = [relay("waiting"), relay("round_trip_seconds")];
  return [
    processSection(span),
    {
      title: "relays",
      named: true,
      columns: [["state", "state"], ["waiting", "waiting"], ["round trip", "roundTrip"]],
      rows: [...relay("connected")].map(([name, connected]) => [
        name,
        words(
          !connected
            ? "not connected"
            : !healthy.get(name)
            ? "silent"
            : preferred.get(name)
            ? "in use"
            : "ready",
        ),
        count(waiting.get(name)),
        time(roundTrip.get(name)),
      ]),
    },
    {
      title: "messages",
      columns: [["in, a second", "inPerSecond"], ["out, a second", "outPerSecond"]],
      rows: [
        ...[...received.keys()].map((kind) =>
          [kind, perSecond(received.get(kind) ?? 0), perSecond(sent.get(kind) ?? 0)] as const
        ),
        ["refused", perSecond(span.rate("rmb_peer_messages_refused_total"))],
      ],
    },
    {
      title: "programs",
      rows: [
        ["Redis", words(now.total("rmb_peer_redis_up") ? "connected" : "not connected")],
        ...[...now.by("rmb_peer_queue_entries", "queue")].map(
          ([queue, entries]) => [`queue ${queue}`, count(entries)] as const,
        ),
        ["timeouts", perSecond(span.rate("rmb_peer_timeouts_total"))],
        ["round trip", latency(span, "rmb_peer_round_trip_seconds")],
      ],
    },
  ];
}

function processSection(span: Span): Section {
  const started = span.now.total("process_start_time_seconds") ?? NaN;
  const up = Math.max(Date.now() / 1000 - started, 0);
  const cpu = span.rate("process_cpu_seconds_total");
  return {
    title: "process",
    rows: [
      ["up", cell(up, formatDuration)],
      ["CPU", cell(cpu, (share) => `${Math.round(share * 100)} %`)],
      ["memory", bytes(span.now.total("process_resident_memory_bytes"))],
    ],
  };
}

/** A view as an object: values of each row by section and name. Times are in seconds. */
export function jsonOfView({ kind, sections }: View, host: string): object {
  return {
    kind,
    host,
    ...Object.fromEntries(sections.map(({ title, columns, named, rows }) => [
      title,
      Object.fromEntries(rows.map(([name, ...cells]) => [
        named ? name : camelCase(name),
        columns === undefined
          ? cells[0]?.value
          : Object.fromEntries(cells.map(({ value }, i) => [columns[i]![1], value])),
      ])),
    ])),
  };
}

function camelCase(name: string): string {
  return name.toLowerCase().replace(/ (.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Lines of a view, such that they fit; what does not is left out, and that is said. */
export function renderView(
  { kind, sections }: View,
  host: string,
  { columns, rows }: { readonly columns: number; readonly rows: number },
): string[] {
  const lines = [`rmb ${kind} at ${printable(host)}`];
  for (const { title, columns = [], rows } of sections) {
    if (rows.length === 0) continue;
    lines.push("", line(title.toUpperCase(), columns.map(([head]) => head)));
    for (const [name, ...cells] of rows) {
      lines.push(line(`  ${printable(name)}`, cells.map(({ text }) => text)));
    }
  }
  // Where it is tight, do without the empty lines.
  const fitting = lines.length > rows ? lines.filter((line) => line !== "") : lines;
  const cut = fitting.length > rows
    ? [...fitting.slice(0, rows - 1), `… ${fitting.length - rows + 1} more lines`]
    : fitting;
  return cut.map((line) => line.slice(0, columns));
}

function line(name: string, cells: readonly string[] = []): string {
  const first = name.length > 28 ? `${name.slice(0, 27)}…` : name;
  return `${first.padEnd(28)}${cells.map((cell) => cell.padStart(16)).join("")}`.trimEnd();
}

function cell(value: number | undefined, format: (value: number) => string): Cell {
  return value === undefined || Number.isNaN(value)
    ? { value: null, text: "-" }
    : { value, text: format(value) };
}

function words(text: string): Cell {
  return { value: text, text };
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function count(value: number | undefined): Cell {
  return cell(value, whole);
}

function perSecond(rate: number): Cell {
  return cell(rate, (rate) => `${rate === 0 || rate >= 10 ? whole(rate) : rate.toFixed(1)}/s`);
}

function bytes(value: number | undefined): Cell {
  return cell(value, formatBytes);
}

function time(seconds: number | undefined): Cell {
  return cell(seconds, milliseconds);
}

function milliseconds(seconds: number): string {
  const time = seconds * 1000;
  return `${time < 10 ? Number(time.toPrecision(2)) : Math.round(time)} ms`;
}

function latency(span: Span, histogram: string): Cell {
  const [half, most] = [0.5, 0.99].map((share) => span.quantile(histogram, share));
  if (half === undefined || most === undefined) return { value: null, text: "-" };
  const text = `half ≤ ${milliseconds(half)}, 99 % ≤ ${milliseconds(most)}`;
  return { value: { p50: half, p99: most }, text };
}
