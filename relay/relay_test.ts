import assert from "node:assert/strict";
import {
  createEnvelope,
  createToken,
  decodeEnvelope,
  encodeEnvelope,
  type Envelope,
  Keypair,
  RegistryError,
  type Session,
  type Twin,
  type TwinRegistry,
  unixNow,
} from "@rmb/protocol";
import { inTime } from "../tests/fixtures/deadline.ts";
import { Relay } from "./relay.ts";
import { SqliteStore } from "./sqlite/store.ts";

const keypair = Keypair.fromSecret("//Alice", "ed25519");

/** A relay in this process, with a registry and a mailbox that fail or wait when told to. */
class Fixture implements AsyncDisposable {
  /** What a look-up of a twin gives. By default every twin is Alice's, and on this relay. */
  lookUp: (twin: Twin) => Promise<Twin | undefined> = (twin) => Promise.resolve(twin);
  /** The twins looked up so far. */
  readonly lookedUp: number[] = [];
  readonly store = new SqliteStore(":memory:");
  relay!: Relay;
  readonly #clients: Client[] = [];

  static async start(): Promise<Fixture> {
    const fixture = new Fixture();
    fixture.relay = await Relay.start({
      domains: ["relay.test"],
      registry: fixture.#registry(),
      store: fixture.store,
      hostname: "127.0.0.1",
      port: 0,
    });
    return fixture;
  }

  async connect(session: Session): Promise<Client> {
    const token = await createToken(keypair, session);
    const client = new Client(`ws://127.0.0.1:${this.relay.address.port}/?${token}`, session);
    this.#clients.push(client);
    await client.opened;
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.relay[Symbol.asyncDispose]();
    await Promise.all(this.#clients.map(({ closed }) => closed));
    await this.store[Symbol.asyncDispose]();
  }

  #registry(): Pick<TwinRegistry, "twin"> {
    return {
      twin: (id) => {
        this.lookedUp.push(id);
        const { publicKey: account } = keypair;
        return this.lookUp({ id, account, relays: ["relay.test"], pk: undefined });
      },
    };
  }
}

/** A session on a WebSocket. */
class Client {
  readonly opened: Promise<unknown>;
  /** The code that it is closed with. */
  readonly closed: Promise<number>;
  readonly #session: Session;
  readonly #socket: WebSocket;
  readonly #received: Envelope[] = [];
  #arrived = () => {};

  constructor(url: string, session: Session) {
    this.#session = session;
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve) => this.#socket.onopen = resolve);
    this.closed = new Promise((resolve) => this.#socket.onclose = ({ code }) => resolve(code));
    this.#socket.onmessage = ({ data }) => {
      this.#received.push(decodeEnvelope(new Uint8Array(data)));
      this.#arrived();
    };
  }

  send(uid: string, twin: number, kind: "request" | "response" | "ping" = "request"): void {
    const value = kind === "request" ? { command: "do" } : {};
    const message = { case: kind, value } as { case: "request"; value: { command: string } };
    const fields = { uid, message, expiration: 60n, timestamp: BigInt(unixNow()) };
    const envelope = createEnvelope({ ...fields, source: this.#session, destination: { twin } });
    this.#socket.send(encodeEnvelope(envelope) as Uint8Array<ArrayBuffer>);
  }

  /** What arrives next: its uid, or what an error says. */
  async next(): Promise<string> {
    while (this.#received.length === 0) {
      await inTime(new Promise<void>((resolve) => this.#arrived = resolve), "a message");
    }
    const { uid, message } = this.#received.shift()!;
    return message.case === "error" ? `${uid}: ${message.value.message}` : uid;
  }

  async take(count: number): Promise<string[]> {
    const taken: string[] = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  /** Waits until the relay has seen what was sent before. */
  async seen(): Promise<void> {
    this.send("seen", 1, "ping");
    assert.equal(await this.next(), "seen");
  }
}

Deno.test("Relay keeps the order while a destination is looked up, and connects meanwhile", async () => {
  await using fixture = await Fixture.start();
  const sender = await fixture.connect({ twin: 7 });
  const found = Promise.withResolvers<void>();
  fixture.lookUp = (twin) => found.promise.then(() => twin);
  for (const uid of ["1", "2", "3"]) sender.send(uid, 8);
  await sender.seen();
  const connecting = fixture.connect({ twin: 8 });
  for (const uid of ["4", "5"]) sender.send(uid, 8);
  await sender.seen();
  found.resolve();
  const receiver = await connecting;
  assert.deepEqual(await receiver.take(5), ["1", "2", "3", "4", "5"]);
  sender.send("6", 8);
  assert.equal(await receiver.next(), "6");
});

Deno.test("Relay tells requesters when destinations can't be looked up, and goes on", async () => {
  await using fixture = await Fixture.start();
  const sender = await fixture.connect({ twin: 7 });
  const receiver = await fixture.connect({ twin: 8 });
  fixture.lookUp = () => Promise.reject(new RegistryError("the chain is down"));
  sender.send("response", 9, "response");
  sender.send("request", 9);
  assert.equal(await sender.next(), "request: destination can't be looked up now");
  sender.send("1", 8);
  assert.equal(await receiver.next(), "1");
  fixture.lookUp = (twin) => Promise.resolve(twin);
  sender.send("2", 9);
  const late = await fixture.connect({ twin: 9 });
  assert.equal(await late.next(), "2");
});

Deno.test("Relay tells requesters when messages can't be stored, and goes on", async () => {
  await using fixture = await Fixture.start();
  const sender = await fixture.connect({ twin: 7 });
  const receiver = await fixture.connect({ twin: 8 });
  const append = fixture.store.mailbox.append;
  fixture.store.mailbox.append = () => Promise.reject(new Error("disk full"));
  await receiver.seen();
  sender.send("response", 9, "response");
  sender.send("request", 9);
  assert.equal(await sender.next(), "request: message can't be stored now");
  sender.send("1", 8);
  assert.equal(await receiver.next(), "1");
  const metrics = await fetch(`http://127.0.0.1:${fixture.relay.address.port}/metrics`);
  assert.match(await metrics.text(), /^relay_store_errors_total 2$/m);

  fixture.store.mailbox.append = append;
  sender.send("2", 9);
  const late = await fixture.connect({ twin: 9 });
  assert.equal(await late.next(), "2");
});

Deno.test("Relay refuses what is too much of one sender, until there is room again", async () => {
  await using fixture = await Fixture.start();
  const sender = await fixture.connect({ twin: 7 });
  const other = await fixture.connect({ twin: 6 });
  const receiver = await fixture.connect({ twin: 5 });
  const found = Promise.withResolvers<undefined>();
  fixture.lookUp = () => found.promise;
  for (let i = 0; i < 10_000; i++) sender.send(`${i}`, 8, "response");
  await sender.seen();
  sender.send("one more", 8);
  assert.equal(await sender.next(), "one more: relay is overloaded, try again later");
  other.send("another's", 5);
  assert.equal(await receiver.next(), "another's");
  found.resolve(undefined);
  await sender.seen();
  sender.send("again", 8);
  assert.equal(await sender.next(), "again: unknown twin destination");
});

Deno.test("Relay closes a sender with 1013 that goes on sending too much", async () => {
  await using fixture = await Fixture.start();
  const sender = await fixture.connect({ twin: 7 });
  const found = Promise.withResolvers<undefined>();
  fixture.lookUp = () => found.promise;
  for (let i = 0; i < 12_000; i++) sender.send(`${i}`, 8, "response");
  assert.equal(await sender.closed, 1013);
  found.resolve(undefined);
});
