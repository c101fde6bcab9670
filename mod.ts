/**
 * The whole public API of RMB for Deno.
 *
 * @module
 */
export * from "@rmb/peer";
export * from "@rmb/protocol";
export * from "@rmb/protocol/endpoint";
export * from "@rmb/protocol/file-registry";
export * from "@rmb/relay";
