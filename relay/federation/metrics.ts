import { Counter, Gauge, type Registry } from "prom-client";

/** Most relays counted each by itself: who publishes relays chooses their names. */
const MAX_COUNTED = 1000;

/** As what the others are counted. */
const OTHER = "other";

/** What is counted of messages to other relays, under the reference's names. */
export class FederationMetrics {
  /** Messages held: on their way to other relays, or waiting for their turn. */
  held = 0;
  readonly #success: Counter<"relay">;
  readonly #error: Counter<"relay">;
  readonly #counted = new Set<string>();

  /**
   * Makes them, all at 0.
   *
   * @param registry Where they are published.
   */
  constructor(registry: Registry) {
    const registers = [registry];
    const counter = (name: string, help: string) =>
      new Counter({ name, help, labelNames: ["relay"], registers });
    this.#success = counter("federation_message_success", "Messages that other relays took");
    this.#error = counter("federation_message_error", "Tries that failed, by relay tried");
    const held = () => this.held;
    new Gauge({
      name: "federation_messages_held",
      help: "Messages on their way to other relays, or waiting for their turn",
      registers,
      collect() {
        this.set(held());
      },
    });
  }

  /** A relay took a message. */
  succeeded(domain: string): void {
    this.#success.inc({ relay: this.#label(domain) });
  }

  /** A try failed in which a relay was asked. */
  failed(domain: string): void {
    this.#error.inc({ relay: this.#label(domain) });
  }

  /** Messages taken and tries failed so far, by relay; those of an empty name are of many. */
  async byRelay(): Promise<
    { readonly taken: Map<string, number>; readonly failed: Map<string, number> }
  > {
    const [taken, failed] = await Promise.all([this.#success, this.#error].map(async (counter) => {
      const { values } = await counter.get();
      return new Map(
        values.map(({ labels: { relay }, value }) => [relay === OTHER ? "" : String(relay), value]),
      );
    }));
    return { taken: taken!, failed: failed! };
  }

  #label(domain: string): string {
    if (this.#counted.size < MAX_COUNTED) this.#counted.add(domain);
    return this.#counted.has(domain) ? domain : OTHER;
  }
}
