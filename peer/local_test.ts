import assert from "node:assert/strict";
import { FormatError } from "@rmb/protocol";
import fc from "fast-check";
import { anyText, mutated, randomNumbers, runs, unlessRefused } from "../protocol/tests/fuzz.ts";
import {
  backlogKey,
  commandList,
  formatRemoteRequest,
  formatRemoteResponse,
  isReserved,
  parseLocalRequest,
  parseLocalResponse,
  replyAddress,
} from "./local.ts";

const bytesOf = (json: unknown) =>
  new TextEncoder().encode(typeof json === "string" ? json : JSON.stringify(json));

const REQUEST = {
  ver: 1,
  ref: "my-ref",
  cmd: "calculator.add",
  exp: 60,
  dat: "WzEsMl0=",
  tag: "a,b",
  dst: [9, 12],
  con: "bot",
  ret: "replies",
  shm: "application/json",
  now: 1_763_000_000,
};

const RESPONSE = {
  ver: 1,
  ref: "uid",
  dat: "Mw==",
  dst: "7:bot",
  shm: "application/json",
  now: 1_763_000_000,
  err: null,
};

Deno.test("parseLocalRequest() reads every member", () => {
  assert.deepEqual(parseLocalRequest(bytesOf(REQUEST)), {
    reference: "my-ref",
    command: "calculator.add",
    expiration: 60,
    payload: bytesOf("[1,2]"),
    tags: "a,b",
    destinations: [9, 12],
    connection: "bot",
    replyTo: "replies",
    schema: "application/json",
    timestamp: 1_763_000_000,
  });
});

Deno.test("parseLocalRequest() takes null for absent", () => {
  const { ver, cmd, exp, dat, dst, ret, now } = REQUEST;
  const needed = { ver, cmd, exp, dat, dst, ret, now };
  const bare = parseLocalRequest(bytesOf(needed));
  for (const unset of [bare.reference, bare.tags, bare.connection, bare.schema]) {
    assert.equal(unset, undefined);
  }
  const nulls = { ref: null, tag: null, con: null, shm: null };
  assert.deepEqual(parseLocalRequest(bytesOf({ ...needed, ...nulls })), bare);
});

Deno.test("parseLocalRequest() tells empty text from absent", () => {
  const request = parseLocalRequest(
    bytesOf({ ...REQUEST, ref: "", tag: "", con: "", shm: "", dat: "" }),
  );
  for (const empty of [request.reference, request.tags, request.connection, request.schema]) {
    assert.equal(empty, "");
  }
  assert.equal(request.payload.length, 0);
});

Deno.test("parseLocalRequest() reads each twin once, in order", () => {
  const { destinations } = parseLocalRequest(bytesOf({ ...REQUEST, dst: [12, 9, 12, 4294967295] }));
  assert.deepEqual(destinations, [12, 9, 4294967295]);
});

Deno.test("parseLocalResponse() reads every member", () => {
  assert.deepEqual(parseLocalResponse(bytesOf(RESPONSE)), {
    uid: "uid",
    payload: bytesOf("3"),
    destination: { twin: 7, connection: "bot" },
    schema: "application/json",
    timestamp: 1_763_000_000,
    error: undefined,
  });
});

Deno.test("parseLocalResponse() takes null for absent", () => {
  const { ver, ref, dat, dst, now } = RESPONSE;
  const bare = parseLocalResponse(bytesOf({ ver, ref, dat, dst, now }));
  assert.deepEqual([bare.schema, bare.error], [undefined, undefined]);
  assert.deepEqual(
    parseLocalResponse(bytesOf({ ver, ref, dat, dst, now, shm: null, err: null })),
    bare,
  );
});

Deno.test("parseLocalResponse() reads an error, and then no payload", () => {
  const err = { code: 4294967295, message: "", more: 1 };
  for (const dat of [undefined, null, 7, "no base64", "Mw=="]) {
    const { error, payload } = parseLocalResponse(bytesOf({ ...RESPONSE, dat, err }));
    assert.deepEqual(error, { code: 4294967295, message: "" });
    assert.equal(payload.length, 0);
  }
});

Deno.test("parseLocalResponse() reads destinations with and without a session", () => {
  const read = (dst: string) => parseLocalResponse(bytesOf({ ...RESPONSE, dst })).destination;
  assert.deepEqual(read("7"), { twin: 7 });
  assert.deepEqual(read("7:"), { twin: 7, connection: "" });
  assert.deepEqual(read("7:a:b"), { twin: 7, connection: "a:b" });
});

Deno.test("parseLocalRequest() takes an empty reply list of those who want no answer", () => {
  assert.equal(parseLocalRequest(bytesOf({ ...REQUEST, ret: "" })).replyTo, "");
});

const parsers = [
  ["parseLocalRequest", parseLocalRequest, REQUEST],
  ["parseLocalResponse", parseLocalResponse, RESPONSE],
] as const;

