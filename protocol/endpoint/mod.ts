/**
 * An endpoint of the network: a twin that seals and opens envelopes, and is connected to its relays. What
 * the client for bots and the gateway have in common, for those who build a program like these.
 *
 * @module
 */
export { CodedError, ErrorCode, RemoteError } from "./codes.ts";
export { Identity, isOfRelay, lifeOf, type SealedEnvelope } from "./identity.ts";
export { knownBy } from "./known.ts";
export { Lanes } from "./lanes.ts";
export { type Publication, publish } from "./publish.ts";
export { checkRelays, MAX_RELAYS, Relays, type RelaysOptions, type RelayStatus } from "./relays.ts";
export { type RelayLink, Sender } from "./sender.ts";
export { directSignatures, type Signatures } from "./signatures.ts";
