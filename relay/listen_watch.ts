import { getLogger } from "@logtape/logtape";
import net, { type AddressInfo } from "node:net";

const logger = getLogger(["rmb", "relay", "server"]);

/** How often it is looked whether connections are accepted, in milliseconds. */
const LOOK_INTERVAL = 3000;
/** After so many looks at which nobody was, though there was someone, the server listens anew. */
const MAX_MISSED = 2;

/**
 * Has a server listen anew when it accepts no connections any more: Deno's does so for ever, and says
 * nothing, once there was no file descriptor left for one. The connections that it has stay.
 */
export class ListenWatch implements Disposable {
  readonly #server: net.Server;
  readonly #hostname: string;
  readonly #port: number;
  readonly #timer: ReturnType<typeof setInterval>;
  /** A connection of our own, when there was no other since the last look. */
  #probe: net.Socket | undefined;
  #accepted = false;
  #missed = 0;

  /**
   * Begins to watch.
   *
   * @param server One that listens.
   * @param hostname What it was told to listen on.
   */
  constructor(server: net.Server, hostname: string) {
    this.#server = server;
    this.#hostname = hostname;
    this.#port = (server.address() as AddressInfo).port;
    server.on("connection", () => {
      this.#accepted = true;
      this.#endProbe();
    });
    this.#timer = setInterval(() => this.#look(), LOOK_INTERVAL);
  }

  /** Watches no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#endProbe();
  }

  #look(): void {
    if (this.#accepted) this.#missed = 0;
    else if (this.#probe !== undefined) this.#missed++;
    this.#endProbe();
    if (this.#missed >= MAX_MISSED || !this.#server.listening) {
      this.#missed = 0;
      logger.error("no connections are accepted any more: listening anew");
      if (this.#server.listening) this.#server.close();
      this.#server.listen(this.#port, this.#hostname);
    } else if (!this.#accepted) {
      const host = { "::": "::1", "0.0.0.0": "127.0.0.1" }[this.#hostname] ?? this.#hostname;
      this.#probe = net.connect({ port: this.#port, host });
      // There is no file descriptor for it either, for example: nothing is known then.
      this.#probe.on("error", () => this.#endProbe());
    }
    this.#accepted = false;
  }

  #endProbe(): void {
    this.#probe?.destroy();
    this.#probe = undefined;
  }
}
