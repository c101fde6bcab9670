import { nameErrors, RmbError } from "../errors.ts";

/** No answer came in time. The message says what is known: whether a relay has the request, for example. */
export class CallTimeoutError extends RmbError {}

/** The destination is not connected, and the call was not to wait for it. */
export class OfflineError extends RmbError {}

/** There is no twin with the id that was called. */
export class UnknownTwinError extends RmbError {}

/** A relay refuses to pass a request on; its words are in the message. */
export class RelayError extends RmbError {}

/** A call was given up: its signal was aborted, whose reason is the `cause`. */
export class AbortError extends RmbError {}

/** No relay could be connected in time. The message says why, relay by relay. */
export class ConnectError extends RmbError {}

/** The client is closed, or was while a call waited for its answer. */
export class ClosedError extends RmbError {}

nameErrors({
  CallTimeoutError,
  OfflineError,
  UnknownTwinError,
  RelayError,
  AbortError,
  ConnectError,
  ClosedError,
});