const NOT_TEXT = [1, true, {}, [], ["text"]];
const NOT_SECONDS = [undefined, null, "60", -1, 1.5, 2 ** 53, true, [60]];
const NOT_BASE64 = ["Mw", "Mw=", "Mw===", "-_8=", "Mw==\n", " Mw==", "M", "Mx==", "ä"];
const shared = {
  ver: [undefined, null, 0, 2, "1", 1.5],
  dat: [undefined, null, ...NOT_TEXT, ...NOT_BASE64],
  shm: NOT_TEXT,
  now: NOT_SECONDS,
};
const wrong: readonly Readonly<Record<string, readonly unknown[]>>[] = [
  {
    ...shared,
    ref: NOT_TEXT,
    cmd: [undefined, null, "", ...NOT_TEXT],
    exp: NOT_SECONDS,
    tag: NOT_TEXT,
    dst: [undefined, null, 9, "9", {}, [], [0], [-1], [1.5], ["9"], [9, null], [2 ** 32]],
    con: NOT_TEXT,
    ret: [undefined, null, ...NOT_TEXT],
  },
  {
    ...shared,
    ref: [undefined, null, "", ...NOT_TEXT],
    dst: [undefined, null, "", ...NOT_TEXT, "x", ":bot", "-1", "4294967296", "7 :bot"],
    err: [
      "error",
      1,
      true,
      false,
      [],
      {},
      { code: 1 },
      { message: "m" },
      { code: "1", message: "m" },
      { code: -1, message: "m" },
      { code: 1.5, message: "m" },
      { code: 2 ** 32, message: "m" },
      { code: 1, message: null },
    ],
  },
];
const EXPECTED: Readonly<Record<string, RegExp>> = {
  ver: /"ver" must be 1/,
  ref: /"ref" must be text/,
  cmd: /"cmd" must be text/,
  exp: /"exp" must be a number of whole seconds/,
  dat: /"dat" must be/,
  tag: /"tag" must be text/,
  dst: /"dst" must |Cannot read a session/,
  con: /"con" must be text/,
  ret: /"ret" must be text/,
  shm: /"shm" must be text/,
  now: /"now" must be a number of whole seconds/,
  err: /"err" must have a "code"/,
};
parsers.forEach(([name, parse, good], i) => {
  for (const [member, values] of Object.entries(wrong[i]!)) {
    Deno.test(`${name}() refuses a wrong "${member}", naming it`, () => {
      for (const value of values) {
        assert.throws(() => parse(bytesOf({ ...good, [member]: value })), (error) => {
          assert.ok(error instanceof FormatError, `${JSON.stringify(value)}: ${error}`);
          assert.match(error.message, EXPECTED[member]!);
          return true;
        }, `${member}: ${JSON.stringify(value)}`);
      }
    });
  }
});

for (const [name, parse, good] of parsers) {
  Deno.test(`${name}() ignores members that it does not know`, () => {
    const more = { x: 1, src: 7, constructor: null, __proto__x: {}, "": [] };
    assert.deepEqual(parse(bytesOf({ ...more, ...good })), parse(bytesOf(good)));
    const prototype = JSON.stringify(good).replace("{", '{"__proto__":{"ver":2},');
    assert.deepEqual(parse(bytesOf(prototype)), parse(bytesOf(good)));
  });

  Deno.test(`${name}() takes no member from a prototype`, () => {
    const { ver: _, ...rest } = good;
    const prototype = JSON.stringify(rest).replace("{", '{"__proto__":{"ver":1},');
    assert.throws(() => parse(bytesOf(prototype)), FormatError);
  });

  Deno.test(`${name}() refuses what is not a JSON object`, () => {
    for (const text of ["", " ", "{", "nul", "{'ver':1}", `${JSON.stringify(good)}x`]) {
      assert.throws(() => parse(bytesOf(text)), new FormatError("it is not JSON"));
    }
    for (const json of ["null", "1", '"text"', "[]", "true"]) {
      assert.throws(() => parse(bytesOf(json)), new FormatError("it is not a JSON object"));
    }
  });

  Deno.test(`${name}() refuses text that is not UTF-8`, () => {
    const bytes = bytesOf({ ...good, ref: "ref-#" });
    bytes[bytes.indexOf("#".charCodeAt(0))] = 0xff;
    assert.throws(() => parse(bytes), new FormatError("it is not JSON"));
  });

  Deno.test(`${name}() reads or refuses random and mutated bytes, and does nothing else`, () => {
    const random = randomNumbers(1);
    const bytes = bytesOf(good);
    let read = 0;
    for (let i = runs(3000); i > 0; i--) {
      if (unlessRefused(() => parse(mutated(bytes, random)), FormatError) !== undefined) read++;
    }
    assert.ok(read > 0, "all that was mutated was refused: too few places are reached");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        assert.equal(unlessRefused(() => parse(bytes), FormatError), undefined);
      }),
      { numRuns: runs(200) },
    );
  });

  Deno.test(`${name}() reads or refuses whatever JSON values its members have`, () => {
    const members = Object.fromEntries(
      Object.entries(good).map(([member, value]) => [
        member,
        fc.oneof({ weight: 5, arbitrary: fc.constant(value) }, fc.jsonValue()),
      ]),
    );
    fc.assert(
      fc.property(fc.record(members, { requiredKeys: [] }), (json) => {
        unlessRefused(() => parse(bytesOf(json)), FormatError);
        replyAddress(bytesOf(json));
      }),
      { numRuns: runs(500) },
    );
  });
}

