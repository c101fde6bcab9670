import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { GroupCommit } from "./group_commit.ts";

/** A table of numbers; 13 can't be stored. */
class Fixture implements Disposable {
  readonly database = new DatabaseSync(":memory:");
  readonly failed: number[] = [];
  readonly commits: GroupCommit<number>;

  constructor() {
    this.database.exec("CREATE TABLE numbers (n INTEGER CHECK (n <> 13)) STRICT");
    const insert = this.database.prepare("INSERT INTO numbers VALUES (?)");
    this.commits = new GroupCommit(
      this.database,
      (n) => insert.run(n),
      (n) => this.failed.push(n),
    );
  }

  /** What is stored, in order. */
  get stored(): unknown[] {
    return this.database.prepare("SELECT n FROM numbers ORDER BY rowid").all().map(({ n }) => n);
  }

  [Symbol.dispose](): void {
    this.database.close();
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

Deno.test("GroupCommit stores what was added in one turn at its end, in order", async () => {
  using fixture = new Fixture();
  const added = [1, 2, 3].map((n) => fixture.commits.add(n));
  assert.deepEqual(fixture.stored, []);
  await Promise.all(added);
  assert.deepEqual(fixture.stored, [1, 2, 3]);
});

Deno.test("GroupCommit stores 256 at once, and the rest when it is told to", () => {
  using fixture = new Fixture();
  for (const n of range(100, 400)) void fixture.commits.add(n);
  assert.deepEqual(fixture.stored, range(100, 356));
  fixture.commits.flush();
  assert.deepEqual(fixture.stored, range(100, 400));
});

Deno.test("GroupCommit stores nothing of a transaction that fails, says so of each, and goes on", async () => {
  using fixture = new Fixture();
  const added = await Promise.allSettled([12, 13, 14].map((n) => fixture.commits.add(n)));
  assert.deepEqual(added.map(({ status }) => status), ["rejected", "rejected", "rejected"]);
  assert.deepEqual(fixture.failed, [12, 13, 14]);
  await fixture.commits.add(15);
  assert.deepEqual(fixture.stored, [15]);
  assert.equal(fixture.database.isTransaction, false);
});
