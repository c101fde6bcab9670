/**
 * The floor of storing: node:sqlite alone inserts rows, then reads and deletes them, in groups as large
 * as the relay's. Arguments: file, rows, bytes of each. Prints what it measured as JSON.
 */
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { measure } from "./load.ts";

const INSERT = 256;
const REMOVE = 100;
const SESSIONS = 10;

const [file = ":memory:", rows = "", bytes = ""] = Deno.args;
const envelope = new Uint8Array(Number(bytes));
const database = new DatabaseSync(file);
database.exec(`
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, expires INTEGER NOT NULL, envelope BLOB NOT NULL
  ) STRICT;
  CREATE INDEX mailbox_session ON mailbox (session);
  CREATE INDEX mailbox_expires ON mailbox (expires);
`);
const insert = database.prepare("INSERT INTO mailbox VALUES (?, ?, ?, ?)");
const select = database.prepare(
  `SELECT id, envelope FROM mailbox WHERE session = ? AND id > ? ORDER BY id LIMIT ${REMOVE}`,
);
const remove = database.prepare("DELETE FROM mailbox WHERE id = ?");
const session = (i: number) => `9:session-${i % SESSIONS}`;

function transaction(work: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  work();
  database.exec("COMMIT");
}

// deno-lint-ignore require-await -- as the work of a server
const stored = await measure([process.pid], async () => {
  for (let row = 0; row < Number(rows);) {
    transaction(() => {
      for (let i = 0; i < INSERT && row < Number(rows); i++, row++) {
        insert.run(row, session(row), 2 ** 31 + row / 1000 | 0, envelope);
      }
    });
  }
  return Number(rows);
});
// deno-lint-ignore require-await -- as the work of a server
const delivered = await measure([process.pid], async () => {
  let removed = 0;
  const last = Array.from({ length: SESSIONS }, () => -1);
  for (let i = 0; removed < Number(rows); i = (i + 1) % SESSIONS) {
    const ids = select.all(session(i), last[i]!).map(({ id }) => id as number);
    last[i] = ids.at(-1) ?? last[i]!;
    transaction(() => ids.forEach((id) => remove.run(id)));
    removed += ids.length;
  }
  return removed;
});
console.log(JSON.stringify({ stored, delivered }));
