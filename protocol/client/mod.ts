/**
 * The client for bots: calls commands of other twins, and answers theirs.
 *
 * @module
 */
export type { CallOptions } from "./calls.ts";
export { type BytesOptions, Client, type ClientOptions } from "./client.ts";
export {
  CommandError,
  type CommandRequest,
  Commands,
  type Handler,
  type Middleware,
} from "./commands.ts";
export {
  AbortError,
  CallTimeoutError,
  ClosedError,
  ConnectError,
  OfflineError,
  RelayError,
  UnknownTwinError,
} from "./errors.ts";
