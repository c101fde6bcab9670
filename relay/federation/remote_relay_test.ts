import assert from "node:assert/strict";
import { until } from "../../tests/fixtures/deadline.ts";
import { FederationFixture, TIMES } from "../tests/federation_fixture.ts";
import { OtherRelay } from "../tests/other_relay.ts";

const range = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);
const count = (list: readonly unknown[], length: number, what: string) =>
  until(() => list.length >= length, `${length} ${what}`);

Deno.test("RemoteRelay lets no hanging relay hold up another", async () => {
  await using hanging = OtherRelay.start();
  await using good = OtherRelay.start();
  await using federation = new FederationFixture();
  federation.registry.add(8, [hanging.domain]);
  federation.registry.add(9, [good.domain]);
  await federation.send("taken", 8);
  await count(hanging.taken, 1, "messages");
  hanging.answer = hanging.hang;
  for (const uid of range(200)) {
    void federation.send(uid, 8, { source: { twin: 1 + Number(uid) } });
  }
  await count(hanging.received, 17, "requests to the hanging one");
  for (const uid of range(200)) void federation.send(uid, 9);
  await count(good.taken, 200, "messages");
  assert.equal(hanging.mostAtOnce, 16);
});

Deno.test("RemoteRelay lets no number of relays that never answered hold up another", async () => {
  await using hanging = OtherRelay.start();
  hanging.answer = hanging.hang;
  await using good = OtherRelay.start();
  await using federation = new FederationFixture();
  federation.registry.add(9, [good.domain]);
  await federation.send("first", 9);
  await count(good.taken, 1, "messages");
  const port = hanging.domain.split(":")[1];
  for (let twin = 100; twin < 140; twin++) {
    // Domains that differ, and are the same computer.
    federation.registry.add(twin, [`127.0.0.0x${"0".repeat(twin)}1:${port}`]);
    for (let i = 1; i <= 10; i++) await federation.send("x", twin, { source: { twin: i } });
  }
  await count(hanging.received, 16, "requests to those that hang");
  for (const uid of range(200)) void federation.send(uid, 9);
  const start = performance.now();
  await count(good.taken, 201, "messages");
  const time = performance.now() - start;
  assert.ok(time < TIMES.request / 2, `${time} ms`);
  assert.equal(hanging.mostAtOnce, 16);
});
