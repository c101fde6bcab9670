import { FormatError, parseAccount, parseHex, RmbError } from "@rmb/protocol";
import type { Chain } from "./chain.ts";
import type { TwinChange } from "./execution.ts";
import type { Faults, Node } from "./node.ts";
import { storage as tfgrid } from "./pallets/tfgrid.ts";
import type { Pool } from "./pool.ts";
import type { Producer } from "./producer.ts";
import { properName } from "./rpc.ts";

/** Most blocks made at one request. */
const MAX_BLOCKS = 10_000;

/** What is asked of the stand-in: one object, whose `do` says what. */
export type ControlRequest =
  /** Make blocks, 1 if not said. */
  | { readonly do: "produce"; readonly blocks?: number }
  /** Have another branch win, by which the last blocks are lost. */
  | { readonly do: "fork"; readonly depth: number }
  /** Set a twin in the next block; what is left out stays, null unsets. */
  | ({ readonly do: "twin" } & TwinRequest)
  /** Say how transactions fare; what is left out stays. */
  | ({ readonly do: "transactions" } & TransactionsRequest)
  /** Let finality follow, or not. */
  | { readonly do: "finality"; readonly on: boolean }
  /** Date blocks by a clock that is so many milliseconds ahead. */
  | { readonly do: "clock"; readonly ahead: number }
  /** Change what is wrong with a node; what is left out stays. */
  | ({ readonly do: "faults"; readonly node?: number } & Partial<Faults>)
  /** Close a node's connections. */
  | { readonly do: "close"; readonly node?: number }
  /** Nothing, but answer. */
  | { readonly do: "status" };

/** A twin as control sets it. */
export interface TwinRequest {
  readonly id: number;
  /** SS58 address or hexadecimal. A new twin must have one. */
  readonly account?: string;
  /** Text, or any bytes in hexadecimal. */
  readonly relay?: string | null;
  /** Bytes in hexadecimal. */
  readonly pk?: string | null;
}

/** How transactions fare. */
export interface TransactionsRequest {
  /** Refuse them all for this reason; null: no more. */
  readonly refuse?: string | null;
  /** Whether to put none into blocks. */
  readonly withhold?: boolean;
  /** Drop those that wait, and tell so. */
  readonly clear?: "dropped" | "invalid";
}

/** How things are after a request. */
export interface ControlAnswer {
  readonly best: { readonly number: number; readonly hash: string };
  readonly finalized: { readonly number: number; readonly hash: string };
  /** How many transactions wait. */
  readonly waiting: number;
  readonly nodes: readonly NodeAnswer[];
}

/** How a node is. */
export interface NodeAnswer {
  readonly url: string;
  readonly connections: number;
  readonly faults: Faults;
  /** How often each method was called since the start. */
  readonly calls: Readonly<Record<string, number>>;
}

/** What is controlled. */
export interface Controlled {
  readonly chain: Chain;
  readonly pool: Pool;
  readonly producer: Producer;
  readonly nodes: readonly Node[];
}

/**
 * Serves control requests: POST with JSON, answered with JSON. A request that can't be done is answered with
 * 400 and `{"error"}`.
 */
export function serveControl(
  controlled: Controlled,
  hostname: string,
): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname, port: 0, onListen: () => {} }, async (request) => {
    try {
      if (request.method !== "POST") throw new FormatError("expected a POST with JSON");
      await carryOut(await request.json() ?? {}, controlled);
      return Response.json(status(controlled));
    } catch (error) {
      if (!(error instanceof RmbError || error instanceof SyntaxError)) throw error;
      return Response.json({ error: error.message }, { status: 400 });
    }
  });
}

