import { CodedError, ErrorCode } from "../endpoint/codes.ts";
import { nameErrors } from "../errors.ts";
import type { Session } from "../session.ts";
import { parseJson } from "./json.ts";

/**
 * A command is refused: the caller gets the code and the message.
 *
 * @example
 * ```ts
 * import { CommandError, Commands } from "@rmb/protocol";
 *
 * const commands = new Commands().handle("calculator.divide", ([a = 0, b = 0]: number[]) => {
 *   if (b === 0) throw new CommandError(1, "division by zero");
 *   return a / b;
 * });
 * ```
 */
export class CommandError extends CodedError {}

nameErrors({ CommandError });

/** A request that was verified, decrypted and not seen before. */
export interface CommandRequest {
  /** Who asks: their twin has signed it. */
  readonly caller: Session;
  /** The whole command. */
  readonly command: string;
  /** As the caller made it: anything at all. */
  readonly uid: string;
  /** The caller's tags. */
  readonly tags: string | undefined;
  /** What the payload is, as the caller says; usually `application/json`. */
  readonly schema: string | undefined;
  /** What the command is given. */
  readonly payload: Uint8Array;
  /** Aborted when nobody waits for the answer any more: it is too late for one, or the client closes. */
  readonly signal: AbortSignal;
}

/**
 * Answers a command: what it returns, or resolves to, is sent as JSON, undefined as null, or as it is if
 * it is a `Uint8Array`. To answer with an error it throws a {@linkcode CommandError}. What else it
 * throws is logged here, and not told to the caller.
 */
export type Handler<Data> = (data: Data, request: CommandRequest) => unknown;

/**
 * Goes before the handlers of commands. It returns what `next()` resolves to, or something else, or throws
 * as a handler does.
 */
export type Middleware = (request: CommandRequest, next: () => Promise<unknown>) => unknown;

type Answerer = (request: CommandRequest) => unknown;

/**
 * The commands that a client answers.
 *
 * @example
 * ```ts
 * import { CommandError, Commands } from "@rmb/protocol";
 *
 * const commands = new Commands();
 * commands.use(({ caller, command }, next) => {
 *   if (caller.twin !== 9) throw new CommandError(403, `twin ${caller.twin} may not ${command}`);
 *   return next();
 * });
 * commands.prefix("calculator")
 *   .handle("add", (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0));
 * ```
 */
export class Commands {
  readonly #handlers = new Map<string, Answerer>();
  readonly #prefixes = new Map<string, Commands>();
  readonly #middleware: Middleware[] = [];

  /**
   * Has a middleware go before all commands that are here, in the order in which they are given, and
   * before those of prefixes. It also sees commands that do not exist.
   */
  use(middleware: Middleware): this {
    this.#middleware.push(middleware);
    return this;
  }

  /**
   * Answers a command whose data is JSON.
   *
   * @typeParam Data What the caller is trusted to send: it is not checked.
   * @param command The command, behind the prefix.
   * @param handler Answers it; null is what it gets of a caller that sends nothing.
   * @throws {TypeError} if the command has a handler.
   */
  // deno-lint-ignore no-explicit-any -- whoever leaves the type out says nothing about the data
  handle<Data = any>(command: string, handler: Handler<Data>): this {
    return this.#add(command, (request) => handler(readData<Data>(request), request));
  }

  /**
   * Answers a command whose data is bytes.
   *
   * @param command The command, behind the prefix.
   * @param handler Answers it.
   * @throws {TypeError} if the command has a handler.
   */
  handleBytes(command: string, handler: Handler<Uint8Array>): this {
    return this.#add(command, (request) => handler(request.payload, request));
  }

  /**
   * The commands that begin with a prefix and a dot, made when they are asked for first.
   *
   * @param name The prefix, without the dot at its end.
   */
  prefix(name: string): Commands {
    const [first, rest] = split(name);
    let commands = this.#prefixes.get(first);
    if (commands === undefined) this.#prefixes.set(first, commands = new Commands());
    return rest === undefined ? commands : commands.prefix(rest);
  }

  /**
   * Answers a request: through the middleware, by the handler of its command.
   *
   * @returns What is to be answered.
   * @throws {CommandError} if there is no such command.
   */
  async answer(request: CommandRequest): Promise<unknown> {
    const [middleware, handler] = this.#find(request.command);
    const go = async (at: number): Promise<unknown> => {
      if (at < middleware.length) {
        return await middleware[at]!(request, () => {
          const result = go(at + 1);
          result.catch(() => {}); // A middleware may forget it: that shall not end the process.
          return result;
        });
      }
      if (handler !== undefined) return await handler(request);
      throw new CommandError(ErrorCode.none, `no such command: ${request.command.slice(0, 100)}`);
    };
    return await go(0);
  }

  #add(command: string, answerer: Answerer): this {
    const [first, rest] = split(command);
    if (rest !== undefined) {
      this.prefix(first).#add(rest, answerer); // Its middleware is for all commands that begin so.
      return this;
    }
    if (this.#handlers.has(command)) {
      throw new TypeError(`Cannot handle "${command}": it has a handler`);
    }
    this.#handlers.set(command, answerer);
    return this;
  }

  #find(command: string): [middleware: readonly Middleware[], handler: Answerer | undefined] {
    const [first, rest] = split(command);
    if (rest === undefined) return [this.#middleware, this.#handlers.get(first)];
    const commands = this.#prefixes.get(first);
    if (commands === undefined) return [this.#middleware, undefined];
    const [middleware, handler] = commands.#find(rest);
    return [[...this.#middleware, ...middleware], handler];
  }
}

/** Text before the first dot, and behind it. */
function split(command: string): [first: string, rest: string | undefined] {
  const dot = command.indexOf(".");
  return dot < 0 ? [command, undefined] : [command.slice(0, dot), command.slice(dot + 1)];
}

function readData<Data>({ command, payload, schema }: CommandRequest): Data {
  try {
    return parseJson(payload, schema) as Data;
  } catch (error) {
    throw new CommandError(ErrorCode.other, `data of ${command}: ${(error as Error).message}`);
  }
}
