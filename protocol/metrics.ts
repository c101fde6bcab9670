/**
 * What the programs of this project have in common where they are watched: metrics for Prometheus. For
 * Deno only.
 *
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import process from "node:process";

export { addChainMetrics, type ChainRegistry, followsChain } from "./chain_metrics.ts";

/** Numbers by the value of a label; who has none, or an undefined one, is left out. */
export type Labelled = Readonly<Record<string, number | undefined>>;

/** What a program counts: its process from the start, and what is added. */
export class Metrics {
  /**
   * Where others can add theirs.
   *
   * @internal
   */
  readonly registry: Registry = new Registry();

  /** Makes those of the process. */
  constructor() {
    this.counter("process_cpu_seconds_total", "CPU time, user and system", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    this.gauge("process_resident_memory_bytes", "Resident memory", () => Deno.memoryUsage().rss);
    this.gauge(
      "process_start_time_seconds",
      "Unix time of the start",
      () => performance.timeOrigin / 1000,
    );
  }

  /** Adds one that is counted elsewhere, in a plain number that is asked for when someone looks. */
  counter(name: string, help: string, value: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  }

  /** Adds one that is counted elsewhere for each value of a label. */
  counters(name: string, help: string, label: string, values: () => Labelled): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [key, value] of Object.entries(values())) {
          if (value !== undefined) this.inc({ [label]: key }, value);
        }
      },
    });
  }

  /** Adds one whose value is asked for when someone looks. */
  gauge(name: string, help: string, value: () => number | Promise<number>): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect() {
        this.set(await value());
      },
    });
  }

  /** Adds one that has a value for each value of a label; they are asked for when someone looks. */
  gauges(
    name: string,
    help: string,
    label: string,
    values: () => Labelled | Promise<Labelled>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      async collect() {
        const now = Object.entries(await values());
        this.reset();
        for (const [key, value] of now) if (value !== undefined) this.set({ [label]: key }, value);
      },
    });
  }

  /** All of them in Prometheus' text format. */
  async scrape(): Promise<{ readonly status: 200; readonly body: string; readonly type: string }> {
    return { status: 200, body: await this.registry.metrics(), type: this.registry.contentType };
  }
}
