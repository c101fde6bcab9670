import { EncryptionKeypair, Keypair, RegistryError, type TwinUpdate } from "@rmb/protocol";
import { configure, type LogRecord, resetSync } from "@logtape/logtape";
import assert from "node:assert/strict";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import { ALICE } from "../../tests/fixtures/network.ts";
import { type Publication, publish } from "./publish.ts";

const keypair = Keypair.fromSecret(ALICE.secret, ALICE.type);
const encryption = EncryptionKeypair.fromSecret(ALICE.secret)!;
const pk = encryption.publicKey;

/** A registry of one twin that fails when told to, and what is published there and logged. */
class Fixture implements Disposable {
  published: TwinUpdate = { relays: [], pk: undefined };
  /** What updates answer, one after the other; then they succeed. */
  readonly answers: (() => Promise<void>)[] = [];
  /** How many updates there were. */
  updates = 0;
  readonly log: { readonly level: string; readonly text: string }[] = [];
  readonly stop = new AbortController();

  /** Gathers what is logged. */
  static async start(): Promise<Fixture> {
    const fixture = new Fixture();
    const sink = ({ level, message }: LogRecord) =>
      void fixture.log.push({ level, text: message.join("") });
    await configure({
      sinks: { sink },
      loggers: [
        { category: ["rmb", "publish"], sinks: ["sink"] },
        { category: ["logtape", "meta"], sinks: [] },
      ],
      reset: true,
    });
    return fixture;
  }

  publish(options: Partial<Publication> = {}): Promise<void> {
    const registry: Publication["registry"] = {
      twin: (id) => Promise.resolve({ id, account: keypair.publicKey, ...this.published }),
      updateTwin: async (_keypair, update) => {
        this.updates++;
        await this.answers.shift()?.();
        this.published = update;
      },
    };
    const all = {
      id: 7,
      keypair,
      encryption,
      registry,
      domains: ["relay.test"],
      update: "replace" as const,
    };
    return publish({ ...all, retry: [1, 4], ...options }, this.stop.signal);
  }

  [Symbol.dispose](): void {
    resetSync();
  }
}

Deno.test("publish() publishes what differs, and nothing twice", async () => {
  using fixture = await Fixture.start();
  const other = Keypair.fromSecret("//Alice").publicKey;
  for (
    const published of [
      { relays: [], pk: undefined },
      { relays: ["relay.test"], pk: undefined },
      { relays: ["relay.test"], pk: other },
      { relays: ["relay.test", "another"], pk },
      { relays: ["another"], pk },
    ]
  ) {
    fixture.published = published;
    fixture.updates = 0;
    await fixture.publish();
    await fixture.publish();
    assert.deepEqual(fixture.published, { relays: ["relay.test"], pk });
    assert.equal(fixture.updates, 1);
  }
  fixture.published = { relays: ["relay.test", "relay.test"], pk };
  await fixture.publish();
  assert.equal(fixture.updates, 1);
});

Deno.test("publish() leaves relays alone where its own has no name", async () => {
  using fixture = await Fixture.start();
  fixture.published = { relays: ["another"], pk: undefined };
  await fixture.publish({ domains: [] });
  assert.deepEqual(fixture.published, { relays: ["another"], pk });
});

Deno.test("publish() tries again until it is done, and says why it was not", async () => {
  using fixture = await Fixture.start();
  const fail = (reason: string) => () => Promise.reject(new RegistryError(reason));
  fixture.answers.push(...["a", "b", "c", "d"].map(fail));
  await inTime(fixture.publish(), "the update");
  const what = `relay relay.test and encryption key 0x${pk.toHex()}`;
  const waits = [0.001, 0.002, 0.004, 0.004];
  assert.deepEqual(fixture.log, [
    ...["a", "b", "c", "d"].map((reason, i) => ({
      level: "error",
      text:
        `twin 7 can't publish ${what}: ${reason}; others may not reach it, and it can't encrypt for them; next attempt in ${
          waits[i]
        } s`,
    })),
    { level: "info", text: `twin 7 now publishes ${what}` },
  ]);
  assert.deepEqual(fixture.published, { relays: ["relay.test"], pk });
});

Deno.test("publish() ends between attempts when it is stopped", async () => {
  using fixture = await Fixture.start();
  fixture.answers.push(() => Promise.reject(new RegistryError("no")));
  const publishing = fixture.publish({ retry: [3_600_000, 3_600_000] });
  await until(() => fixture.log.length === 1, "the failure");
  fixture.stop.abort();
  await inTime(publishing, "the end");
  assert.equal(fixture.updates, 1);
});

Deno.test("publish() does not report a failure that comes after it was stopped", async () => {
  using fixture = await Fixture.start();
  const { promise, reject } = Promise.withResolvers<void>();
  fixture.answers.push(() => promise);
  const publishing = fixture.publish();
  await until(() => fixture.updates === 1, "the update");
  fixture.stop.abort();
  reject(new RegistryError("closed"));
  await inTime(publishing, "the end");
  assert.deepEqual(fixture.log, []);
});

Deno.test("publish() only warns when told not to update", async () => {
  using fixture = await Fixture.start();
  await fixture.publish({ update: "warn" });
  assert.deepEqual(fixture.log, [{
    level: "warning",
    text: `twin 7 does not publish relay relay.test and encryption key 0x${pk.toHex()}: ` +
      "others may not reach it, and it can't encrypt for them",
  }]);
  assert.equal(fixture.updates, 0);
});

Deno.test("publish() completes what is not published at all, and leaves the rest alone", async () => {
  using fixture = await Fixture.start();
  const other = Keypair.fromSecret("//Alice").publicKey;
  for (
    const [before, after, warns] of [
      [{ relays: [], pk: undefined }, { relays: ["relay.test"], pk }, false],
      [{ relays: [], pk }, { relays: ["relay.test"], pk }, false],
      [{ relays: ["another"], pk: undefined }, { relays: ["another"], pk }, true],
      [{ relays: ["another", "relay.test"], pk }, undefined, false],
      [{ relays: ["relay.test"], pk: other }, undefined, true],
    ] as const
  ) {
    fixture.published = before;
    fixture.updates = 0;
    fixture.log.length = 0;
    await inTime(fixture.publish({ update: "complete" }), "the end");
    assert.deepEqual(fixture.published, after ?? before);
    assert.equal(fixture.updates, after === undefined ? 0 : 1);
    const warnings = fixture.log.filter(({ level }) => level === "warning");
    assert.equal(warnings.length, warns ? 1 : 0, JSON.stringify(fixture.log));
  }
});
