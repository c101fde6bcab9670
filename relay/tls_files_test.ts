import assert from "node:assert/strict";
import { RmbError } from "@rmb/protocol";
import type { TlsKeys } from "./server.ts";
import { FakeTimers } from "./tests/fake_timers.ts";
import { makeTlsKeys, renewCertificate } from "./tests/tls_keys.ts";
import { TlsFiles } from "./tls_files.ts";

/** How often the files are looked at, in milliseconds. */
const LOOK_INTERVAL = 60_000;

const [FIRST, SECOND] = await Promise.all([makeTlsKeys(), makeTlsKeys()]);

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
    this.write(FIRST);
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

Deno.test("TlsFiles reads a certificate and its key, of any kind", async () => {
  for (
    const kind of [["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"], ["rsa:2048"], ["ed25519"]]
  ) {
    await using fixture = new Fixture();
    const { cert, key } = await makeTlsKeys(kind);
    const given = { cert: `Subject: localhost\n${cert}${SECOND.cert}`, key };
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
    { cert: FIRST.key },
    { key: "no PEM" },
    { key: FIRST.cert },
    { key: pem("PUBLIC KEY") },
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

Deno.test("TlsFiles can't be read when a file is broken, or the files do not belong together", async () => {
  const wrong: [Partial<TlsKeys>, RegExp][] = [
    [{ cert: pem("CERTIFICATE") }, /^Cannot use ".*cert\.pem" and ".*key\.pem": /],
    [{ key: pem("PRIVATE KEY") }, /^Cannot use ".*cert\.pem" and ".*key\.pem": /],
    [{ key: pem("ENCRYPTED PRIVATE KEY") }, /^Cannot use ".*cert\.pem" and ".*key\.pem": /],
    [{ key: SECOND.key }, /^Cannot use ".*key\.pem": it is not the key of ".*cert\.pem"$/],
  ];
  for (const [written, message] of wrong) {
    await using fixture = new Fixture();
    fixture.write(written);
    await assert.rejects(TlsFiles.read(fixture.paths), (error: Error) => {
      assert.ok(error instanceof RmbError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("TlsFiles notices a change once", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
  const renewed = await renewCertificate(FIRST);
  fixture.write({ cert: renewed.cert });
  await fixture.look();
  await fixture.look();
  assert.deepEqual(fixture.changes, [renewed]);
  fixture.write(SECOND);
  await fixture.look();
  await fixture.look();
  assert.deepEqual(fixture.changes.slice(1), [SECOND]);
  assert.deepEqual(files.keys, SECOND);
});

Deno.test("TlsFiles waits until a certificate and a key are there that belong together", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  fixture.write({ cert: SECOND.cert });
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
  assert.deepEqual(files.keys, FIRST);
  fixture.write({ key: SECOND.key });
  await fixture.look();
  assert.deepEqual(fixture.changes, [SECOND]);
});

Deno.test("TlsFiles does not mind files that are written again as they were", async () => {
  await using fixture = new Fixture();
  await fixture.watch();
  fixture.write(FIRST);
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
});

Deno.test("TlsFiles keeps what it read while a file is missing or broken, and goes on looking", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  fixture.write({ cert: SECOND.cert });
  fixture.remove(fixture.paths.key);
  await fixture.look();
  fixture.write({ key: "half writ" });
  await fixture.look();
  assert.deepEqual(fixture.changes, []);
  assert.deepEqual(files.keys, FIRST);
  fixture.write(SECOND);
  await fixture.look();
  assert.deepEqual(fixture.changes, [SECOND]);
});

Deno.test("TlsFiles tries again what could not be used", async () => {
  await using fixture = new Fixture();
  const files = await fixture.watch();
  fixture.onChange = () => {
    throw new Error("key values mismatch");
  };
  fixture.write(SECOND);
  await fixture.look();
  assert.deepEqual(files.keys, FIRST);
  fixture.onChange = () => {};
  await fixture.look();
  await fixture.look();
  assert.deepEqual(fixture.changes, [SECOND, SECOND]);
  assert.deepEqual(files.keys, SECOND);
});

Deno.test("TlsFiles calls nobody back who has stopped watching, also while it looks", async () => {
  await using fixture = new Fixture();
  await fixture.watch();
  fixture.write(SECOND);
  const look = fixture.look();
  fixture.stop();
  await look;
  assert.deepEqual(fixture.changes, []);
});

/** A PEM block with nothing in it that makes sense. */
function pem(label: string): string {
  return `-----BEGIN ${label}-----\n${btoa("broken")}\n-----END ${label}-----\n`;
}
