import assert from "node:assert/strict";
import {
  createToken,
  Keypair,
  RegistryError,
  type Session,
  type Twin,
  type TwinRegistry,
  unixNow,
} from "@rmb/protocol";
import { admit } from "./admission.ts";
import type { Answer } from "./server.ts";

const alice = Keypair.fromSecret("//Alice");
const bob = Keypair.fromSecret("//Bob", "ed25519");

/** A registry that has the twins 7, Alice's, and 9, Bob's. */
function makeRegistry(
  lookUp: (id: number) => Promise<Twin | undefined> = (id) => {
    const account = { 7: alice, 9: bob }[id]?.publicKey;
    return Promise.resolve(account && { id, account, relays: [], pk: undefined });
  },
): Pick<TwinRegistry, "twin"> {
  return { twin: lookUp };
}

function connect(token: string, registry = makeRegistry()): Promise<Session | Answer> {
  return admit(token, registry);
}

function assertRefused(answer: Session | Answer, status: number, reason: RegExp): void {
  assert.ok("status" in answer, "refused");
  assert.equal(answer.status, status);
  assert.match(answer.body, reason);
}

/** A token with any claims, signed by Alice. */
async function tokenOf(claims: object): Promise<string> {
  const encode = (bytes: Uint8Array) =>
    btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_")
      .replaceAll("=", "");
  const encodeJson = (value: object) => encode(new TextEncoder().encode(JSON.stringify(value)));
  const signed = `${encodeJson({ alg: "RS512" })}.${encodeJson(claims)}`;
  return `${signed}.${encode(await alice.sign(new TextEncoder().encode(signed)))}`;
}

Deno.test("admit() connects the session that a token names, whatever its twin's kind of key", async () => {
  assert.deepEqual(await connect(await createToken(alice, { twin: 7 })), {
    twin: 7,
    connection: undefined,
  });
  assert.deepEqual(await connect(await createToken(bob, { twin: 9, connection: "bot" })), {
    twin: 9,
    connection: "bot",
  });
});

Deno.test("admit() tells an empty session id from none", async () => {
  assert.deepEqual(await connect(await createToken(alice, { twin: 7, connection: "" })), {
    twin: 7,
    connection: "",
  });
  const claims = { sub: 7, sid: null, iat: unixNow(), exp: unixNow() + 60 };
  assert.deepEqual(await connect(await tokenOf(claims)), { twin: 7, connection: undefined });
});

Deno.test("admit() takes a token again while it holds", async () => {
  const token = await createToken(alice, { twin: 7 });
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await connect(token), { twin: 7, connection: undefined });
  }
});

Deno.test("admit() answers 400 when there is no token", async () => {
  assertRefused(await connect(""), 400, /^a token is missing/);
});

Deno.test("admit() answers 401 to a token that is not one", async () => {
  const token = await createToken(alice, { twin: 7 });
  assertRefused(await connect("token"), 401, /^Malformed token: expected three parts/);
  assertRefused(await connect(`${token}.more`), 401, /^Malformed token/);
  assertRefused(await connect(`token=${token}`), 401, /^Malformed token: its header/);
  assertRefused(await connect(`${token}=`), 401, /^Malformed token: its signature/);
  assertRefused(await connect("a".repeat(5000)), 401, /^Malformed token: 5000 characters/);
  const claims = { iat: unixNow(), exp: unixNow() + 60 };
  for (const sub of [0, -1, 1.5, 2 ** 32, "7", undefined]) {
    assertRefused(await connect(await tokenOf({ ...claims, sub })), 401, /"sub" must be/);
  }
  assertRefused(await connect(await tokenOf({ ...claims, sub: 7, sid: 1 })), 401, /"sid"/);
});

Deno.test("admit() answers 401 to a signature that does not hold", async () => {
  const reason = /^Token signature does not hold for the account of twin 7\n$/;
  assertRefused(await connect(await createToken(bob, { twin: 7 })), 401, reason);
  const impostor = Keypair.fromSecret("//Bob");
  assertRefused(await connect(await createToken(impostor, { twin: 7 })), 401, reason);
  const [header, , signature] = (await createToken(alice, { twin: 7 })).split(".");
  const [, claims] = (await createToken(alice, { twin: 7, connection: "other" })).split(".");
  assertRefused(await connect(`${header}.${claims}.${signature}`), 401, reason);
});

Deno.test("admit() answers 401 to a token of another time, and says both clocks' times", async () => {
  const clocks = /: made at \S+Z by the client's clock, it is \S+Z by the relay's\n$/;
  for (
    const [seconds, reason] of [[-120, /^Token expired at/], [600, /is from the future/]] as const
  ) {
    const answer = await connect(await createToken(alice, { twin: 7 }, unixNow() + seconds));
    assertRefused(answer, 401, reason);
    assertRefused(answer, 401, clocks);
  }
  const years = { sub: 7, iat: unixNow(), exp: unixNow() + 1e8 };
  assertRefused(await connect(await tokenOf(years)), 401, /^Token lifetime of 100000000 s/);
});

Deno.test("admit() answers 401 to an unknown twin", async () => {
  assertRefused(
    await connect(await createToken(alice, { twin: 8 })),
    401,
    /^twin 8 is unknown/,
  );
});

Deno.test("admit() answers 503 when the registry can't be asked now", async () => {
  const down = makeRegistry(() => Promise.reject(new RegistryError("chain at 10.0.0.1 is down")));
  const answer = await connect(await createToken(alice, { twin: 7 }), down);
  assertRefused(answer, 503, /^twins can't be looked up now\n$/);
});

Deno.test("admit() does not ask the registry for a token whose time is not now", async () => {
  const asked: number[] = [];
  const registry = makeRegistry((id) => {
    asked.push(id);
    return Promise.resolve(undefined);
  });
  await connect(await createToken(alice, { twin: 7 }, unixNow() - 120), registry);
  assert.deepEqual(asked, []);
  await connect(await createToken(alice, { twin: 7 }), registry);
  assert.deepEqual(asked, [7]);
});

Deno.test("admit() does not hide a fault of the registry", async () => {
  const broken = makeRegistry(() => Promise.reject(new TypeError("a bug")));
  await assert.rejects(connect(await createToken(alice, { twin: 7 }), broken), TypeError);
});
