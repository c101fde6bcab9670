import { ErrorCode } from "@rmb/protocol/endpoint";
import { Metrics } from "@rmb/protocol/metrics";
import { Histogram } from "prom-client";

/** What kinds of messages are counted as. */
const KINDS = ["request", "response", "error"] as const;

/** Who answers local programs: a twin, a relay with an error, or the gateway itself. */
export type Answerer = "twin" | "relay" | "gateway";

/** What a gateway counts. */
export class PeerMetrics extends Metrics {
  /** Messages that arrived from relays, by kind. */
  readonly received: Record<string, number> = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  /** Messages that a relay has confirmed, by kind. */
  readonly sent: Record<string, number> = { ...this.received };
  /** Messages that arrived and were refused, by code. */
  readonly refused: Record<string, number> = Object.fromEntries(
    Object.values(ErrorCode).map((code) => [code, 0]),
  );
  /** Answers pushed for local programs, by who gave them. */
  readonly answers: Record<Answerer, number> = { twin: 0, relay: 0, gateway: 0 };
  /** Answers of these that say that a twin did not answer in time. */
  timeouts = 0;
  /** Seconds from taking a local program's request until an answer is pushed. */
  readonly roundTrips: Histogram;

  /** Makes them, all at 0. */
  constructor() {
    super();
    this.counters(
      "rmb_peer_messages_received_total",
      "Messages that arrived from relays",
      "kind",
      () => this.received,
    );
    this.counters(
      "rmb_peer_messages_sent_total",
      "Messages that a relay has confirmed",
      "kind",
      () => this.sent,
    );
    this.counters(
      "rmb_peer_messages_refused_total",
      "Messages that arrived and were refused, by error code",
      "code",
      () => this.refused,
    );
    this.counters(
      "rmb_peer_answers_total",
      "Answers pushed for local programs, by who gave them",
      "of",
      () => this.answers,
    );
    this.counter(
      "rmb_peer_timeouts_total",
      "Answers pushed that say that a twin did not answer in time",
      () => this.timeouts,
    );
    this.roundTrips = new Histogram({
      name: "rmb_peer_round_trip_seconds",
      help: "Time from taking a local program's request until the answer of a twin is pushed",
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers: [this.registry],
    });
  }

  /** Counts a message by its kind; what carries none is not worth a number. */
  count(messages: Record<string, number>, kind: string | undefined): void {
    if (kind !== undefined && kind in messages) messages[kind]!++;
  }

  /** Counts a message that is refused; codes that are not the gateways' own count as 500. */
  countRefused(code: number): void {
    this.refused[code in this.refused ? code : ErrorCode.other]!++;
  }
}
