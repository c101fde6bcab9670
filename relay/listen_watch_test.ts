import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import net, { type AddressInfo } from "node:net";
import { until } from "../tests/fixtures/deadline.ts";
import { ListenWatch } from "./listen_watch.ts";
import { FakeTimers } from "./tests/fake_timers.ts";

/** How often a watch looks, in milliseconds. */
const LOOK = 3000;

/** A server as a watch sees it. Whether it says so of connections to its port is up to the test. */
class WatchedServer extends EventEmitter {
  /** What it was told to do. */
  readonly told: string[] = [];
  listening = true;

  constructor(readonly port: number) {
    super();
  }

  address(): { readonly port: number } {
    return { port: this.port };
  }

  close(): void {
    this.told.push("close");
    this.listening = false;
  }

  listen(port: number, hostname: string): void {
    this.told.push(`listen ${port} ${hostname}`);
    this.listening = true;
  }
}

/** A watched server, time that passes when it is told to, and a port where connections are counted. */
class Fixture implements AsyncDisposable {
  /** How many connected to the port. */
  connected = 0;
  readonly server: WatchedServer;
  readonly watch: ListenWatch;
  readonly timers = new FakeTimers("Interval");
  readonly #port: net.Server;
  readonly #open = new Set<net.Socket>();

  static async start(hostname = "127.0.0.1"): Promise<Fixture> {
    const port = net.createServer();
    await new Promise<void>((resolve) => port.listen(0, hostname, resolve));
    return new Fixture(port, hostname);
  }

  private constructor(port: net.Server, hostname: string) {
    this.#port = port;
    port.on("connection", (connection) => {
      this.connected++;
      this.#open.add(connection);
      connection.on("error", () => {}); // It is gone then.
      connection.on("close", () => this.#open.delete(connection));
      connection.resume();
    });
    this.server = new WatchedServer((port.address() as AddressInfo).port);
    this.watch = new ListenWatch(this.server as unknown as net.Server, hostname);
  }

  /** How many connections to the port are open. */
  get open(): number {
    return this.#open.size;
  }

  /** Lets the watch look, and waits until it has connected, as often as it has to by then. */
  async look(connected: number): Promise<void> {
    await this.timers.advance(LOOK);
    await until(() => this.connected === connected, `${connected} connections`);
  }

  /** Makes nobody accept connections at the port any more: they are refused. */
  async refuse(): Promise<void> {
    if (this.#port.listening) await new Promise<unknown>((resolve) => this.#port.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watch[Symbol.dispose]();
    this.timers[Symbol.dispose]();
    await until(() => this.open === 0, "the end of the watch's connections");
    await this.refuse();
  }
}

Deno.test("ListenWatch has a server listen anew that accepts none of its connections", async () => {
  for (const hostname of ["127.0.0.1", "0.0.0.0", "::"]) {
    await using fixture = await Fixture.start(hostname);
    const { server } = fixture;
    await fixture.look(1);
    await fixture.look(2);
    assert.deepEqual(server.told, []);
    await fixture.look(2);
    assert.deepEqual(server.told, ["close", `listen ${server.port} ${hostname}`]);
    await fixture.look(3);
    await fixture.look(4);
    assert.equal(server.told.length, 2, "it counts from 0 again");
  }
});

Deno.test("ListenWatch leaves a server alone that accepts its connections, and closes them", async () => {
  await using fixture = await Fixture.start();
  const { server } = fixture;
  for (let i = 1; i <= 5; i++) {
    await fixture.look(i);
    server.emit("connection");
    await until(() => fixture.open === 0, "the end of the watch's connection");
    await fixture.look(i); // Someone connected: there is no need for another.
  }
  assert.deepEqual(server.told, []);
});

Deno.test("ListenWatch connects to no server that others connect to", async () => {
  await using fixture = await Fixture.start();
  for (let i = 0; i < 5; i++) {
    fixture.server.emit("connection");
    await fixture.look(0);
  }
  assert.deepEqual(fixture.server.told, []);
});

Deno.test("ListenWatch takes one connection that was not accepted for nothing", async () => {
  await using fixture = await Fixture.start();
  for (let i = 0; i < 3; i++) {
    await fixture.look(2 * i + 1);
    await fixture.look(2 * i + 2); // The first was not accepted by now.
    fixture.server.emit("connection");
    await fixture.look(2 * i + 2);
  }
  assert.deepEqual(fixture.server.told, []);
});

Deno.test("ListenWatch concludes nothing from connections that it can't make", async () => {
  await using fixture = await Fixture.start();
  await fixture.refuse();
  for (let i = 0; i < 5; i++) {
    await fixture.timers.advance(LOOK);
    // By the time that another is refused, the watch's is.
    const another = net.connect(fixture.server.port, "127.0.0.1");
    await new Promise((resolve) => another.on("error", resolve));
  }
  assert.deepEqual(fixture.server.told, []);
});

Deno.test("ListenWatch has a server listen that could not listen anew", async () => {
  await using fixture = await Fixture.start();
  const { server, timers } = fixture;
  server.listening = false;
  await timers.advance(LOOK);
  assert.deepEqual(server.told, [`listen ${server.port} 127.0.0.1`]);
});

Deno.test("ListenWatch leaves no timer and no connection when it is disposed of", async () => {
  await using fixture = await Fixture.start();
  await fixture.look(1);
  assert.deepEqual([fixture.timers.count, fixture.open], [1, 1]);
  fixture.watch[Symbol.dispose]();
  await until(() => fixture.open === 0, "the end of the watch's connection");
  assert.equal(fixture.timers.count, 0);
});
