import { getLogger } from "@logtape/logtape";
import { EncryptionKeypair } from "../encryption.ts";
import { Identity } from "../endpoint/identity.ts";
import { publish } from "../endpoint/publish.ts";
import { checkRelays, Relays, type RelayStatus } from "../endpoint/relays.ts";
import { Sender } from "../endpoint/sender.ts";
import { directSignatures } from "../endpoint/signatures.ts";
import { decodeEnvelope } from "../envelope.ts";
import { FormatError, NoTwinError, RegistryError, RmbError, SecretError } from "../errors.ts";
import type { Envelope } from "../gen/types_pb.ts";
import { Keypair, type KeyType } from "../keys.ts";
import type { Session } from "../session.ts";
import type { OpenSocket } from "../socket.ts";
import type { TwinRegistry } from "../twin.ts";
import { type CallOptions, Calls } from "./calls.ts";
import { CommandServer } from "./command_server.ts";
import { Commands } from "./commands.ts";
import { AbortError, ConnectError } from "./errors.ts";
import { BYTES_SCHEMA, encodeJson, JSON_SCHEMA, parseJson } from "./json.ts";
import { newUid } from "../uid.ts";
import { withResolvers } from "../with_resolvers.ts";

const logger = getLogger(["rmb", "client"]);

/** How long connecting may take by default, in milliseconds. */
const CONNECT_TIME = 10_000;

/** What a {@linkcode Client} is made from. */
export interface ClientOptions {
  /** The twin's secret: a mnemonic, or `0x` and a seed, with a derivation path if it has one. */
  readonly secret: string;
  /** The kind of the twin's key. Default `sr25519`. */
  readonly keyType?: KeyType;
  /** Who twins are. It stays the caller's to dispose of. */
  readonly registry: TwinRegistry;
  /** URLs of the twin's relays, `ws:` or `wss:`, 1 to 4, the best first. */
  readonly relays: readonly string[];
  /**
   * Session id that it is reached at: others call `twin:session`. Another client with the same one takes
   * its place. Default: a random one, for who only calls. Null: none; it then answers for the twin itself,
   * and takes the place of a gateway.
   */
  readonly session?: string | null;
  /** What it answers, from the start on. Default: nothing; others are told that there is no such command. */
  readonly commands?: Commands;
  /**
   * Whether to publish the twin's relays and encryption key where it publishes none, and wait for that.
   * What others published is left alone. Default true.
   */
  readonly publish?: boolean;
  /**
   * Opens the WebSockets. Default: the one of the platform. In Node 20, which has none, and for long lives
   * in Deno and Node: `openWsSocket` of `@rmb/protocol/ws-socket`.
   */
  readonly openSocket?: OpenSocket;
  /** Milliseconds that the registry may take, and then the relays. Default 10 s. */
  readonly timeout?: number;
  /** Gives connecting up when it is aborted. */
  readonly signal?: AbortSignal;
}

/** How bytes are sent. */
export interface BytesOptions extends CallOptions {
  /** What the bytes are. Default `application/octet-stream`. */
  readonly schema?: string | undefined;
}

/**
 * A client of the network, for bots: calls commands of other twins, and answers theirs, as one session of a
 * twin. It stays connected until it is closed; calls go on while relays come and go.
 *
 * @example Call a command
 * ```ts
 * import { Client } from "@rmb/protocol";
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 *
 * await using registry = await FileRegistry.open("twins.json");
 * await using client = await Client.connect({
 *   secret: "//Alice",
 *   registry,
 *   relays: ["ws://127.0.0.1:8080"],
 * });
 * const sum = await client.call<number>(2, "calculator.add", [19, 23], { session: "calculator" });
 * console.log(sum);
 * ```
 *
 * @example Answer commands
 * ```ts
 * import { Client, Commands } from "@rmb/protocol";
 * import { FileRegistry } from "@rmb/protocol/file-registry";
 *
 * const commands = new Commands();
 * commands.prefix("calculator")
 *   .handle("add", (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0));
 *
 * await using registry = await FileRegistry.open("twins.json");
 * await using client = await Client.connect({
 *   secret: "//Bob",
 *   registry,
 *   relays: ["ws://127.0.0.1:8080"],
 *   session: "calculator",
 *   commands,
 * });
 * await new Promise((resolve) => Deno.addSignalListener("SIGINT", () => resolve(undefined)));
 * ```
 */
