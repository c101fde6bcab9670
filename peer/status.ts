import type { TwinRegistry } from "@rmb/protocol";
import type { Relays, RelayStatus, Sender } from "@rmb/protocol/endpoint";
import { addChainMetrics, followsChain } from "@rmb/protocol/metrics";
import type { Bus } from "./bus.ts";
import manifest from "./deno.json" with { type: "json" };
import type { Deliveries } from "./deliveries.ts";
import type { Inbound } from "./inbound.ts";
import type { PeerMetrics } from "./metrics.ts";
import { readCommandLengths, readQueues } from "./queues.ts";
import type { WatchAnswer } from "./watch_server.ts";

/** Most commands whose lists are told of. */
const MAX_COMMANDS = 100;

/** What a gateway consists of once it has started. */
export interface RunningParts {
  readonly relays: Relays;
  readonly sender: Sender;
  readonly inbound: Inbound;
  readonly deliveries: Deliveries;
  /** Aborted when it is being stopped. */
  readonly stop: AbortSignal;
}

/** How a gateway is: for who watches it, and for its own twin. Nothing of it is secret. */
export class Status {
  readonly #twin: number;
  readonly #bus: Bus;
  readonly #registry: TwinRegistry;
  readonly #metrics: PeerMetrics;
  #parts: RunningParts | undefined;

  /** Makes one of a gateway that is starting, and adds to its metrics. */
  constructor(twin: number, bus: Bus, registry: TwinRegistry, metrics: PeerMetrics) {
    this.#twin = twin;
    this.#bus = bus;
    this.#registry = registry;
    this.#metrics = metrics;
    metrics.gauge("rmb_peer_redis_up", "Whether Redis is connected", () => +bus.isConnected);
    metrics.gauges(
      "rmb_peer_queue_entries",
      "Entries of the gateway's queues in Redis; none while Redis does not say",
      "queue",
      async () => ({ ...await readQueues(bus) }),
    );
    metrics.gauge(
      "rmb_peer_messages_in_hand",
      "Messages that arrived and are being handled",
      () => this.#parts?.inbound.inHand ?? 0,
    );
    metrics.gauge(
      "rmb_peer_messages_waiting",
      "Messages on their way to a relay that it has not confirmed",
      () => this.#parts?.sender.waiting ?? 0,
    );
    this.#addRelay("connected", "Whether a relay is connected", (relay) => +relay.connected);
    this.#addRelay("healthy", "Whether a relay answers", (relay) => +relay.healthy);
    this.#addRelay("preferred", "Whether messages go through it", (relay) => +relay.preferred);
    this.#addRelay("waiting", "Messages that it has not confirmed", (relay) => relay.waiting);
    this.#addRelay(
      "round_trip_seconds",
      "Time that its last answer to a ping took",
      ({ roundTrip }) => seconds(roundTrip),
    );
    this.#addRelay(
      "clock_offset_seconds",
      "How far its clock is ahead of this machine's",
      ({ clockOffset }) => seconds(clockOffset),
    );
    if (followsChain(registry)) addChainMetrics(metrics, registry);
  }

  /** Tells it what there is to look at, from now on. */
  started(parts: RunningParts): void {
    this.#parts = parts;
  }

  /** What `rmb.status` answers, as JSON. */
  async json(): Promise<string> {
    const commands = this.#parts?.deliveries.commands(MAX_COMMANDS) ?? [];
    const { received, sent, refused, answers, timeouts } = this.#metrics;
    const [queues, lengths] = await Promise.all([
      readQueues(this.#bus),
      readCommandLengths(this.#bus, commands),
    ]);
    return JSON.stringify({
      version: manifest.version,
      twin: this.#twin,
      uptime: Math.round(performance.now() / 1000),
      relays: this.#relays().map(({ url, roundTrip, clockOffset, ...relay }) => ({
        url: hostOf(url),
        ...relay,
        roundTrip: roundTrip ?? null,
        clockOffset: seconds(clockOffset) ?? null,
      })),
      redis: { connected: this.#bus.isConnected },
      queues: queues === undefined ? null : { ...queues, commands: lengths ?? null },
      counts: { received, sent, refused, answers, timeouts },
    });
  }

  /** Whether it can do its work, and what is missing if not. */
  health(): WatchAnswer {
    const missing: string[] = [];
    if (this.#parts?.stop.aborted) missing.push("shutting down");
    if (!this.#bus.isConnected) missing.push("Redis is not reachable");
    const relays = this.#relays();
    if (!relays.some(({ healthy }) => healthy)) {
      missing.push(this.#parts === undefined ? "starting" : this.#parts.relays.explain());
    }
    if (missing.length > 0) {
      return { status: 503, body: `alive, but not ready: ${missing.join("; ")}\n` };
    }
    const alone = followsChain(this.#registry) && this.#registry.statistics().reconnecting;
    const remark = alone
      ? ", but no node of the chain is connected: only known twins are served"
      : "";
    return { status: 200, body: `ready${remark}\n` };
  }

  #relays(): readonly RelayStatus[] {
    return this.#parts?.relays.statuses() ?? [];
  }

  #addRelay(name: string, help: string, value: (relay: RelayStatus) => number | undefined): void {
    this.#metrics.gauges(
      `rmb_peer_relay_${name}`,
      help,
      "relay",
      () => Object.fromEntries(this.#relays().map((relay) => [hostOf(relay.url), value(relay)])),
    );
  }
}

/** What of a relay's URL may be shown to anyone. */
function hostOf(url: string): string {
  return new URL(url).host;
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
