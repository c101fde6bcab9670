import type { Logger } from "@logtape/logtape";
import { decodeEnvelope, formatHex, formatSession, type Routing } from "@rmb/protocol";

/** How many bytes of an encrypted payload are logged when everything is. */
const LOGGED_CIPHER = 32;

/** Logs a message as the relay sees it; what is not encrypted of its payload stays out of the log. */
export function logMessage(logger: Logger, routing: Routing, bytes: Uint8Array): void {
  const fields = {
    kind: routing.kind ?? "nothing",
    uid: routing.uid,
    source: formatSession(routing.source),
    destination: formatSession(routing.destination),
    size: bytes.length,
  };
  logger.debug("{kind} {uid} from {source} to {destination}, {size} bytes", fields);
  if (!logger.isEnabledFor("trace")) return;
  const { payload } = decodeEnvelope(bytes);
  if (payload.case !== "cipher") return;
  logger.trace("payload of {kind} {uid}: {cipher}, {length} bytes", {
    ...fields,
    cipher: `${formatHex(payload.value.subarray(0, LOGGED_CIPHER))}…`,
    length: payload.value.length,
  });
}
