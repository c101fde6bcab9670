/**
 * The gateway of RMB, the reliable message bus: a library, and the program `rmb-peer` when run.
 *
 * @module
 */
export { Gateway, type GatewayOptions } from "./gateway.ts";

if (import.meta.main) {
  const { main } = await import("./main.ts");
  await main(Deno.args);
}
