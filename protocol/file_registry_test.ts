import { configure, type LogRecord, reset } from "@logtape/logtape";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { formatHex, parseAccount } from "./account.ts";
import { RegistryError } from "./errors.ts";
import { FileRegistry } from "./file_registry.ts";

Deno.test.sanitizer({ ops: true, resources: true });

const ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const BOB = "0x8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48";
const PK = `0x02${"11".repeat(32)}`;

const TWINS = [
  { id: 7, account: ALICE, relay: "relay.grid.tf_127.0.0.1:8080", pk: PK },
  { id: 8, account: BOB },
];

/** A twins file in a folder of its own, gone at the end. */
class TwinsFile implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync();
  readonly path = `${this.#folder}/twins.json`;

  constructor(content: unknown = { twins: TWINS }) {
    this.write(content);
  }

  read(): { twins: Record<string, unknown>[] } & Record<string, unknown> {
    return JSON.parse(Deno.readTextFileSync(this.path));
  }

  /** Writes over the file in place. */
  write(content: unknown): void {
    Deno.writeTextFileSync(
      this.path,
      typeof content === "string" ? content : JSON.stringify(content),
    );
  }

  /** Puts another file in its place. */
  replace(content: unknown): void {
    const fresh = `${this.#folder}/fresh`;
    Deno.writeTextFileSync(fresh, JSON.stringify(content));
    Deno.renameSync(fresh, this.path);
  }

  /** The files that lie beside it. */
  others(): string[] {
    return [...Deno.readDirSync(this.#folder)].map(({ name }) => name)
      .filter((name) => name !== "twins.json").sort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Deno.remove(this.#folder, { recursive: true });
  }
}

/** Waits until something holds. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!await holds()) {
    assert.ok(performance.now() - start < 10_000, "it did not come to hold within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What a registry has to say in the log, to be waited for. */
async function captureLog(): Promise<{ records: LogRecord[] } & AsyncDisposable> {
  const records: LogRecord[] = [];
  await configure({
    sinks: { capture: (record) => void records.push(record) },
    loggers: [
      { category: ["rmb"], sinks: ["capture"], lowestLevel: "debug" },
      { category: ["logtape", "meta"], sinks: [] },
    ],
  });
  return { records, [Symbol.asyncDispose]: () => reset() };
}

/** Waits until a file is read the next time. */
function nextRead(): Promise<void> {
  const { readTextFile } = Deno;
  return new Promise((resolve) => {
    const read = async (path: string | URL) => {
      Object.assign(Deno, { readTextFile });
      const text = await readTextFile(path);
      resolve();
      return text;
    };
    Object.assign(Deno, { readTextFile: read });
  });
}

const relaysOf = async (registry: FileRegistry, id: number) => (await registry.twin(id))?.relays;

Deno.test("FileRegistry looks twins up by id and by account", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  assert.deepEqual(await registry.twin(7), {
    id: 7,
    account: parseAccount(ALICE),
    relays: ["relay.grid.tf", "127.0.0.1:8080"],
    pk: Uint8Array.of(2, ...new Uint8Array(32).fill(0x11)),
  });
  const unset = { id: 8, account: parseAccount(BOB), relays: [], pk: undefined };
  assert.deepEqual(await registry.twin(8), unset);
  assert.equal(await registry.twin(9), undefined);
  assert.equal(await registry.twinIdByAccount(parseAccount(ALICE)), 7);
  assert.equal(await registry.twinIdByAccount(parseAccount(BOB)), 8);
  assert.equal(await registry.twinIdByAccount(new Uint8Array(32)), undefined);
});

Deno.test("FileRegistry takes null and empty text for unset", async () => {
  for (const unset of [null, "", undefined]) {
    await using file = new TwinsFile({ twins: [{ id: 7, account: BOB, relay: unset, pk: unset }] });
    await using registry = await FileRegistry.open(file.path);
    const { relays, pk } = (await registry.twin(7))!;
    assert.deepEqual([relays, pk], [[], undefined]);
  }
  await using file = new TwinsFile({ twins: [{ id: 7, account: BOB, pk: "0x" }] });
  await using registry = await FileRegistry.open(file.path);
  assert.equal((await registry.twin(7))!.pk, undefined);
});

Deno.test("FileRegistry lets a pk be any bytes", async () => {
  await using file = new TwinsFile({ twins: [{ id: 7, account: BOB, pk: "0x00" }] });
  await using registry = await FileRegistry.open(file.path);
  assert.deepEqual((await registry.twin(7))!.pk, Uint8Array.of(0));
});

const entry = (members: object) => ({ twins: [TWINS[0], { id: 8, account: BOB, ...members }] });
const refused: [name: string, content: unknown, reason: RegExp][] = [
  ["what is no JSON", "{", /JSON/],
  ["an empty file", "", /JSON/],
  ["null", null, /must have a list "twins"/],
  ["a list", [], /must have a list "twins"/],
  ["no list of twins", { twins: {} }, /must have a list "twins"/],
  ["an entry that is null", { twins: [null] }, /entry 1: "id" must be a number/],
  ["an entry that is text", { twins: ["7"] }, /entry 1: "id" must be a number/],
  ["an id that is text", entry({ id: "8" }), /entry 2: "id" must be a number from 1/],
  ["id 0", entry({ id: 0 }), /entry 2: "id" must be a number from 1/],
  ["an id above u32", entry({ id: 2 ** 32 }), /entry 2: "id" must be a number from 1/],
  ["an id with a fraction", entry({ id: 1.5 }), /entry 2: "id" must be a number from 1/],
  ["an id that comes twice", entry({ id: 7 }), /entry 2: twin 7 is there twice/],
  ["no account", entry({ account: undefined }), /entry 2: "account" of twin 8 must be text/],
  ["a wrong account", entry({ account: "5F" }), /entry 2: Cannot read account "5F"/],
  ["a relay that is a list", entry({ relay: ["a"] }), /entry 2: "relay" of twin 8 must be text/],
  ["a pk that is a number", entry({ pk: 2 }), /entry 2: "pk" of twin 8 must be text/],
  ["a pk that is not hexadecimal", entry({ pk: "02" }), /entry 2: Cannot read bytes/],
];
for (const [name, content, reason] of refused) {
  Deno.test(`FileRegistry.open() rejects ${name}, naming the file`, async () => {
    await using file = new TwinsFile(content);
    await assert.rejects(FileRegistry.open(file.path), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.ok(error.message.startsWith(`Cannot read twins file "${file.path}": `), error.message);
      assert.match(error.message, reason);
      return true;
    });
  });
}

