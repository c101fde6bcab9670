import assert from "node:assert/strict";
import { CallError, Node, NodeLostError, redactNodeUrl } from "./node.ts";

Deno.test.sanitizer({ ops: true, resources: true });

/** A call as the server gets it. */
interface Call {
  readonly id: number;
  readonly method: string;
}

/** A connection to a server that answers as told. */
async function connect(
  answer: (call: Call, socket: WebSocket) => void,
): Promise<{ node: Node } & AsyncDisposable> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => answer(JSON.parse(data), socket);
    socket.onerror = () => {};
    return response;
  });
  const node = await Node.open(
    `ws://127.0.0.1:${server.addr.port}`,
    new AbortController().signal,
  );
  return {
    node,
    async [Symbol.asyncDispose]() {
      node.leave("the test is over");
      await server.shutdown();
    },
  };
}

/** Sends messages of JSON-RPC. */
function send(socket: WebSocket, ...messages: object[]): void {
  for (const message of messages) socket.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
}

Deno.test("Node gives each call its own answer, in any order", async () => {
  const calls: Call[] = [];
  await using connection = await connect((call, socket) => {
    if (calls.push(call) < 3) return;
    for (const { id, method } of calls.toReversed()) send(socket, { id, result: method });
    send(socket, { id: 1, result: "twice" }, { id: 99, result: "nobody asked" });
  });
  const { node } = connection;
  const answers = await Promise.all(["a", "b", "c"].map((method) => node.call(method, [])));
  assert.deepEqual(answers, ["a", "b", "c"]);
});

Deno.test("Node tells a node's error, with its data", async () => {
  await using connection = await connect(({ id }, socket) => {
    const error = { code: 1010, message: "Invalid Transaction", data: "Inability to pay" };
    send(socket, { id, error });
  });
  await assert.rejects(connection.node.call("a", []), (error) => {
    assert.ok(error instanceof CallError);
    assert.equal(error.code, 1010);
    assert.equal(error.message, "Invalid Transaction: Inability to pay");
    return true;
  });
  assert.equal(connection.node.isLost, false);
});

Deno.test("Node tells a node's error, whatever it is made of", async () => {
  const errors = [
    [{ code: 1, message: "refused", data: { why: 7 } }, 'refused: {"why":7}'],
    [{ code: 1, message: { toString: 1 } }, '{"toString":1}'],
    [{ code: { valueOf: 1, toString: 1 }, message: "refused" }, "refused"],
    [{ code: [], message: null, data: [1] }, "[1]"],
    ["no", "an error without a text"],
    [[], "an error without a text"],
  ] as const;
  let next = 0;
  await using connection = await connect(({ id }, socket) => {
    send(socket, { id, error: errors[next++]![0] });
  });
  for (const [, message] of errors) {
    const error = await connection.node.call("a", []).catch((error) => error);
    assert.ok(error instanceof CallError);
    assert.equal(error.message, message);
  }
});

Deno.test("Node gives a subscription its items, those before its answer included", async () => {
  await using connection = await connect(({ id, method }, socket) => {
    if (method !== "subscribe") return send(socket, { id, result: true });
    const item = (result: number) => ({ method: "item", params: { subscription: "s", result } });
    send(socket, item(1), item(2), { id, result: "s" }, item(3));
  });
  const { node } = connection;
  const items: unknown[] = [];
  const third = Promise.withResolvers<void>();
  const subscription = await node.subscribe("subscribe", [], (item) => {
    if (items.push(item) === 3) third.resolve();
  });
  await third.promise;
  assert.deepEqual(items, [1, 2, 3]);
  node.unsubscribe("unsubscribe", subscription);
  assert.equal(await node.call("other", []), true);
});

Deno.test("Node leaves a node that takes too long, and all calls fail with the reason", async () => {
  await using connection = await connect(() => {});
  const { node } = connection;
  const [slow, other] = [node.call("slow", [], 20), node.call("other", [])];
  const reason = /no answer to slow within 0.02 s/;
  for (const call of [slow, other, node.lost.then((error) => Promise.reject(error))]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof NodeLostError);
      assert.match(error.message, reason);
      return true;
    });
  }
  await assert.rejects(node.call("later", []), reason);
});

Deno.test("Node leaves a node whose items can't be used", async () => {
  await using connection = await connect(({ id }, socket) => {
    send(socket, { id, result: 1 }, { params: { subscription: 1, result: "nonsense" } });
  });
  await connection.node.subscribe("subscribe", [], (item) => {
    throw new Error(`Cannot use ${item}`);
  });
  assert.match((await connection.node.lost).message, /not of this protocol: Cannot use nonsense/);
});

Deno.test("Node says with which code and reason it was closed", async () => {
  await using connection = await connect((_, socket) => socket.close(4000, "enough"));
  await assert.rejects(connection.node.call("a", []), /it closed the connection \(4000: enough\)/);
});

Deno.test("redactNodeUrl() leaves out what may be secret", () => {
  assert.equal(redactNodeUrl("wss://user:password@node.test/?key=secret#x"), "wss://node.test");
  assert.equal(redactNodeUrl("ws://[::1]:9944/v1/secret?key=secret"), "ws://[::1]:9944/…");
});
