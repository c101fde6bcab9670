import { Metrics } from "@rmb/protocol/metrics";
import { Counter, Histogram } from "prom-client";
import type { ConnectedSession } from "./connected_session.ts";

/** Why a session ended, as the reference's metric has it. */
export type SessionEnd = "closed" | "back_pressure_timeout" | "cancelled";

/** What a relay counts, under the reference's names so that dashboards keep working. */
export class RelayMetrics extends Metrics {
  /** Messages taken for delivery here, and their bytes. */
  received = 0;
  receivedBytes = 0;
  /** Messages written to a socket, and their bytes. */
  sent = 0;
  sentBytes = 0;
  /** Bytes handed to sessions that the kernel has not taken. */
  unsentBytes = 0;
  /** Messages refused: of these, requests were answered with an error. */
  refused = 0;
  /** Sessions connected. */
  readonly sessions = new Set<ConnectedSession>();
  /** Failures of the mailbox's store. */
  storeErrors = 0;
  /** Sessions ended. */
  readonly evictions: Counter<"reason">;
  /** Seconds from handing a message to a socket until the kernel had it; one in 64 is measured. */
  readonly delivery: Histogram;

  /** Makes them, all at 0. */
  constructor() {
    super();
    const registers = [this.registry];
    // The hot path counts in plain numbers; they are copied when someone looks.
    const counter = this.counter.bind(this);
    counter("relay_message_rx", "Messages taken for delivery here", () => this.received);
    counter("relay_message_rx_bytes", "Bytes of them", () => this.receivedBytes);
    counter("relay_message_tx", "Messages written to a socket", () => this.sent);
    counter("relay_message_tx_bytes", "Bytes of them", () => this.sentBytes);
    counter("relay_messages_refused_total", "Messages refused", () => this.refused);
    counter("relay_store_errors_total", "Failures of the mailbox", () => this.storeErrors);
    this.evictions = new Counter({
      name: "relay_session_evictions_total",
      help: "Sessions ended, by reason",
      labelNames: ["reason"],
      registers,
    });
    this.delivery = new Histogram({
      name: "relay_delivery_seconds",
      help:
        "Time until the kernel had a message that was handed to a socket; one in 64 is measured",
      buckets: [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
      registers,
    });
    this.gauges(
      "relay_worker_connections",
      "Sessions connected",
      "worker",
      () => ({ 0: this.sessions.size }),
    );
    this.gauge("relay_sessions_held_back", "Sessions that read too slowly", () => {
      let heldBack = 0;
      for (const session of this.sessions) if (session.heldBack) heldBack++;
      return heldBack;
    });
    this.gauge(
      "relay_unsent_bytes",
      "Bytes handed to sessions that the kernel has not taken",
      () => this.unsentBytes,
    );
  }
}