Deno.test("FileRegistry.open() rejects a file that is not there, naming it", async () => {
  await assert.rejects(FileRegistry.open("/no/such/twins.json"), (error) => {
    assert.ok(error instanceof RegistryError);
    assert.match(error.message, /^Cannot read twins file "\/no\/such\/twins.json": /);
    return true;
  });
});

Deno.test("FileRegistry.open() rejects a file that is too large without reading it", async () => {
  await using file = new TwinsFile();
  Deno.truncateSync(file.path, 64 * 1024 * 1024 + 1);
  await assert.rejects(FileRegistry.open(file.path), /67108865 bytes, at most 67108864/);
});

for (const way of ["replace", "write"] as const) {
  Deno.test(`FileRegistry notices that another program changed the file: ${way}`, async () => {
    await using file = new TwinsFile();
    await using registry = await FileRegistry.open(file.path);
    for (const id of [9, 10]) { // Twice: it must go on watching.
      file[way]({ twins: [{ id, account: BOB, relay: "new" }] });
      await until(async () => await registry.twin(id) !== undefined);
      assert.equal(await registry.twin(7), undefined);
      assert.equal(await registry.twinIdByAccount(parseAccount(BOB)), id);
      assert.equal(await registry.twinIdByAccount(parseAccount(ALICE)), undefined);
    }
  });
}

Deno.test("FileRegistry notices changes of a file that was opened through a link", async () => {
  await using file = new TwinsFile();
  await using links = new TwinsFile();
  Deno.removeSync(links.path);
  Deno.symlinkSync(file.path, links.path);
  await using registry = await FileRegistry.open(links.path);
  file.replace({ twins: [] });
  await until(async () => await registry.twin(7) === undefined);
});

