import type { DatabaseSync } from "node:sqlite";
import type { FederatedEnvelope, FederationQueue } from "../federation/queue.ts";

/** The {@linkcode FederationQueue} in a `SqliteStore`. */
export class SqliteFederationQueue implements FederationQueue {
  constructor(_database: DatabaseSync) {}
  push(_envelope: Uint8Array): Promise<void> {
    return Promise.reject(new Error("TODO"));
  }
  take(_count: number, _signal: AbortSignal): Promise<FederatedEnvelope[]> {
    return Promise.reject(new Error("TODO"));
  }
  read(_id: FederatedEnvelope["id"]): Promise<Uint8Array | undefined> {
    return Promise.reject(new Error("TODO"));
  }
  remove(_ids: readonly FederatedEnvelope["id"][]): Promise<void> {
    return Promise.reject(new Error("TODO"));
  }
}
