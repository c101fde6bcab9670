import { FormatError } from "@rmb/protocol";
import { parsed, readOptions, shown } from "@rmb/protocol/program";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";

/** Where to listen. */
interface ListenAddress {
  readonly hostname: string;
  readonly port: number;
}

const LISTEN = "127.0.0.1:9944";

function parseListen(text: string): ListenAddress {
  const match = /^([\w.-]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) {
    throw new FormatError(`Cannot listen on "${text}": expected host:port`);
  }
  return { hostname: match[1]!, port };
}

const parser = object({
  twins: optional(option("--twins", string({ metavar: "FILE" }), {
    description:
      message`JSON file that says who twins are at first. Default: development accounts, //Alice as twin 1 and so on.`,
  })),
  listen: withDefault(
    option("-l", "--listen", parsed("ADDRESS", parseListen(LISTEN), parseListen), {
      description:
        message`Address and port of the first node; the others have the ports behind it. With port 0, each takes a free one.`,
    }),
    parseListen(LISTEN),
    shown(LISTEN),
  ),
  nodes: withDefault(
    option("--nodes", integer({ metavar: "N", min: 1, max: 16 }), {
      description: message`How many nodes the chain has.`,
    }),
    1,
    shown(1),
  ),
  blockTime: withDefault(
    option("--block-time", integer({ metavar: "MS", min: 0 }), {
      description: message`Time between blocks, in milliseconds; 0: only when told to.`,
    }),
    6000,
    shown(6000),
  ),
  data: optional(option("--data", string({ metavar: "FILE" }), {
    description:
      message`SQLite file that the chain is kept in. Without it, the chain ends with the program.`,
  })),
});

/** What the chain stand-in is told on its command line. */
export type Options = InferValue<typeof parser>;

/** Reads the options. Ends the process for wrong ones, and for `--help`. */
export function readArguments(args: readonly string[]): Options {
  return readOptions<Options>({
    name: "devnet",
    brief: "A chain for local development: answers as TFChain does, and fails as told.",
    version: "0.1.0",
    parser,
    prefix: "RMB_DEVNET_",
    environment: ["twins", "listen", "nodes", "block-time", "data"].map((name) => ({ name })),
  }, args);
}
