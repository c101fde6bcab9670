import { type StorePlace, testFederationQueue } from "../federation/queue_contract.ts";
import { SqliteStore } from "./store.ts";

async function makePlace(): Promise<StorePlace> {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  return {
    open: () => Promise.resolve(new SqliteStore(`${folder}/relay.db`)),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

testFederationQueue("SqliteFederationQueue", makePlace);