Deno.test("FileRegistry keeps what it read last while the file is invalid, and says so once", async () => {
  await using log = await captureLog();
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  const whole = JSON.stringify({ twins: [{ id: 9, account: BOB }] });
  file.write(whole.slice(0, -5));
  await until(() => Promise.resolve(log.records.length > 0));
  assert.ok(await registry.twin(7));
  assert.equal(log.records[0]!.level, "warning");
  assert.match(log.records[0]!.message.join(""), /^Cannot read twins file .* stay valid$/);

  file.write({ twins: [{ id: 9 }] });
  await until(() => Promise.resolve(log.records.length > 1));
  assert.match(log.records[1]!.message.join(""), /entry 1: "account" of twin 9/);
  assert.ok(await registry.twin(7));

  const read = nextRead();
  file.write({ twins: [{ id: 9 }] }); // The same mistake is not told again.
  await read;
  file.write(whole);
  await until(async () => await registry.twin(9) !== undefined);
  assert.equal(log.records.length, 2);
});

Deno.test("FileRegistry keeps what it read last while the file is gone", async () => {
  await using log = await captureLog();
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  Deno.removeSync(file.path);
  await until(() => Promise.resolve(log.records.length > 0));
  assert.ok(await registry.twin(7));
  file.replace({ twins: [] });
  await until(async () => await registry.twin(7) === undefined);
});

Deno.test("FileRegistry ends up with the last of many changes", async () => {
  await using file = new TwinsFile();
  const registry = await FileRegistry.open(file.path);
  const many = Array.from({ length: 5000 }, (_, i) => ({ id: i + 100, account: BOB }));
  for (let i = 1; i <= 20; i++) {
    // Large ones take longer to read than the small ones that come after them.
    const padding = i % 2 ? many : [];
    file.replace({ twins: [{ id: 7, account: ALICE, relay: `r${i}` }, ...padding] });
    if (i % 4 === 0) await until(async () => (await relaysOf(registry, 7))?.[0] === `r${i}`);
  }
  await registry[Symbol.asyncDispose](); // After that nothing is read any more.
  assert.deepEqual(await relaysOf(registry, 7), ["r20"]);
});

Deno.test("updateTwin() replaces relays and pk, and they are there at once", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  for (let i = 0; i < 30; i++) {
    const pk = i % 2 ? Uint8Array.of(i) : undefined;
    await registry.updateTwin(8, { relays: ["a", `b:${i}`], pk });
    assert.deepEqual((await registry.twin(8))!.relays, ["a", `b:${i}`]);
    assert.deepEqual((await registry.twin(8))!.pk, pk);
    const written = file.read().twins[1]!;
    assert.equal(written.relay, `a_b:${i}`);
    assert.equal(written.pk, pk === undefined ? null : formatHex(pk));
  }
});

Deno.test("updateTwin() keeps all else in the file, unknown members too", async () => {
  const twins = [{ ...TWINS[0], note: "ours" }, { ...TWINS[1], tags: { a: [1] } }];
  await using file = new TwinsFile({ $schema: "x", twins, version: 3 });
  await using registry = await FileRegistry.open(file.path);
  await registry.updateTwin(8, { relays: ["new"], pk: undefined });
  assert.deepEqual(file.read(), {
    $schema: "x",
    twins: [twins[0], { ...twins[1], relay: "new", pk: null }],
    version: 3,
  });
  assert.deepEqual(file.others(), ["twins.json.lock"]);
});

Deno.test("updateTwin() works on the file as it is now, not as it was read", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  file.replace({ twins: [{ id: 9, account: BOB }] });
  await registry.updateTwin(9, { relays: ["new"], pk: undefined });
  assert.deepEqual(await relaysOf(registry, 9), ["new"]);
  assert.equal(await registry.twin(7), undefined);
});

Deno.test("updateTwin() is seen by other registries of the same file", async () => {
  await using file = new TwinsFile();
  await using ours = await FileRegistry.open(file.path);
  await using theirs = await FileRegistry.open(file.path);
  await ours.updateTwin(8, { relays: ["new"], pk: undefined });
  await until(async () => (await relaysOf(theirs, 8))?.[0] === "new");
});

