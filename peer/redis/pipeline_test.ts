import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { inTime, until } from "../../tests/fixtures/deadline.ts";
import { connectRedis } from "../../tests/fixtures/local_program.ts";
import { Network } from "../../tests/fixtures/network.ts";
import { makeClient, Reachability } from "./client.ts";
import { Pipeline, RedisLostError } from "./pipeline.ts";

const text = 'return redis.call("SET", KEYS[1], ARGV[1])';
const SET = { text, sha1: createHash("sha1").update(text).digest("hex") };

Deno.test("Pipeline waits, and can be closed, while Redis refuses a script that it did not know", async () => {
  await using network = await Network.create([]);
  const { url } = await network.startRedis();
  const beside = await connectRedis(url);
  const client = makeClient(url, new Reachability(), () => {});
  await client.connect();
  try {
    const pipeline = new Pipeline(client);
    await beside.configSet("min-replicas-to-write", "1");
    const refused = assert.rejects(pipeline.run(SET, ["a"], ["1"]), RedisLostError);
    const attempts = async () => {
      const calls = (await beside.info("commandstats")).matchAll(
        /cmdstat_eval(?:sha)?:calls=(\d+)/g,
      );
      return calls.reduce((sum, [, count]) => sum + Number(count), 0);
    };
    await until(async () => await attempts() >= 3, "some attempts");
    await inTime(pipeline.close(), "its end");
    await refused;
    // Ten a second, not as many as there can be.
    assert.ok(await attempts() < 100, `${await attempts()} attempts`);
  } finally {
    client.destroy();
    beside.destroy();
  }
});