Deno.test("replyAddress() finds where the answer to a wrong request could go", () => {
  const address = (json: unknown) => replyAddress(bytesOf(json));
  assert.deepEqual(address({ ret: "replies" }), { replyTo: "replies", reference: undefined });
  assert.deepEqual(address({ ret: "r", ref: "x", ver: 7 }), { replyTo: "r", reference: "x" });
  assert.deepEqual(address({ ret: "r", ref: 7 }), { replyTo: "r", reference: undefined });
  for (const none of [{}, { ret: "" }, { ret: 7 }, { ret: null }, [], null, "ret", '{"ret":"r"']) {
    assert.equal(address(none), undefined, JSON.stringify(none));
  }
});

Deno.test("formatRemoteRequest() writes every member", () => {
  const request = {
    uid: "uid",
    source: { twin: 7, connection: "bot" },
    command: "calculator.add",
    expiration: 60,
    payload: bytesOf("[1,2]"),
    tags: "a",
    schema: "application/json",
    timestamp: 5,
  };
  assert.equal(
    formatRemoteRequest(request),
    '{"ver":1,"ref":"uid","src":"7:bot","cmd":"calculator.add","exp":60,"dat":"WzEsMl0=",' +
      '"tag":"a","ret":"msgbus.system.reply","shm":"application/json","now":5}',
  );
  assert.equal(
    formatRemoteRequest({ ...request, source: { twin: 7 }, tags: undefined, schema: undefined }),
    '{"ver":1,"ref":"uid","src":"7","cmd":"calculator.add","exp":60,"dat":"WzEsMl0=",' +
      '"tag":null,"ret":"msgbus.system.reply","shm":null,"now":5}',
  );
});

Deno.test("formatRemoteResponse() writes every member", () => {
  const response = {
    reference: "my-ref",
    payload: bytesOf("3"),
    source: { twin: 9 },
    schema: "application/json",
    timestamp: 5,
    error: undefined,
  };
  assert.equal(
    formatRemoteResponse(response),
    '{"ver":1,"ref":"my-ref","dat":"Mw==","src":"9","shm":"application/json","now":5,"err":null}',
  );
  assert.equal(
    formatRemoteResponse({
      reference: undefined,
      payload: new Uint8Array(),
      source: undefined,
      schema: undefined,
      timestamp: 0,
      error: { code: 500, message: "no\nway" },
    }),
    '{"ver":1,"ref":null,"dat":"","src":"","shm":null,"now":0,' +
      '"err":{"code":500,"message":"no\\nway"}}',
  );
});

Deno.test("what the gateway writes is JSON with every member, whatever a message has in it", () => {
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const common = {
    payload: fc.uint8Array({ maxLength: 100 }),
    schema: optional(anyText),
    timestamp: fc.maxSafeNat(),
  };
  const source = fc.record({ twin: fc.nat(), connection: optional(anyText) });
  const request = fc.record({
    ...common,
    source,
    uid: anyText,
    command: anyText,
    expiration: fc.maxSafeNat(),
    tags: optional(anyText),
  });
  const error = fc.record({ code: fc.nat(), message: anyText }, { noNullPrototype: true });
  const response = fc.record({
    ...common,
    source: optional(source),
    reference: optional(anyText),
    error: optional(error),
  });
  fc.assert(
    fc.property(request, response, (request, response) => {
      const asked = JSON.parse(formatRemoteRequest(request));
      const members = ["ver", "ref", "src", "cmd", "exp", "dat", "tag", "ret", "shm", "now"];
      assert.deepEqual(Object.keys(asked), members);
      assert.equal(asked.tag, request.tags ?? null);
      // A service answers with what it got.
      const answer = parseLocalResponse(
        bytesOf({ ...asked, ref: asked.ref || "uid", dst: asked.src }),
      );
      assert.deepEqual(answer.payload, request.payload);
      assert.equal(answer.schema, request.schema);

      const answered = JSON.parse(formatRemoteResponse(response));
      assert.deepEqual(
        Object.keys(answered),
        ["ver", "ref", "dat", "src", "shm", "now", "err"],
      );
      assert.deepEqual(answered.err, response.error ?? null);
      assert.equal(answered.ref, response.reference ?? null);
    }),
    { numRuns: runs(200) },
  );
});

Deno.test("the gateway's own keys are reserved, and no others", () => {
  for (
    const command of ["system", "system.local", "system.reply", "system.", "backlog.x", "backlog"]
  ) {
    assert.ok(isReserved(command), command);
  }
  for (
    const command of [
      "systems",
      "system-x",
      "my.system.local",
      "rmb.version",
      "backlogs.x",
      "System.local",
    ]
  ) {
    assert.ok(!isReserved(command), command);
  }
  assert.equal(commandList("calculator.add"), "msgbus.calculator.add");
  assert.equal(backlogKey("uid"), "msgbus.backlog.uid");
});
