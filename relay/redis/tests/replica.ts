/**
 * A relay's store in a process of its own, to be killed: opens the store at a URL, claims a session,
 * and takes what it can get of what goes to other relays.
 */
import { RedisStore } from "../store.ts";

const [url, session] = Deno.args;
const store = await RedisStore.open(url!);
await store.replicas!.claim(session!);
const taken = await store.federation.take(100, new AbortController().signal);
console.log(`took ${taken.length}`);
setInterval(() => {}, 1000);
