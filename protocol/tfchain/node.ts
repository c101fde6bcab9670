import { RmbError } from "../errors.ts";
import { withResolvers } from "../with_resolvers.ts";

/** How long a node has to answer a call, in milliseconds: one that takes longer hangs. */
const CALL_TIME = 5000;

/** Items kept that come before their subscription is known. */
const MAX_EARLY = 100;

/** A node answered a call with an error. */
export class CallError extends RmbError {
  /** JSON-RPC's code of it. */
  readonly code: number;

  /** Makes the error. */
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** The connection to a node ended, or was given up. */
export class NodeLostError extends RmbError {}

/** A call under way. */
interface Call {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: ReturnType<typeof setTimeout>;
  /** What takes the items, if it subscribes. */
  readonly onItem: ((item: unknown) => void) | undefined;
}

/** An item of a subscription. */
interface Item {
  readonly subscription?: unknown;
  readonly result?: unknown;
}

/** What a node may send. */
interface Incoming {
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly code?: unknown; readonly message?: unknown; readonly data?: unknown };
  readonly params?: Item;
}

/**
 * One connection to a node: JSON-RPC on a WebSocket. A node that does not answer in time, or sends
 * something else, is left; what is under way then fails, and nothing stays behind.
 */
export class Node {
  /** Its URL as people may see it. */
  readonly url: string;
  readonly #socket: WebSocket;
  readonly #calls = new Map<number, Call>();
  readonly #subscriptions = new Map<unknown, (item: unknown) => void>();
  readonly #lost = withResolvers<NodeLostError>();
  readonly #early: Item[] = [];
  #lostBy: NodeLostError | undefined;
  #nextId = 1;

  private constructor(url: string) {
    this.url = redactNodeUrl(url);
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onerror = (event) => {
      this.leave((event as ErrorEvent).message || "connection failed");
    };
    this.#socket.onclose = ({ code, reason }) => {
      this.leave(`it closed the connection (${code}${reason && `: ${reason}`})`);
    };
  }

  /**
   * Connects to a node.
   *
   * @param url `ws:` or `wss:`.
   * @param signal Gives it up, also later.
   * @throws {NodeLostError} if that can't be done, with the reason.
   */
  static async open(url: string, signal: AbortSignal): Promise<Node> {
    signal.throwIfAborted();
    const node = new Node(url);
    const abort = () => node.leave(describe(signal.reason));
    signal.addEventListener("abort", abort);
    node.lost.then(() => signal.removeEventListener("abort", abort));
    const opened = withResolvers<void>();
    node.#socket.onopen = () => opened.resolve();
    await Promise.race([opened.promise, node.lost.then((error) => Promise.reject(error))]);
    return node;
  }

  /** Whether the connection has ended. */
  get isLost(): boolean {
    return this.#lostBy !== undefined;
  }

  /** Resolves with the reason when the connection has ended. */
  get lost(): Promise<NodeLostError> {
    return this.#lost.promise;
  }

  /** Ends the connection. What is under way fails with the reason. */
  leave(reason: string): void {
    if (this.#lostBy !== undefined) return;
    const error = this.#lostBy = new NodeLostError(reason);
    letGo(this.#socket);
    for (const { reject, timer } of this.#calls.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#calls.clear();
    this.#subscriptions.clear();
    this.#lost.resolve(error);
  }

  /**
   * Calls a method.
   *
   * @param method Its name.
   * @param params Its parameters.
   * @param time Milliseconds after which the node is left, because it hangs.
   * @returns What the node answers, which may be anything.
   * @throws {CallError} if the node answers with an error.
   * @throws {NodeLostError} if the connection ends before it answers.
   */
  call<T>(method: string, params: readonly unknown[], time: number = CALL_TIME): Promise<T> {
    return this.#send(method, params, time) as Promise<T>;
  }

  /**
   * Subscribes to something.
   *
   * @param method The method that subscribes.
   * @param params Its parameters.
   * @param onItem Called with each item, which may be anything. If it throws, the node is left.
   * @returns The subscription, for {@linkcode unsubscribe}.
   * @throws As {@linkcode call} does.
   */
  subscribe(
    method: string,
    params: readonly unknown[],
    onItem: (item: unknown) => void,
  ): Promise<unknown> {
    return this.#send(method, params, CALL_TIME, onItem);
  }

  /** Ends a subscription, without waiting for the node. */
  unsubscribe(method: string, subscription: unknown): void {
    this.#subscriptions.delete(subscription);
    this.call(method, [subscription]).catch(() => {}); // It is over in any case.
  }

  #send(
    method: string,
    params: readonly unknown[],
    time: number,
    onItem?: (item: unknown) => void,
  ): Promise<unknown> {
    if (this.#lostBy !== undefined) return Promise.reject(this.#lostBy);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.leave(`no answer to ${method} within ${time / 1000} s`),
        time,
      );
      this.#calls.set(id, { resolve, reject, timer, onItem });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  #receive(text: unknown): void {
    try {
      const { id, result, error, params } = JSON.parse(text as string) as Incoming;
      if (params !== undefined) return this.#receiveItem(params);
      const call = this.#calls.get(id as number);
      if (call === undefined) return;
      this.#calls.delete(id as number);
      clearTimeout(call.timer);
      if (error !== undefined && error !== null) return call.reject(callError(error));
      if (call.onItem !== undefined) this.#subscriptions.set(result, call.onItem);
      call.resolve(result);
      this.#early.splice(0).forEach((item) => this.#receiveItem(item));
    } catch (error) {
      this.leave(`it sent what is not of this protocol: ${describe(error).slice(0, 200)}`);
    }
  }

  /** An item may come before the answer that tells which subscription it is of. */
  #receiveItem(item: Item): void {
    const onItem = this.#subscriptions.get(item.subscription);
    if (onItem !== undefined) return onItem(item.result);
    const subscribing = [...this.#calls.values()].some(({ onItem }) => onItem !== undefined);
    if (subscribing && this.#early.length < MAX_EARLY) this.#early.push(item);
  }
}

/** A node's URL for messages: without user, password, path and query, which may have a key in them. */
export function redactNodeUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === "/" ? "" : "/…"}`;
}

/** Text of a node's error answer: some put what matters into its data. Each part may be anything. */
function callError({ code, message, data }: NonNullable<Incoming["error"]>): CallError {
  const text = [message, data].filter((part) => part !== undefined && part !== null)
    .map((part) => typeof part === "string" ? part : JSON.stringify(part)).join(": ");
  return new CallError(
    typeof code === "number" ? code : NaN,
    text.slice(0, 500) || "an error without a text",
  );
}

/** Stops listening to a socket and closes it, without waiting: closing can take minutes. */
function letGo(socket: WebSocket): void {
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.onerror = () => {};
  try {
    socket.close();
  } catch {
    // It had never begun to connect.
  }
}

/** What an error says. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
