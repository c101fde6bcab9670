import { Counter, Gauge, Registry } from "prom-client";
import process from "node:process";

/** Why a session ended, as the reference's metric has it. */
export type SessionEnd = "closed" | "back_pressure_timeout" | "cancelled";

/** What a relay counts, under the reference's names so that dashboards keep working. */
export class RelayMetrics {
  /** Messages taken for delivery here, and their bytes. */
  received = 0;
  receivedBytes = 0;
  /** Messages written to a socket, and their bytes. */
  sent = 0;
  sentBytes = 0;
  /** Sessions connected. */
  sessions = 0;
  /** Failures of the mailbox's store. */
  storeErrors = 0;
  /** Sessions ended. */
  readonly evictions: Counter<"reason">;
  readonly #registry = new Registry();

  /** Makes them, all at 0. */
  constructor() {
    const registers = [this.#registry];
    // The hot path counts in plain numbers; they are copied when someone looks.
    const counter = (name: string, help: string, value: () => number) =>
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(value());
        },
      });
    counter("relay_message_rx", "Messages taken for delivery here", () => this.received);
    counter("relay_message_rx_bytes", "Bytes of them", () => this.receivedBytes);
    counter("relay_message_tx", "Messages written to a socket", () => this.sent);
    counter("relay_message_tx_bytes", "Bytes of them", () => this.sentBytes);
    counter("relay_store_errors_total", "Failures of the mailbox", () => this.storeErrors);
    counter("process_cpu_seconds_total", "CPU time, user and system", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    this.evictions = new Counter({
      name: "relay_session_evictions_total",
      help: "Sessions ended, by reason",
      labelNames: ["reason"],
      registers,
    });
    const sessions = () => this.sessions;
    new Gauge({
      name: "relay_worker_connections",
      help: "Sessions connected",
      labelNames: ["worker"],
      registers,
      collect() {
        this.set({ worker: "0" }, sessions());
      },
    });
    new Gauge({
      name: "process_resident_memory_bytes",
      help: "Resident memory",
      registers,
      collect() {
        this.set(Deno.memoryUsage().rss);
      },
    });
    new Gauge({
      name: "process_start_time_seconds",
      help: "Unix time of the start",
      registers,
    }).set(performance.timeOrigin / 1000);
  }

  /** All of them in Prometheus' text format. */
  async scrape(): Promise<Response> {
    return new Response(await this.#registry.metrics(), {
      headers: { "content-type": this.#registry.contentType },
    });
  }
}
