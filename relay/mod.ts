/**
 * The relay of RMB, the reliable message bus: a library, and the program `rmb-relay` when run.
 *
 * @module
 */
export {
  type FederatedEnvelope,
  type FederationQueue,
  FederationQueueFullError,
  MAX_FEDERATED,
} from "./federation/queue.ts";
export {
  type Mailbox,
  MailboxFullError,
  MAX_QUEUED,
  MAX_QUEUED_TIME,
  type QueuedAgain,
  type QueuedEnvelope,
} from "./mailbox.ts";
export type { RateLimitOptions } from "./rate_limit.ts";
export { MAX_MESSAGE, MAX_SESSIONS, Relay, type RelayOptions } from "./relay.ts";
export { SqliteFederationQueue } from "./sqlite/federation_queue.ts";
export { SqliteMailbox } from "./sqlite/mailbox.ts";
export { RedisStore } from "./redis/store.ts";
export type { TlsKeys } from "./server.ts";
export { SqliteStore } from "./sqlite/store.ts";
export type { Replicas } from "./replicas.ts";
export type { Store } from "./store.ts";

if (import.meta.main) {
  const { main } = await import("./main.ts");
  await main(Deno.args);
}