export class Client implements AsyncDisposable {
  /** Which session of which twin it is. */
  readonly session: Session;
  readonly #identity: Identity;
  readonly #relays: Relays;
  readonly #calls: Calls;
  readonly #server: CommandServer;
  readonly #closing = new AbortController();
  /** Settles when it was tried to publish what is missing. */
  readonly #attempted: Promise<void>;
  #onChange: () => void = () => {};
  #closed: Promise<void> | undefined;

  private constructor(twin: number, keypair: Keypair, options: ClientOptions) {
    const { secret, registry, relays: urls, session = newUid(), openSocket } = options;
    this.session = session === null ? { twin } : { twin, connection: session };
    const encryption = EncryptionKeypair.fromSecret(secret);
    const { signal } = this.#closing;
    const { promise, resolve } = withResolvers<void>();
    this.#attempted = promise;
    signal.addEventListener("abort", () => resolve());
    const signatures = directSignatures(keypair);
    this.#identity = new Identity(this.session, signatures, encryption, registry, promise);
    this.#relays = new Relays({
      urls,
      session: this.session,
      keypair,
      onMessage: (bytes) => this.#receive(bytes),
      onChange: () => this.#onChange(),
      ...openSocket && { openSocket },
    });
    const sender = new Sender(this.#identity, this.#relays, signal);
    this.#calls = new Calls(sender, this.#relays);
    this.#server = new CommandServer(options.commands ?? new Commands(), sender);
    void publish({
      ...{ id: twin, keypair, encryption, registry },
      domains: urls.flatMap((url) => registry.relayDomain(url) ?? []),
      update: options.publish ?? true ? "complete" : "warn",
      onAttempt: resolve,
    }, signal);
  }

  /**
   * Finds out which twin the secret is of, and connects to its relays: resolves when one is connected, and
   * what the twin does not publish yet was published, or that was tried.
   *
   * @throws {SecretError} if the secret can't be used.
   * @throws {NoTwinError} if its account has no twin.
   * @throws {RegistryError} if the registry can't be asked.
   * @throws {ConnectError} if the registry does not answer, or no relay is connected, in time; says why.
   * @throws {AbortError} if the signal is aborted.
   * @throws {RmbError} if something else about the options can't work.
   */
  static async connect(options: ClientOptions): Promise<Client> {
    const { secret, keyType, registry, relays } = options;
    // It would be a valid one: the phrase that everybody develops with.
    if (secret.trim() === "") throw new SecretError("Cannot use the secret: it is empty");
    const keypair = Keypair.fromSecret(secret, keyType);
    checkRelays(relays);
    const { timeout = CONNECT_TIME, signal } = options;
    const twin = await within(
      lookUp(registry, keypair),
      signal,
      timeout,
      () => "no answer who the twin is",
    );
    if (twin === undefined) {
      throw new NoTwinError(`No twin has the ${keypair.type} account ${keypair.address}`);
    }
    const client = new Client(twin, keypair, options);
    try {
      await client.#connected(options);
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** Id of its twin. */
  get twin(): number {
    return this.session.twin;
  }

  /** How each of its relays is, in the order given. */
  get relays(): readonly RelayStatus[] {
    return this.#relays.statuses();
  }

  /**
   * Calls a command of a twin, with JSON in and out.
   *
   * @typeParam Result What the twin is trusted to answer: it is not checked.
   * @param twin Id of the twin.
   * @param command The command, for example `calculator.add`.
   * @param data What it is given: anything that has a form in JSON. Default null.
   * @param options How long it may take, and so on.
   * @returns What the twin answers; null for nothing.
   * @throws {RemoteError} if the twin answers with an error: its code and message.
   * @throws {CallTimeoutError} if no answer comes in time; says what is known about it.
   * @throws {OfflineError} if the destination is not connected and the call is to fail then.
   * @throws {UnknownTwinError} if there is no such twin.
   * @throws {RelayError} if a relay refuses the request.
   * @throws {AbortError} if the signal is aborted.
   * @throws {ClosedError} if the client is closed.
   * @throws {FormatError} if the answer is not JSON.
   * @throws {RmbError} if the request can't be sent, for example because it is too long.
   * @throws {TypeError} if an argument is of no use, for example data without a form in JSON.
   */
  async call<Result = unknown>(
    twin: number,
    command: string,
    data?: unknown,
    options: CallOptions = {},
  ): Promise<Result> {
    const request = { command, payload: encodeJson(data), schema: JSON_SCHEMA };
    const { payload, schema } = await this.#calls.call(twin, request, options);
    try {
      return parseJson(payload, schema) as Result;
    } catch (error) {
      throw new FormatError(`Answer of twin ${twin} to ${command}: ${(error as Error).message}`);
    }
  }

  /**
   * Calls a command of a twin with bytes, and gives the bytes that it answers with, whatever they are;
   * otherwise as {@linkcode Client.call}.
   *
   * @param twin Id of the twin.
   * @param command The command.
   * @param payload What it is given; it must not be changed until it is answered.
   * @param options What the bytes are, how long it may take, and so on.
   */
  async callBytes(
    twin: number,
    command: string,
    payload: Uint8Array,
    options: BytesOptions = {},
  ): Promise<Uint8Array> {
    const { schema = BYTES_SCHEMA } = options;
    return (await this.#calls.call(twin, { command, payload, schema }, options)).payload;
  }

  /**
   * Closes the client: calls that wait are refused, handlers under way may finish for 5 s, and what was
   * sent is confirmed. Then it is connected no more.
   */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** Closes the client, see {@linkcode Client.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#calls.close();
    await this.#server.close();
    this.#closing.abort();
    await this.#relays.close();
  }

  /** Waits until a relay is connected and what is missing was published. */
  async #connected({ timeout = CONNECT_TIME, signal }: ClientOptions): Promise<void> {
    const { promise: connected, resolve } = withResolvers<void>();
    this.#onChange = () => this.relays.some(({ connected }) => connected) && resolve();
    this.#onChange();
    try {
      await within(connected, signal, timeout, () => this.#relays.explain());
      await within(this.#attempted, signal);
    } finally {
      this.#onChange = () => {};
    }
  }

  #receive(bytes: Uint8Array): void {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(bytes);
    } catch (error) {
      return logger.debug("a message is refused: {error}", { error: (error as Error).message });
    }
    const open = () => this.#identity.open(envelope);
    if (envelope.message.case === "request") return this.#server.take(envelope, open);
    const { uid } = envelope;
    if (!this.#calls.has(uid)) return; // Nobody waits for it.
    open().then(
      () => this.#calls.take(envelope),
      (error: Error) => this.#calls.refuse(uid, error.message),
    );
  }
}

async function lookUp(registry: TwinRegistry, { publicKey }: Keypair): Promise<number | undefined> {
  try {
    return await registry.twinIdByAccount(publicKey);
  } catch (cause) {
    if (cause instanceof RmbError) throw cause;
    throw new RegistryError("Cannot look the account up", { cause });
  }
}

/**
 * Waits for a part of connecting.
 *
 * @throws {AbortError} if the signal is aborted before.
 * @throws {ConnectError} if it takes longer, in milliseconds; explains why.
 */
async function within<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  timeout?: number,
  explain: () => string = () => "",
): Promise<T> {
  const { promise: failed, reject } = withResolvers<never>();
  const abort = () => reject(new AbortError("Connecting was given up", { cause: signal?.reason }));
  const late = () => reject(new ConnectError(`Cannot connect: ${explain()}`));
  const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    return await Promise.race([work, failed]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
