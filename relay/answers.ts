import {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  type Routing,
  type Session,
  stampEnvelope,
} from "@rmb/protocol";

/** Seconds that an error of the relay lives. */
const ERROR_EXPIRATION = 300n;

/** What a pong has behind the payload of its ping. */
const GREETING = new TextEncoder().encode("hello world");

/**
 * The relay's own error answer to a request: code 0, unsigned, and without a source, by which clients
 * know it.
 *
 * @param request Routing fields of the request.
 * @param session The session that sent it; undefined where the answer is not to name it.
 * @param message What went wrong.
 */
export function errorAnswer(
  request: Routing,
  session: Session | undefined,
  message: string,
): Uint8Array {
  const answer = createEnvelope({
    uid: request.uid,
    destination: session,
    expiration: ERROR_EXPIRATION,
    message: { case: "error", value: { code: 0, message } },
  });
  stampEnvelope(answer);
  return encodeEnvelope(answer);
}

/**
 * The answer to a ping: the same envelope as a pong, with source and destination swapped and a
 * greeting behind its plain payload. A cipher is dropped.
 */
export function pongAnswer(ping: Uint8Array): Uint8Array {
  const envelope = decodeEnvelope(ping);
  const { source, destination, payload } = envelope;
  const plain = payload.case === "plain" ? payload.value : new Uint8Array();
  const greeted = new Uint8Array(plain.length + GREETING.length);
  greeted.set(plain);
  greeted.set(GREETING, plain.length);
  delete envelope.source;
  delete envelope.destination;
  if (destination !== undefined) envelope.source = destination;
  if (source !== undefined) envelope.destination = source;
  envelope.message = createEnvelope({ message: { case: "pong", value: {} } }).message;
  envelope.payload = { case: "plain", value: greeted };
  return encodeEnvelope(envelope);
}
