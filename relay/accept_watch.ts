import { getLogger } from "@logtape/logtape";
import net from "node:net";

const logger = getLogger(["rmb", "relay", "server"]);

/** How often it is tried whether the server takes connections, in milliseconds, and for how long. */
const INTERVAL = 5000;
const PATIENCE = 2000;

/** Where an address that stands for all is reached. */
const LOOPBACK: Readonly<Record<string, string>> = { "::": "::1", "0.0.0.0": "127.0.0.1" };

/**
 * Watches whether a server takes connections, and has it listen anew if it does not: in Deno, a server
 * that once finds no file descriptor left for a connection takes none ever after, and does not say so.
 */
export class AcceptWatch implements Disposable {
  readonly #server: net.Server;
  readonly #address: net.AddressInfo;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Ends the probe that is under way. */
  #endProbe: ((taken: boolean | undefined) => void) | undefined;
  #complained = false;

  /**
   * @param server A server that listens.
   */
  constructor(server: net.Server) {
    this.#server = server;
    this.#address = server.address() as net.AddressInfo;
    this.#timer = setInterval(() => void this.#look(), INTERVAL);
  }

  /** Watches no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#endProbe?.(undefined);
  }

  async #look(): Promise<void> {
    if (this.#endProbe !== undefined) return;
    const { address, port } = this.#address;
    if (this.#server.listening) {
      const taken = await this.#isTaken(LOOPBACK[address] ?? address, port);
      if (taken) this.#complained = false;
      if (taken !== false) return;
      logger.error("no connections are taken any more: listening anew");
      this.#server.close();
    }
    this.#server.listen(port, address);
  }

  /** Whether the server takes a connection; undefined when none can be made. */
  #isTaken(host: string, port: number): Promise<boolean | undefined> {
    return new Promise((resolve) => {
      const probe = net.connect(port, host);
      const end = this.#endProbe = (taken: boolean | undefined) => {
        clearTimeout(timer);
        this.#server.off("connection", onConnection);
        probe.destroy();
        this.#endProbe = undefined;
        resolve(taken);
      };
      const onConnection = ({ remotePort }: net.Socket) => {
        if (remotePort === probe.localPort) end(true);
      };
      const timer = setTimeout(() => end(probe.connecting ? undefined : false), PATIENCE);
      this.#server.on("connection", onConnection);
      probe.on("error", (error) => {
        if (!this.#complained) logger.error("no connection can be made: {error}", { error });
        this.#complained = true;
        end(undefined);
      });
    });
  }
}
