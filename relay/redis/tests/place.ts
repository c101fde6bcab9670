import { Network } from "../../../tests/fixtures/network.ts";
import { RedisStore } from "../store.ts";

/** A redis-server of its own, and the store there. */
export async function makePlace() {
  const network = await Network.create([]);
  const redis = await network.startRedis();
  return {
    url: redis.url,
    open: () => RedisStore.open(redis.url),
    [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
  };
}
