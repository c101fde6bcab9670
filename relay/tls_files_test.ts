import assert from "node:assert/strict";
import { RmbError } from "@rmb/protocol";
import type { TlsKeys } from "./server.ts";
import { FakeTimers } from "./tests/fake_timers.ts";
import { TlsFiles } from "./tls_files.ts";

/** How often the files are looked at, in milliseconds. */
const LOOK_INTERVAL = 60_000;

/** A certificate and a key in files, looked at on a clock of its own. */
class Fixture implements AsyncDisposable {
  /** What was called back. */
  readonly changes: TlsKeys[] = [];
  /** Called back. */
  onChange = () => {};
  readonly #directory = Deno.makeTempDirSync();
  readonly paths: TlsKeys = {
    cert: `${this.#directory}/cert.pem`,
    key: `${this.#directory}/key.pem`,
  };
  readonly #timers = new FakeTimers("Interval");
  #watching: Disposable | undefined;

  constructor() {
    this.write(keys("first"));
  }

  write({ cert, key }: Partial<TlsKeys>): void {
    if (cert !== undefined) Deno.writeTextFileSync(this.paths.cert, cert);
    if (key !== undefined) Deno.writeTextFileSync(this.paths.key, key);
  }

  remove(path: string): void {
    Deno.removeSync(path);
  }

  async watch(): Promise<TlsFiles> {
    const files = await TlsFiles.read(this.paths);
    this.#watching = files.watch((keys) => {
      this.changes.push(keys);
      this.onChange();
    });
    return files;
  }

  /** Lets the files be looked at, once. */
  async look(): Promise<void> {
    await this.#timers.advance(LOOK_INTERVAL);
  }

  stop(): void {
    this.#watching?.[Symbol.dispose]();
    assert.equal(this.#timers.count, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    this.#timers[Symbol.dispose]();
    await Deno.remove(this.#directory, { recursive: true });
  }
}

Deno.test("TlsFiles reads a certificate and a key of any kind", async () => {
  for (const kind of ["", "EC ", "RSA ", "ENCRYPTED "]) {
    await using fixture = new Fixture();
    const given = { cert: `Bag\n${pem("CERTIFICATE", "a")}`, key: pem(`${kind}PRIVATE KEY`, "b") };
    fixture.write(given);
    assert.deepEqual((await TlsFiles.read(fixture.paths)).keys, given);
  }
});

Deno.test("TlsFiles can't be read when a file is missing", async () => {
  for (const which of ["cert", "key"] as const) {
    await using fixture = new Fixture();
    fixture.remove(fixture.paths[which]);
    await assert.rejects(TlsFiles.read(fixture.paths), (error: Error) => {
      assert.ok(error instanceof RmbError);
      assert.ok(error.message.startsWith(`Cannot read "${fixture.paths[which]}": `), error.message);
      return true;
    });
  }
});

Deno.test("TlsFiles can't be read when a file has not what it should have", async () => {
  const wrong: Partial<TlsKeys>[] = [
    { cert: "" },
    { cert: keys("swapped").key },
    { key: "no PEM" },
    { key: keys("swapped").cert },
    { key: pem("PUBLIC KEY", "public") },
  ];
  for (const written of wrong) {
    await using fixture = new Fixture();
    fixture.write(written);
    const [which, label] = written.cert === undefined
      ? ["key" as const, "PRIVATE KEY"]
      : ["cert" as const, "CERTIFICATE"];
    await assert.rejects(TlsFiles.read(fixture.paths), (error: Error) => {
      assert.ok(error instanceof RmbError);
      const path = fixture.paths[which];
      assert.equal(error.message, `Cannot use "${path}": it has no PEM block "${label}"`);
      return true;
    });
  }
});

Deno.test("TlsFiles notices a change once, of either file", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
  const first = keys("first");
  const second = keys("second");
  fixture.write({ cert: second.cert });
  await fixture.look();
  await fixture.look();
  assert.deepEqual(fixture.changes, [{ cert: second.cert, key: first.key }]);
  fixture.write({ key: second.key });
  await fixture.look();
  await fixture.look();
  assert.deepEqual(fixture.changes.slice(1), [second]);
  assert.deepEqual(files.keys, second);
});

Deno.test("TlsFiles does not mind files that are written again as they were", async () => {
  await using fixture = new Fixture();
  await fixture.watch();
  fixture.write(keys("first"));
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
});

Deno.test("TlsFiles keeps what it read while a file is missing or broken, and goes on looking", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  fixture.write({ cert: keys("second").cert });
  fixture.remove(fixture.paths.key);
  await fixture.look();
  fixture.write({ key: "half writ" });
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
  assert.deepEqual(files.keys, keys("first"));
  fixture.write(keys("second"));
  await fixture.look();
  assert.deepEqual(fixture.changes, [keys("second")]);
});

Deno.test("TlsFiles tries again what could not be used", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  fixture.onChange = () => {
    throw new Error("key values mismatch");
  };
  fixture.write(keys("second"));
  await fixture.look();
  assert.deepEqual(files.keys, keys("first"));
  fixture.onChange = () => {};
  await fixture.look();
  await fixture.look();
  assert.deepEqual(fixture.changes, [keys("second"), keys("second")]);
  assert.deepEqual(files.keys, keys("second"));
});

Deno.test("TlsFiles calls nobody back who has stopped watching, also while it looks", async () => {
  await using fixture = new Fixture();
  await fixture.watch();
  fixture.write(keys("second"));
  const look = fixture.look();
  fixture.stop();
  await look;
  assert.deepEqual(fixture.changes, []);
});

/** What stands for a certificate and its key: they are not looked into. */
function keys(name: string): TlsKeys {
  return { cert: pem("CERTIFICATE", name), key: pem("PRIVATE KEY", name) };
}

function pem(label: string, name: string): string {
  return `-----BEGIN ${label}-----\n${btoa(name)}\n-----END ${label}-----\n`;
}
