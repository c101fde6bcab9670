/**
 * The relays of this project that share a store, and which sessions are connected to which of them.
 * Sessions are named as in `formatSession`.
 */
export interface Replicas {
  /**
   * Called when another replica has taken over a session that was connected here; returns when it has
   * ended here, and what it had not got is in the mailbox.
   */
  onTakenOver: (session: string) => Promise<void>;

  /**
   * Says that a session is connected here now. Another replica that has an older connection of it
   * closes that.
   *
   * @returns When what that connection had not got is in the mailbox, or can't be waited for any longer.
   * Never rejects.
   */
  claim(session: string): Promise<void>;

  /** Says that a session that was claimed is not connected here any more. */
  release(session: string): void;

  /**
   * Whether a session is connected to another replica.
   *
   * @throws if the store can't be asked now.
   */
  has(session: string): Promise<boolean>;
}
