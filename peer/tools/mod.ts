/** The tools of `rmb-peer`, beside the gateway. */
import { callTool } from "./call.ts";
import { keysTool } from "./keys.ts";
import { pingTool } from "./ping.ts";
import { serveTool } from "./serve.ts";
import { ready, type ReadyTool } from "./tool.ts";
import { topTool } from "./top.ts";
import { twinTool } from "./twin.ts";
import { uploadTool } from "./upload.ts";

const tools: readonly ReadyTool[] = [
  ready(callTool),
  ready(pingTool),
  ready(serveTool),
  ready(keysTool),
  ready(twinTool),
  ready(uploadTool),
  ready(topTool),
];

/** Their parsers, for help and completion. */
export const toolCommands = tools.map(({ command }) => command);

/** What runs the tool of a name, if there is one. */
export function findTool(name: string | undefined): ReadyTool["run"] | undefined {
  return tools.find((tool) => tool.name === name)?.run;
}
