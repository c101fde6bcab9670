import { formatHex } from "../account.ts";
import { formatRelayDomains, parseRelayDomains } from "../domain.ts";
import { FormatError, RegistryError, RmbError } from "../errors.ts";
import type { Keypair } from "../keys.ts";
import { onAbort, pause } from "../pause.ts";
import type { Twin, TwinUpdate } from "../twin.ts";
import type { Follower } from "./follower.ts";
import type { Link } from "./link.ts";
import { CallError, describe, NodeLostError } from "./node.ts";
import { type Nodes, NotConnectedError } from "./nodes.ts";
import { withResolvers } from "../with_resolvers.ts";

/** How long an update may take, in milliseconds: ten blocks. */
const UPDATE_TIME = 60_000;

/** How often a transaction is made anew that did not get into a block. */
const RETRIES = 1;

/** Wait before a node is looked for again, in milliseconds. */
const NODE_WAIT = 1000;

/** What nodes answer if another transaction came before: it is known, has a lower priority, is stale. */
const OVERTAKEN_CODES = [1013, 1014];
const OVERTAKEN = /outdated|stale|ancient/i;

/** What nodes answer if an account can't pay. */
const UNPAID = /inability to pay/i;

/** A transaction did not get into a block, but another like it may. */
class OvertakenError extends RmbError {}

/** An update under way. */
interface Update {
  readonly keypair: Keypair;
  readonly wanted: TwinUpdate;
  /** Gives it up. */
  readonly signal: AbortSignal;
  /** What kept it from being done so far. */
  obstacle: string;
}

/** Has twins publish their relays and encryption keys, by transactions that they sign. */
export class Updater implements Disposable {
  readonly #nodes: Nodes;
  readonly #follower: Follower;
  readonly #underWay = new Set<AbortController>();

  constructor(nodes: Nodes, follower: Follower) {
    this.#nodes = nodes;
    this.#follower = follower;
  }

  /**
   * Publishes relays and encryption key of a key pair's twin, unless they are so already. It is done
   * when it is in a block.
   *
   * @throws {RegistryError} if it is refused, or not done within 60 s.
   */
  async update(keypair: Keypair, wanted: TwinUpdate): Promise<void> {
    const stop = new AbortController();
    const update: Update = { keypair, wanted, signal: stop.signal, obstacle: "no block had it" };
    const timer = setTimeout(
      () => stop.abort(`not done within ${UPDATE_TIME / 1000} s: ${update.obstacle}`),
      UPDATE_TIME,
    );
    this.#underWay.add(stop);
    try {
      await Promise.race([this.#publish(update), aborted(stop.signal)]);
    } catch (cause) {
      const reason = describe(cause);
      throw new RegistryError(`Cannot update the twin of ${keypair.address}: ${reason}`, { cause });
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(stop);
      stop.abort();
    }
  }

  /** Gives up what is under way. */
  [Symbol.dispose](): void {
    for (const stop of this.#underWay) stop.abort("the registry is closed");
  }

  async #publish(update: Update): Promise<void> {
    for (let retries = 0; !update.signal.aborted;) {
      try {
        const link = await this.#nodes.link();
        // Also after a transaction that nothing more was heard of.
        const block = await isPublished(link, update)
          ? link.head.number
          : await submit(link, update);
        return await this.#follower.reach(block);
      } catch (error) {
        update.obstacle = describe(error);
        if (isPassing(error)) {
          await pause(NODE_WAIT, update.signal);
        } else if (!(error instanceof OvertakenError) || retries++ === RETRIES) {
          throw error;
        }
      }
    }
  }
}

/** Whether an error says that a node can't be asked: another may. */
function isPassing(error: unknown): boolean {
  return [NotConnectedError, NodeLostError, CallError].some((kind) => error instanceof kind);
}

/** Whether the chain has what is to be published. */
async function isPublished(link: Link, { keypair, wanted }: Update): Promise<boolean> {
  const { codec, head: { hash } } = link;
  const id = await link.read(codec.twinIdKey(keypair.publicKey), hash);
  const stored = id && await link.read(codec.twinKey(codec.readNumber(id)), hash);
  if (!stored) throw new RegistryError(`no twin on ${codec.runtime.chain} has this account`);
  return textOf(codec.readTwin(stored)) === textOf(wanted);
}

function textOf({ relays, pk }: Pick<Twin, "relays" | "pk">): string {
  const domains = parseRelayDomains(formatRelayDomains(relays));
  return `${domains} ${pk && formatHex(pk)}`;
}

/** Sends the transaction, and returns the number of the block that has it. */
async function submit(link: Link, { keypair, wanted, signal }: Update): Promise<number> {
  const { codec, head, node } = link;
  const nonce = await node.call<number>("system_accountNextIndex", [keypair.address]);
  const extrinsic = await codec.signUpdate(keypair, wanted, nonce, head);
  const included = withResolvers<string>();
  const ended = Promise.race([
    included.promise,
    aborted(signal),
    node.lost.then((error) => Promise.reject(error)),
  ]);
  ended.catch(() => {}); // It may end before it is waited for.
  let subscription: unknown;
  try {
    if (signal.aborted) throw new RegistryError(`${signal.reason}`);
    subscription = await node.subscribe(
      "author_submitAndWatchExtrinsic",
      [extrinsic],
      (status) => settle(status, included),
    );
    return await outcome(link, extrinsic, await ended);
  } catch (error) {
    if (error instanceof FormatError) throw new OvertakenError(error.message);
    throw error instanceof CallError ? refusal(error) : error;
  } finally {
    if (subscription !== undefined) node.unsubscribe("author_unwatchExtrinsic", subscription);
  }
}

/** Takes what a node tells about a transaction: that a block has it, or that none will. */
function settle(status: unknown, included: PromiseWithResolvers<string>): void {
  const { inBlock, finalized, usurped } = Object(status) as Record<string, unknown>;
  if (inBlock !== undefined || finalized !== undefined) included.resolve(`${inBlock ?? finalized}`);
  if (usurped !== undefined) included.reject(new OvertakenError("another transaction replaced it"));
  if (status === "dropped" || status === "invalid") {
    included.reject(new OvertakenError(`the node has given the transaction up as ${status}`));
  }
}

/** Number of the block that has the transaction, if it succeeded there. */
async function outcome(link: Link, extrinsic: string, hash: string): Promise<number> {
  const { codec, node } = link;
  const { block } = await node.call<{ block: { header: unknown; extrinsics: string[] } }>(
    "chain_getBlock",
    [hash],
  );
  const index = block.extrinsics.indexOf(extrinsic);
  const events = codec.readEvents(await link.read(codec.eventsKey, hash) ?? "0x00")
    .filter((event) => index >= 0 && event.extrinsic === index);
  const failed = events.find(({ name }) => name === "system.ExtrinsicFailed");
  if (failed !== undefined) throw new RegistryError(`refused: ${codec.readFailure(failed)}`);
  if (!events.some(({ name }) => name === "system.ExtrinsicSuccess")) {
    throw new OvertakenError("the block that should have the transaction does not say how it went");
  }
  return codec.readHead(block.header).number;
}

function refusal({ code, message }: CallError): RmbError {
  if (OVERTAKEN_CODES.includes(code) || OVERTAKEN.test(message)) {
    return new OvertakenError(`refused: ${message}`);
  }
  if (UNPAID.test(message)) {
    return new RegistryError(`the account has too little to pay for it (${message})`);
  }
  return new RegistryError(`refused: ${message}`);
}

/** Rejects when a signal aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    onAbort(signal, () => reject(new RegistryError(`${signal.reason}`)));
  });
}
