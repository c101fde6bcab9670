import type { DatabaseSync } from "node:sqlite";

/** Does all of some work in a database, or nothing of it. */
export function transaction(database: DatabaseSync, work: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    work();
    database.exec("COMMIT");
  } catch (error) {
    // SQLite has done so itself where it could not go on, as on a full disk.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
