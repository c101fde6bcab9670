import assert from "node:assert/strict";
import { parseAccount } from "./account.ts";
import { RegistryError } from "./errors.ts";
import { FileRegistry } from "./file_registry.ts";
import { testRegistry } from "./registry_contract.ts";
import {
  ALICE,
  BOB,
  bob,
  captureLog,
  NextRead,
  relaysOf,
  TWINS,
  TwinsFile,
  until,
} from "./tests/twins_file.ts";

Deno.test.sanitizer({ ops: true, resources: true });

testRegistry("FileRegistry", (twins) => {
  const file = new TwinsFile({ twins });
  return Promise.resolve({
    open: () => FileRegistry.open(file.path),
    set(twin) {
      const others = file.read().twins.filter(({ id }) => id !== twin.id);
      file.replace({ twins: [...others, twin] });
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  });
});

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

  const read = new NextRead();
  file.write({ twins: [{ id: 9 }] }); // The same mistake is not told again.
  await read.reached;
  read.release();
  file.write(whole);
  await until(async () => await registry.twin(9) !== undefined);
  assert.equal(log.records.length, 3);
  assert.match(log.records[2]!.message.join(""), /can be read again$/);
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
    if (i % 4 === 0) await until(async () => (await relaysOf(registry, 7))[0] === `r${i}`);
  }
  await registry[Symbol.asyncDispose](); // After that nothing is read any more.
  assert.deepEqual(await relaysOf(registry, 7), ["r20"]);
});

Deno.test("a disposed registry leaves nothing running, whatever was under way", async () => {
  await using file = new TwinsFile();
  for (let i = 0; i < 20; i++) {
    const registry = await FileRegistry.open(file.path);
    file.replace({ twins: TWINS });
    if (i % 2) await registry.updateTwin(bob, { relays: [], pk: undefined });
    await registry[Symbol.asyncDispose]();
  }
});

Deno.test("disposing waits for a read that is under way", async () => {
  await using file = new TwinsFile();
  const registry = await FileRegistry.open(file.path);
  const read = new NextRead();
  file.write({ twins: [] });
  await read.reached;
  const order: string[] = [];
  const disposed = registry[Symbol.asyncDispose]().then(() => order.push("disposed"));
  await new Promise((resolve) => setTimeout(resolve));
  order.push("released");
  read.release();
  await disposed;
  assert.deepEqual(order, ["released", "disposed"]);
});
