import type { FederationQueue } from "./federation/queue.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Replicas } from "./replicas.ts";

/** What a relay keeps so that it survives its process: a file of its own, or a server that relays share. */
export interface Store extends AsyncDisposable {
  /** What waits for sessions. */
  readonly mailbox: Mailbox;
  /** What waits to go to other relays. */
  readonly federation: FederationQueue;
  /** The relays that share this store; undefined for a store of one process. */
  readonly replicas: Replicas | undefined;
  /** Why it can't be used now; undefined while it can. */
  readonly failure: string | undefined;
}
