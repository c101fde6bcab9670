import assert from "node:assert/strict";
import {
  createEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  type EnvelopeInit,
  readRouting,
  unixNow,
} from "@rmb/protocol";
import { errorAnswer, pongAnswer } from "./answers.ts";

const encode = (fields: EnvelopeInit) => encodeEnvelope(createEnvelope(fields));
const bytes = (text: string) => new TextEncoder().encode(text);

const request = readRouting(encode({
  uid: "one",
  tags: "tag",
  timestamp: 1n,
  expiration: 2n,
  source: { twin: 7, connection: "bot" },
  destination: { twin: 9 },
  message: { case: "request", value: { command: "do" } },
}));

Deno.test("errorAnswer() has the uid, an error of code 0, and no source at all", () => {
  const before = BigInt(unixNow());
  const answer = decodeEnvelope(
    errorAnswer(request, { twin: 7, connection: "bot" }, "destination offline"),
  );
  const { timestamp } = answer;
  assert.ok(timestamp >= before && timestamp <= BigInt(unixNow()), "stamped");
  assert.deepEqual(
    answer,
    createEnvelope({
      uid: "one",
      timestamp,
      expiration: 300n,
      destination: { twin: 7, connection: "bot" },
      message: { case: "error", value: { code: 0, message: "destination offline" } },
    }),
  );
});

Deno.test("errorAnswer() tells a session without an id from one with an empty id", () => {
  const connection = (session: { twin: number; connection?: string }) =>
    decodeEnvelope(errorAnswer(request, session, "no")).destination?.connection;
  assert.equal(connection({ twin: 7 }), undefined);
  assert.equal(connection({ twin: 7, connection: "" }), "");
});

const PING: EnvelopeInit = {
  uid: "two",
  tags: "",
  timestamp: 3n,
  expiration: 4n,
  source: { twin: 7, connection: "bot" },
  destination: { twin: 9, connection: "" },
  message: { case: "ping", value: {} },
  signature: bytes("signature"),
  schema: "application/json",
  federation: "relay.test",
  payload: { case: "plain", value: bytes("I say ") },
  relays: ["one", "two"],
};

Deno.test("pongAnswer() swaps the addresses, greets behind the payload, and keeps the rest", () => {
  assert.deepEqual(
    decodeEnvelope(pongAnswer(encode(PING))),
    createEnvelope({
      ...PING,
      source: { twin: 9, connection: "" },
      destination: { twin: 7, connection: "bot" },
      message: { case: "pong", value: {} },
      payload: { case: "plain", value: bytes("I say hello world") },
    }),
  );
});

Deno.test("pongAnswer() greets where there is no plain payload, and drops a cipher", () => {
  const { payload: _, ...empty } = PING;
  const greeting = { case: "plain", value: bytes("hello world") };
  for (const ping of [empty, { ...PING, payload: { case: "cipher", value: bytes("x") } }]) {
    const pong = decodeEnvelope(pongAnswer(encode(ping as EnvelopeInit)));
    assert.deepEqual(pong.payload, greeting);
  }
});

Deno.test("pongAnswer() leaves out the addresses that the ping leaves out", () => {
  const { destination: _, ...ping } = PING;
  const pong = decodeEnvelope(pongAnswer(encode(ping)));
  assert.equal(pong.source, undefined);
  assert.deepEqual(pong.destination, createEnvelope(PING).source);
});
