/** Files from twin to twin, through two gateways and a relay. */
import assert from "node:assert/strict";
import { until } from "./fixtures/deadline.ts";
import { FileNetwork, sha256OfFile } from "./fixtures/file_network.ts";
import { base64Of, type Json, textOf } from "./fixtures/local_program.ts";
import { runPeer } from "./fixtures/run_peer.ts";

const MIB = 1024 * 1024;
/** A file that takes longer to go over than a test takes to interrupt it. */
const LARGE = 48 * MIB;

Deno.test("files are uploaded", async (t) => {
  await using files = await FileNetwork.start();
  const { alice, bob } = files;

  /** Pops what the command of a complete file was given; checks it and the file. */
  async function checkReceived(command: string, sha256: string, expected: Json): Promise<void> {
    const { src, shm, cmd, dat } = await bob.local.pop(`msgbus.${command}`);
    assert.deepEqual([src, shm, cmd], ["7", "application/json", command]);
    const { path, ...json } = JSON.parse(textOf(dat));
    assert.deepEqual(json, { sha256, ...expected });
    assert.equal(path, `${files.folderOf(bob)}/7-${expected.upload}`);
    const { size, mode } = await Deno.stat(path);
    assert.deepEqual([size, mode! & 0o777], [expected.size, 0o600]);
    assert.equal(await sha256OfFile(path), sha256);
    await Deno.remove(path);
  }

  /** Waits for the end of an upload that must succeed, and checks what became of it. */
  async function checkCompleted(ret: string, command: string, sha256: string, size: number) {
    const { id, last, error, progress } = await files.answers(ret);
    assert.equal(error, null, error?.message);
    assert.deepEqual(last, { done: true, size, sha256, verified: true });
    await checkReceived(command, sha256, { upload: id, size, name: "a file.bin" });
    assert.equal(await bob.local.redis.exists(`msgbus.${command}`), 0, "it is called once");
    assert.equal(await alice.local.redis.exists(ret), 0, "nothing comes after the last answer");
    await until(() => files.filesOf(alice, "/outgoing").length === 0, "the end of the record");
    return progress;
  }

  await t.step("with the command called on the other side", async () => {
    for (const size of [3 * MIB + 123, 512 * 1024, 1, 0]) {
      const { path, sha256 } = await files.makeFile("a file.bin", size);
      const ret = await files.upload({ path, cmd: "files.got" });
      await checkCompleted(ret, "files.got", sha256, size);
    }
  });

  await t.step("many at once", async () => {
    const { path, sha256 } = await files.makeFile("a file.bin", MIB);
    const lists = await Promise.all(
      Array.from({ length: 10 }, () => files.upload({ path, cmd: "files.many" })),
    );
    const ids = new Set<string>();
    for (const list of lists) {
      const { id, last } = await files.answers(list);
      assert.equal(last.sha256, sha256);
      ids.add(id!);
    }
    assert.equal(ids.size, 10);
    const called = new Set<string>();
    for (let i = 0; i < 10; i++) {
      const { dat } = await bob.local.pop("msgbus.files.many");
      const { upload, path: received } = JSON.parse(textOf(dat));
      assert.equal(await sha256OfFile(received), sha256);
      await Deno.remove(received);
      called.add(upload);
    }
    assert.deepEqual(called, ids);
  });

  for (const victim of ["the sender", "the receiver", "the relay"]) {
    await t.step(`though ${victim} is killed half-way`, async () => {
      const { path, sha256 } = await files.makeFile("a file.bin", LARGE);
      alice.program.lines.length = 0;
      const ret = await files.upload({ path, cmd: "files.killed" });
      await alice.program.line(/upload .*: \d+ of \d+ bytes, [1-9]\d %/);
      const { program } = victim === "the sender"
        ? alice
        : victim === "the receiver"
        ? bob
        : files.network.relay;
      await program.stop("SIGKILL");
      assert.deepEqual(files.filesOf(bob), [], "it is not complete already");
      const kept = files.filesOf(bob, "/incoming").filter((name) => !name.endsWith(".json"));
      assert.equal(kept.length, 1);
      if (victim === "the sender") await files.startGateway(alice);
      else if (victim === "the receiver") await files.startGateway(bob);
      else {
        const { network, relay } = files.network;
        await network.startRelay({ port: relay.port });
      }
      await checkCompleted(ret, "files.killed", sha256, LARGE);
      const anew = alice.program.lines.filter((line) => line.includes("begins at 0 of"));
      assert.equal(anew.length, victim === "the sender" ? 0 : 1, "it went on where it was");
    });
  }

  await t.step("though both gateways are told to stop half-way", async () => {
    const { path, sha256 } = await files.makeFile("a file.bin", LARGE);
    alice.program.lines.length = 0;
    const ret = await files.upload({ path, cmd: "files.stopped" });
    await alice.program.line(/upload .*: \d+ of \d+ bytes, [1-9]\d %/);
    for (const { code } of await Promise.all([alice.program.stop(), bob.program.stop()])) {
      assert.equal(code, 0);
    }
    await Promise.all([files.startGateway(alice), files.startGateway(bob)]);
    await checkCompleted(ret, "files.stopped", sha256, LARGE);
    assert.ok(alice.program.lines.some((line) => /begins at [1-9]/.test(line)), "it went on");
  });

  await t.step("or not, if the file changes meanwhile", async () => {
    const { path } = await files.makeFile("a file.bin", LARGE);
    alice.program.lines.length = 0;
    const ret = await files.upload({ path, cmd: "files.changed" });
    await alice.program.line(/upload .*: \d+ of/);
    await Deno.writeTextFile(path, "more", { append: true });
    const { error } = await files.answers(ret);
    assert.equal(error.code, 500);
    assert.match(error.message, /a file\.bin" has changed since its upload was asked for/);
    await until(() => files.filesOf(alice, "/outgoing").length === 0, "the end of the record");
    await until(() => bob.program.lines.some((line) => /is given up by/.test(line)), "its end");
    assert.deepEqual(files.filesOf(bob), []);
  });

  await t.step("or not, if the request makes no sense", async () => {
    const { folder } = files.network.network;
    const { path } = await files.makeFile("a file.bin", 1);
    const cases: readonly [body: object, members: object, message: RegExp][] = [
      [{ path: "/no/such" }, {}, /file "\/no\/such" can't be uploaded: .*No such file/],
      [{ path: folder }, {}, /can't be uploaded: it is not a regular file/],
      [{ path: "/dev/zero" }, {}, /can't be uploaded: it is not a regular file/],
      [{ path }, { dst: [9, 30] }, /only be uploaded to one destination/],
      [{ path }, { shm: null }, /"shm" must be application\/json/],
      [{ file: path }, {}, /"path" must be text/],
      [{ path, cmd: 1 }, {}, /"cmd" must be text/],
      [{ path }, { dat: base64Of("nothing") }, /it is not JSON/],
      [{ path }, { cmd: "file.write" }, /no such command: file\.write/],
      [{ path, cmd: "system.local" }, {}, /command is reserved: system\.local/],
      [{ path }, { dst: [30], exp: 1 }, /30 did not agree in time/],
    ];
    for (const [body, members, message] of cases) {
      const { error, id } = await files.answers(await files.upload(body, members));
      assert.equal(error?.code, 500);
      assert.match(error.message, message);
      assert.equal(id, undefined);
    }
  });

  await t.step("or not, if the other side takes none", async () => {
    await bob.program.stop();
    await files.network.restart(bob); // Without a folder.
    const { path } = await files.makeFile("a file.bin", 1);
    const { error } = await files.answers(await files.upload({ path }));
    assert.match(error.message, /uploads are off here: the gateway has no --uploads folder/);
    await alice.program.stop();
    await files.network.restart(alice);
    const { error: own } = await files.answers(await files.upload({ path }));
    assert.match(own.message, /uploads are off here/);
  });

  await t.step("or not, if the folder can't be used: then the gateway does not start", async () => {
    const { network: { network, relay } } = files;
    const args = ["--twins", network.twins, "--relay", relay.url, "--redis", alice.redis.url];
    const env = { RMB_PEER_MNEMONIC: alice.twin.secret, RMB_PEER_UPLOADS: network.twins };
    const { code, stderr } = await runPeer(args, env);
    assert.equal(code, 1);
    assert.match(stderr, /Cannot use folder ".*twins\.json" for uploads/);
  });

  await t.step("and nothing is left behind", async () => {
    const lost = async () => (await alice.local.redis.keys("replies.*")).length === 0;
    await until(lost, "all answers taken");
    await until(() => files.filesOf(alice, "/outgoing").length === 0, "the end of all records");
    assert.deepEqual(files.filesOf(bob), []);
  });
});
