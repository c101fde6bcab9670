import { RegistryError } from "../errors.ts";
import type { Found } from "./cache.ts";
import type { Codec } from "./codec.ts";
import type { Follower } from "./follower.ts";
import { describe } from "./node.ts";
import type { Nodes } from "./nodes.ts";
import { Turns } from "./turns.ts";

/** Asks the node in use. One that fails or hangs is asked no more than once: then the next one. */
export class LookUps {
  readonly #nodes: Nodes;
  readonly #follower: Follower;
  readonly #turns = new Turns();

  constructor(nodes: Nodes, follower: Follower) {
    this.#nodes = nodes;
    this.#follower = follower;
  }

  /**
   * Looks up a twin.
   *
   * @throws {RegistryError} if that can't be done now.
   */
  async twin(id: number): Promise<Found> {
    try {
      const { bytes, codec, lasting } = await this.#read((codec) => codec.twinKey(id));
      return { twin: bytes === null ? undefined : codec.readTwin(bytes), lasting };
    } catch (cause) {
      throw new RegistryError(`Cannot look up twin ${id}: ${describe(cause)}`, { cause });
    }
  }

  /**
   * Looks up the id of an account's twin.
   *
   * @throws {RegistryError} if that can't be done now.
   */
  async twinIdByAccount(account: Uint8Array): Promise<number | undefined> {
    try {
      const { bytes, codec } = await this.#read((codec) => codec.twinIdKey(account));
      return bytes === null ? undefined : codec.readNumber(bytes);
    } catch (cause) {
      throw new RegistryError(
        `Cannot look up the twin of an account: ${describe(cause)}`,
        { cause },
      );
    }
  }

  async #read(
    keyOf: (codec: Codec) => string,
  ): Promise<{ bytes: string | null; codec: Codec; lasting: boolean }> {
    for (let again = false;; again = true) {
      const link = await this.#nodes.link();
      try {
        return await this.#turns.take(async () => {
          const { codec, head } = link;
          const lasting = this.#follower.isAt(head);
          return { bytes: await link.read(keyOf(codec), head.hash), codec, lasting };
        });
      } catch (error) {
        if (again || error instanceof RegistryError) throw error;
      }
    }
  }
}
