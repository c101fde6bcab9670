import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { formatHex } from "./account.ts";
import { RegistryError } from "./errors.ts";
import { FileRegistry } from "./file_registry.ts";
import { Keypair } from "./keys.ts";
import {
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

Deno.test("updateTwin() replaces relays and pk, and they are there at once", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  for (let i = 0; i < 30; i++) {
    const pk = i % 2 ? Uint8Array.of(i) : undefined;
    await registry.updateTwin(bob, { relays: ["a", `b:${i}`], pk });
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
  await registry.updateTwin(bob, { relays: ["new"], pk: undefined });
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
  await registry.updateTwin(bob, { relays: ["new"], pk: undefined });
  assert.deepEqual(await relaysOf(registry, 9), ["new"]);
  assert.equal(await registry.twin(7), undefined);
});

Deno.test("updateTwin() is seen by other registries of the same file", async () => {
  await using file = new TwinsFile();
  await using ours = await FileRegistry.open(file.path);
  await using theirs = await FileRegistry.open(file.path);
  await ours.updateTwin(bob, { relays: ["new"], pk: undefined });
  await until(async () => (await relaysOf(theirs, 8))[0] === "new");
});

Deno.test("updateTwin() rejects an account that has no entry, naming it and the file", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  const carol = Keypair.fromSecret("//Carol");
  await assert.rejects(
    registry.updateTwin(carol, { relays: [], pk: undefined }),
    new RegistryError(
      `Cannot update the twin of ${carol.address}: "${file.path}" has no twin with this account`,
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
    await assert.rejects(registry.updateTwin(bob, { relays: [], pk: undefined }), (error) => {
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

Deno.test("updateTwin() names the account and the file when it can't write", async () => {
  await using file = new TwinsFile();
  await using registry = await FileRegistry.open(file.path);
  Deno.mkdirSync(`${file.path}.lock`);
  await assert.rejects(registry.updateTwin(bob, { relays: [], pk: undefined }), (error) => {
    assert.ok(error instanceof RegistryError);
    const begin = `Cannot update the twin of ${bob.address} in "${file.path}": `;
    assert.ok(error.message.startsWith(begin), error.message);
    return true;
  });
});

Deno.test("an update stays, though the file was being read when it was made", async () => {
  await using file = new TwinsFile();
  const registry = await FileRegistry.open(file.path);
  const read = new NextRead();
  file.write({ twins: TWINS });
  await read.reached;
  await registry.updateTwin(bob, { relays: ["new"], pk: undefined });
  read.release();
  for (let turn = 0; turn < 10; turn++) {
    await Promise.resolve();
    assert.deepEqual(await relaysOf(registry, 8), ["new"]);
  }
  await registry[Symbol.asyncDispose]();
  assert.deepEqual(await relaysOf(registry, 8), ["new"]);
});

Deno.test("updates of several processes at once all get into the file", async () => {
  const COUNT = 25;
  const twins = [1, 2, 3, 4].map((id) => ({
    id,
    account: Keypair.fromSecret(`//${id}`).address,
  }));
  await using file = new TwinsFile({ twins });
  await using registry = await FileRegistry.open(file.path);
  const program = `
    import { FileRegistry } from ${JSON.stringify(import.meta.resolve("./file_registry.ts"))};
    import { Keypair } from ${JSON.stringify(import.meta.resolve("./keys.ts"))};
    const [path, id] = [Deno.args[0], Number(Deno.args[1])];
    const keypair = Keypair.fromSecret("//" + id);
    await using registry = await FileRegistry.open(path);
    console.log("ready");
    await Deno.stdin.read(new Uint8Array(1));
    for (let i = 1; i <= ${COUNT}; i++) {
      await registry.updateTwin(keypair, { relays: ["r" + i], pk: undefined });
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
  await until(async () => (await relaysOf(registry, 4))[0] === `r${COUNT}`);
});

Deno.test("disposing finishes updates that are under way", async () => {
  await using file = new TwinsFile();
  const registry = await FileRegistry.open(file.path);
  const updates = ["a", "b"].map((relay) =>
    registry.updateTwin(bob, { relays: [relay], pk: undefined })
  );
  let done = 0;
  for (const update of updates) update.then(() => done++);
  await registry[Symbol.asyncDispose]();
  assert.equal(done, 2);
  assert.ok(["a", "b"].includes(file.read().twins[1]!.relay as string));
});