Deno.test("updateTwin() rejects a twin that has no entry, naming it and the file", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  const update = registry.updateTwin(9, { relays: [], pk: undefined });
  await assert.rejects(
    update,
    new RegistryError(
      `Cannot update twin 9: "${file.path}" has no such twin`,
    ),
  );
});

Deno.test("updateTwin() leaves an invalid file alone, and names the entry", async () => {
  await using log = await captureLog();
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  for (
    const [content, reason] of [[{ twins: [null, TWINS[1]] }, /entry 1/], ["{", /JSON/]] as const
  ) {
    file.write(content);
    const before = Deno.readTextFileSync(file.path);
    await assert.rejects(registry.updateTwin(8, { relays: [], pk: undefined }), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.ok(error.message.includes(file.path));
      assert.match(error.message, reason);
      return true;
    });
    assert.equal(Deno.readTextFileSync(file.path), before);
  }
  assert.ok(await registry.twin(7));
  assert.deepEqual(file.others(), ["twins.json.lock"]);
  assert.ok(log.records.length <= 2);
});

Deno.test("updateTwin() names the twin and the file when it can't write", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  Deno.mkdirSync(`${file.path}.lock`);
  await assert.rejects(registry.updateTwin(8, { relays: [], pk: undefined }), (error) => {
    assert.ok(error instanceof RegistryError);
    assert.ok(error.message.startsWith(`Cannot update twin 8 in "${file.path}": `), error.message);
    return true;
  });
});

Deno.test("a disposed registry leaves nothing running, whatever was under way", async () => {
  await using file = new TwinsFile();
  for (let i = 0; i < 20; i++) {
    const registry = await FileRegistry.open(file.path);
    file.replace({ twins: TWINS });
    if (i % 2) await registry.updateTwin(8, { relays: [], pk: undefined });
    await registry[Symbol.asyncDispose]();
  }
});

Deno.test("updates of several processes at once all get into the file", async () => {
  const COUNT = 25;
  const twins = [1, 2, 3, 4].map((id) => ({ id, account: formatHex(new Uint8Array(32).fill(id)) }));
  await using file = new TwinsFile({ twins });
  await using registry = await FileRegistry.open(file.path);
  const program = `
    import { FileRegistry } from ${JSON.stringify(import.meta.resolve("./file_registry.ts"))};
    const [path, id] = [Deno.args[0], Number(Deno.args[1])];
    await using registry = await FileRegistry.open(path);
    console.log("ready");
    await Deno.stdin.read(new Uint8Array(1));
    for (let i = 1; i <= ${COUNT}; i++) {
      await registry.updateTwin(id, { relays: ["r" + i], pk: undefined });
      const { twins } = JSON.parse(await Deno.readTextFile(path));
      const { relay } = twins.find((twin) => twin.id === id);
      if (relay !== "r" + i) throw new Error("update " + i + " was lost: " + relay);
    }`;
  const processes = twins.map(({ id }) =>
    new Deno.Command(Deno.execPath(), {
      args: ["eval", program, file.path, String(id)],
      cwd: fileURLToPath(import.meta.resolve("./")),
      stdin: "piped",
      stdout: "piped",
    }).spawn()
  );
  const outputs = processes.map(({ stdout }) => stdout.getReader());
  for (const output of outputs) await output.read(); // All of them are ready.
  await Promise.all(processes.map(async ({ stdin }) => {
    const writer = stdin.getWriter();
    await writer.write(new Uint8Array(1));
    await writer.close();
  }));
  const statuses = await Promise.all(processes.map(({ status }) => status));
  for (const output of outputs) await output.cancel();
  assert.deepEqual(statuses.map(({ code }) => code), [0, 0, 0, 0]);
  assert.deepEqual(file.read().twins.map(({ relay }) => relay), new Array(4).fill(`r${COUNT}`));
  await until(async () => (await relaysOf(registry, 4))?.[0] === `r${COUNT}`);
});
