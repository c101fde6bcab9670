/**
 * The protocol of RMB, the reliable message bus: a client for bots, and what it is made of, which is
 * envelopes, keys, signatures, encryption, relay tokens, twin registries, and a relay connection that stays
 * connected.
 *
 * @module
 */
export { formatAccount, formatHex, parseAccount, parseHex } from "./account.ts";
export {
  AbortError,
  type BytesOptions,
  type CallOptions,
  CallTimeoutError,
  Client,
  type ClientOptions,
  ClosedError,
  CommandError,
  type CommandRequest,
  Commands,
  ConnectError,
  type Handler,
  type Middleware,
  OfflineError,
  RelayError,
  UnknownTwinError,
} from "./client/mod.ts";
export {
  RelayConnection,
  type RelayConnectionOptions,
  type RelayState,
  type RelayTimes,
} from "./connection.ts";
export {
  formatRelayDomains,
  isTfchainDomain,
  parseRelayDomains,
  parseRelayUrl,
  relayDomain,
  sameRelayDomains,
} from "./domain.ts";
export { EncryptionKeypair } from "./encryption.ts";
export {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  type EnvelopeInit,
  type MessageInit,
  stampEnvelope,
  timeLeft,
  unixNow,
} from "./envelope.ts";
export { CodedError, ErrorCode, RemoteError } from "./endpoint/codes.ts";
export type { RelayStatus } from "./endpoint/relays.ts";
export {
  EncryptionError,
  FormatError,
  NotSentError,
  NoTwinError,
  RegistryError,
  RmbError,
  SecretError,
  TokenError,
} from "./errors.ts";
export type {
  Address,
  Envelope,
  Error as ErrorMessage,
  Ping as PingMessage,
  Pong as PongMessage,
  Request as RequestMessage,
  Response as ResponseMessage,
} from "./gen/types_pb.ts";
export { Keypair, type KeyType, verifySignature } from "./keys.ts";
export { OutgoingMessage } from "./outgoing.ts";
export { type MessageKind, readRouting, type Routing } from "./routing.ts";
export { type Junction, parseSecret, type Secret } from "./secret.ts";
export { formatSession, MAX_TWIN_ID, parseSession, sameSession, type Session } from "./session.ts";
export { challenge, signEnvelope, verifyEnvelope } from "./signature.ts";
export {
  checkTokenTime,
  createToken,
  MAX_CLOCK_SKEW,
  MAX_TOKEN_LIFETIME,
  parseToken,
  type Token,
  type TokenClaims,
  tokenSession,
  verifyToken,
} from "./token.ts";
export type { OpenSocket, Refusal, RelaySocket, RelaySocketEvents } from "./socket.ts";
export type { Twin, TwinRegistry, TwinUpdate } from "./twin.ts";
