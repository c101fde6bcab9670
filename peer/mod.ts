/**
 * The gateway of RMB, the reliable message bus: a library, and the program `rmb-peer` when run.
 *
 * @module
 */
export type { FileLimits } from "./files/limits.ts";
export { FilePlugin } from "./files/mod.ts";
export { Gateway, type GatewayOptions } from "./gateway.ts";
export type { LocalError, LocalRequest } from "./local.ts";
export {
  type Plugin,
  type PluginAnswer,
  type PluginCallOptions,
  type PluginHost,
  type PluginRequest,
} from "./plugin.ts";

if (import.meta.main) {
  const { main } = await import("./main.ts");
  await main(Deno.args);
}
