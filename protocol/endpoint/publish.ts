import { getLogger } from "@logtape/logtape";
import { formatHex } from "../account.ts";
import { sameRelayDomains } from "../domain.ts";
import type { EncryptionKeypair } from "../encryption.ts";
import type { Keypair } from "../keys.ts";
import { pause } from "../pause.ts";
import type { TwinRegistry, TwinUpdate } from "../twin.ts";
import { sameKey } from "./identity.ts";

const logger = getLogger(["rmb", "publish"]);

/** Shortest and longest wait before another attempt, in milliseconds; waits double between them. */
const RETRY = [60_000, 3_600_000] as const;

/** What a twin is to publish, and where. */
export interface Publication {
  /** Id of the twin. */
  readonly id: number;
  /** Its key pair. */
  readonly keypair: Keypair;
  /** Its encryption key pair, if its secret has one. */
  readonly encryption: EncryptionKeypair | undefined;
  /** Where. */
  readonly registry: Pick<TwinRegistry, "twin" | "updateTwin">;
  /** Domains of its relays; without any, those that are published stay. */
  readonly domains: readonly string[];
  /**
   * What to do about what differs: `replace` it, `complete` what the twin does not publish at all, or
   * `warn` only. Who completes is content with relays that are among others.
   */
  readonly update: "replace" | "complete" | "warn";
  /** Called when an attempt is over, however it went. */
  readonly onAttempt?: () => void;
  /** Shortest and longest wait before another attempt, in milliseconds. Default: 1 min, 1 h. */
  readonly retry?: readonly [shortest: number, longest: number];
}

/**
 * Publishes a twin's relay and encryption key if the registry has others. A failure is logged with its
 * reason, and it is tried again until it is done or not wanted any more.
 *
 * @param stop Ends it: an update under way is the registry's, and is not waited for.
 */
export async function publish(
  { id, keypair, encryption, registry, domains, update, onAttempt, retry = RETRY }: Publication,
  stop: AbortSignal,
): Promise<void> {
  const pk = encryption?.publicKey;
  const [shortest, longest] = retry;
  for (let wait = shortest; !stop.aborted; wait = Math.min(2 * wait, longest)) {
    let what = "its relay and encryption key";
    let consequence = "";
    try {
      const twin = await registry.twin(id);
      const relays = domains.length > 0 ? domains : twin?.relays ?? [];
      const known = twin !== undefined && sameKey(twin.pk, pk);
      const named = twin !== undefined &&
        (update === "complete"
          ? relays.every((relay) => twin.relays.includes(relay))
          : sameRelayDomains(twin.relays, relays));
      if (known && named) return;
      what = describe({ relays, pk });
      if (!known && pk !== undefined) consequence = ", and it can't encrypt for them";
      const next = update === "complete" && twin !== undefined
        ? { relays: twin.relays.length > 0 ? twin.relays : relays, pk: twin.pk ?? pk }
        : { relays, pk };
      const changes = twin === undefined || !sameKey(twin.pk, next.pk) ||
        !sameRelayDomains(twin.relays, next.relays);
      if (update === "warn" || !changes) {
        return logger.warn(
          "twin {id} does not publish {what}: others may not reach it{consequence}",
          { id, what, consequence },
        );
      }
      await registry.updateTwin(keypair, next);
      logger.info("twin {id} now publishes {what}", { id, what: describe(next) });
      if (update === "replace") return;
      continue; // What stands beside it may be another's.
    } catch (error) {
      if (stop.aborted) return;
      logger.error(
        "twin {id} can't publish {what}: {reason}; others may not reach it{consequence}; " +
          "next attempt in {seconds} s",
        {
          id,
          what,
          reason: error instanceof Error ? error.message : String(error),
          consequence,
          seconds: wait / 1000,
        },
      );
    } finally {
      onAttempt?.();
    }
    await pause(wait, stop);
  }
}

function describe({ relays, pk }: TwinUpdate): string {
  return `relay ${relays.join(", ") || "none"} and encryption key ${pk ? formatHex(pk) : "none"}`;
}