async function carryOut(request: ControlRequest, controlled: Controlled): Promise<void> {
  const { chain, pool, producer, nodes } = controlled;
  switch (request.do) {
    case "produce": {
      const count = integer(request.blocks ?? 1, "blocks", MAX_BLOCKS);
      for (let i = 0; i < count; i++) await producer.produce();
      return;
    }
    case "fork":
      await producer.fork(integer(request.depth, "depth", MAX_BLOCKS));
      return;
    case "twin":
      producer.setTwin(twinChange(request, chain));
      return;
    case "transactions":
      return setTransactions(request, pool);
    case "finality":
      chain.finalizes = check(request.on, "on", isBoolean);
      return chain.finalize();
    case "clock":
      producer.clockOffset = check(request.ahead, "ahead", Number.isInteger);
      return;
    case "faults": {
      const { do: _, node, ...faults } = request;
      checkFaults(faults);
      return await choose(nodes, node).setFaults(faults);
    }
    case "close":
      return choose(nodes, request.node).closeConnections();
    case "status":
      return;
    default:
      throw new FormatError(`there is nothing to do like ${JSON.stringify(request)}`);
  }
}

function integer(value: unknown, name: string, most: number): number {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most) return Number(value);
  throw new FormatError(`"${name}" must be a number from 1 to ${most}`);
}

/** What each fault can be. */
const faultChecks: { readonly [F in keyof Faults]: (value: unknown) => boolean } = {
  hang: (value) => isBoolean(value) || Array.isArray(value) && value.every(isMethod),
  slow: isCount,
  silent: isBoolean,
  skip: isCount,
  refuse: isBoolean,
};

function checkFaults(faults: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(faults)) {
    if (!Object.hasOwn(faultChecks, name)) throw new FormatError(`there is no fault "${name}"`);
    check(value, name, faultChecks[name as keyof Faults]);
  }
}

function setTransactions({ refuse, withhold, clear }: TransactionsRequest, pool: Pool): void {
  if (refuse !== undefined) {
    pool.refusal = check(refuse, "refuse", (value) => value === null || isText(value)) ?? undefined;
  }
  if (withhold !== undefined) pool.withholds = check(withhold, "withhold", isBoolean);
  if (clear !== undefined) {
    pool.clear(check(clear, "clear", (value) => value === "dropped" || value === "invalid"));
  }
}

/** The value, which came from anyone, if it is right. */
function check<T>(value: T, name: string, isRight: (value: unknown) => boolean): T {
  if (!isRight(value)) throw new FormatError(`"${name}" can't be ${JSON.stringify(value)}`);
  return value;
}

function isMethod(value: unknown): boolean {
  return typeof value === "string" && properName(value) === value;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isBoolean(value: unknown): boolean {
  return typeof value === "boolean";
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 0;
}

function choose(nodes: readonly Node[], index = 0): Node {
  const node = nodes[index];
  if (node === undefined) throw new FormatError(`there is no node ${index}`);
  return node;
}

function twinChange({ id, account, relay, pk }: TwinRequest, chain: Chain): TwinChange {
  integer(id, "id", 2 ** 32 - 1);
  if (account === undefined && tfgrid.twins.get(chain.best.state!, id) === undefined) {
    throw new FormatError(`there is no twin ${id}: say its "account"`);
  }
  if (account !== undefined) check(account, "account", isText);
  for (const [name, value] of Object.entries({ relay, pk })) {
    check(value ?? "", name, isText);
  }
  return {
    id,
    ...(account !== undefined && { account: parseAccount(account) }),
    ...(relay !== undefined && { relay: relay === null ? undefined : textOrBytes(relay) }),
    ...(pk !== undefined && { pk: pk === null ? undefined : parseHex(pk) }),
  };
}

function textOrBytes(text: string): Uint8Array {
  return text.startsWith("0x") ? parseHex(text) : new TextEncoder().encode(text);
}

function status({ chain: { best, finalized }, pool, nodes }: Controlled): ControlAnswer {
  return {
    best: { number: best.number, hash: best.hash },
    finalized: { number: finalized.number, hash: finalized.hash },
    waiting: pool.size,
    nodes: nodes.map(({ url, connections, faults, calls }) => ({
      url,
      connections,
      faults,
      calls: Object.fromEntries(calls),
    })),
  };
}
