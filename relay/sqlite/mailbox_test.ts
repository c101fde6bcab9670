import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { unixNow } from "@rmb/protocol";
import { MailboxFullError, MAX_QUEUED } from "../mailbox.ts";
import { type MailboxStore, testMailbox } from "../mailbox_contract.ts";
import { Clock } from "../tests/clock.ts";
import { SqliteStore } from "./store.ts";

async function makeStore(): Promise<MailboxStore & { path: string }> {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  const path = `${folder}/mailbox.db`;
  return {
    path,
    open: () => Promise.resolve(new SqliteStore(path)),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

testMailbox("SqliteMailbox", makeStore);

Deno.test("SqliteStore lets no other process have its file", async () => {
  await using store = await makeStore();
  await using opened = await store.open();
  await opened.mailbox.append("7", Uint8Array.of(1), unixNow() + 60);
  assert.throws(
    () => new SqliteStore(store.path),
    /Cannot open mailbox ".*": database is locked/,
  );
});

Deno.test("SqliteStore refuses a file that is something else, and leaves it as it is", async () => {
  await using store = await makeStore();
  await Deno.writeTextFile(store.path, "precious ".repeat(1000));
  assert.throws(
    () => new SqliteStore(store.path),
    /Cannot open mailbox ".*": file is not a database/,
  );
  assert.equal(await Deno.readTextFile(store.path), "precious ".repeat(1000));
});

Deno.test("SqliteMailbox deletes what has expired from its file when it is opened", async () => {
  await using store = await makeStore();
  {
    await using opened = await store.open();
    for (const expires of [0, unixNow() - 1, unixNow() + 60]) {
      await opened.mailbox.append("7", Uint8Array.of(1), expires);
    }
  }
  await (await store.open())[Symbol.asyncDispose]();
  using database = new DatabaseSync(store.path);
  assert.equal(database.prepare("SELECT count(*) n FROM mailbox").get()?.n, 1);
});

Deno.test("SqliteMailbox counts the queue of any session id, also after it has expired", async () => {
  await using store = await makeStore();
  const session = "7:a\0b";
  const expires = unixNow() + 30;
  {
    await using opened = await store.open();
    await opened.mailbox.append(session, Uint8Array.of(1), expires);
  }
  await using opened = await store.open();
  const append = () => opened.mailbox.append(session, Uint8Array.of(1), expires);
  await Promise.all(Array.from({ length: MAX_QUEUED - 1 }, append));
  await assert.rejects(append(), MailboxFullError);
  using clock = new Clock();
  clock.advance(40);
  await opened.mailbox.append(session, Uint8Array.of(1), unixNow() + 60);
  assert.equal(await opened.mailbox.depth(), 1);
});
