import { CodedError, ErrorCode, knownBy } from "@rmb/protocol/endpoint";
import type { Bus } from "./bus.ts";
import { type CommandQueue, CommandQueues } from "./command_queues.ts";
import { formatRemoteRequest, isReserved, type RemoteRequest } from "./local.ts";

/** Longest command taken, in characters: it is a key, in Redis and here, for as long as it is known. */
const MAX_COMMAND_LENGTH = 1024;

/** Longest name of a command that is shown; who asks chooses it. */
const MAX_SHOWN_NAME = 100;

/** Pushes requests of other twins to the lists of their commands. */
export class Deliveries {
  readonly #bus: Bus;
  readonly #queues: CommandQueues;

  /** Makes one. */
  constructor(bus: Bus) {
    this.#bus = bus;
    this.#queues = new CommandQueues((command) => bus.commandList(command));
  }

  /**
   * Begins to push a request, unless it is a copy of one that was pushed.
   *
   * @returns When the next of the same sender and command may begin; then what becomes of this one:
   * resolves when it is pushed, or known to be a copy.
   * @throws {CodedError} if it is not taken.
   * @throws {RedisLostError} if Redis is away until the request expires.
   */
  async begin(request: RemoteRequest): Promise<[done: Promise<void>]> {
    const { command } = request;
    if (command.length > MAX_COMMAND_LENGTH) {
      throw new CodedError(
        ErrorCode.none,
        `command is longer than ${MAX_COMMAND_LENGTH} characters`,
      );
    }
    if (isReserved(command)) {
      throw new CodedError(ErrorCode.none, `command is reserved: ${command}`);
    }
    const queue = await this.#queues.get(command);
    const isTight = queue.refusal(request.source.twin) !== undefined;
    const done = this.#deliver(queue, request);
    done.catch(() => {});
    if (isTight) await done; // It may take two attempts.
    return [done];
  }

  /** Names of the commands that were asked for last, without very long ones. */
  commands(most: number): string[] {
    return this.#queues.latest(most).filter((name) => name.length <= MAX_SHOWN_NAME);
  }

  async #deliver(queue: CommandQueue, request: RemoteRequest): Promise<void> {
    const { command, source: { twin } } = request;
    const text = formatRemoteRequest(request);
    const known = knownBy(request);
    const place = { twin, bytes: text.length };
    const deadline = request.timestamp + request.expiration;
    for (;;) {
      const refusal = queue.refusal(twin);
      const hasRoom = refusal === undefined;
      queue.reserve(place);
      const delivery = await this.#bus.deliver(command, {
        known,
        deadline,
        request: text,
        hasRoom,
      }).catch((error) => {
        queue.settle(place, false);
        throw error;
      });
      queue.settle(place, delivery.outcome === "pushed", delivery.length);
      if (delivery.outcome !== "refused") return;
      // What was known of the list was old: it is not now.
      if (!hasRoom && queue.refusal(twin) === undefined) continue;
      throw new CodedError(
        ErrorCode.none,
        `requests for ${command} are not being taken: ${refusal ?? "too many wait"}`,
      );
    }
  }
}
