import assert from "node:assert/strict";
import { ALICE } from "./fixtures/network.ts";
import { runTool, toolArguments } from "./fixtures/tools.ts";

const TOOLS = ["call", "ping", "serve", "keys", "twin", "upload", "top"];

Deno.test("the help of rmb-peer lists its tools and the gateway's options", async () => {
  const { code, stdout } = await runTool(["--help"]);
  assert.equal(code, 0);
  for (const tool of TOOLS) assert.match(stdout, new RegExp(`^  ${tool}  +[A-Z].+\\.$`, "m"));
  assert.match(stdout, /--no-update/);
});

Deno.test("each tool's help says how it is called, what its exit codes mean, and an example", async () => {
  await Promise.all(TOOLS.map(async (tool) => {
    const { code, stdout } = await runTool([tool, "--help"]);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^Usage: rmb-peer ${tool}( |$)`, "m"));
    assert.match(stdout, new RegExp(`^Example: rmb-peer ${tool} `, "m"));
    assert.match(stdout, /^Exit codes: 0 .+2 wrong usage.+1 /m);
    assert.match(stdout, /^Every option can also come from the environment, such as/m);
  }));
});

Deno.test("tools refuse wrong usage in two lines with code 2, and say where help is", async () => {
  const env = { RMB_PEER_MNEMONIC: ALICE.secret };
  await Promise.all(TOOLS.map(async (tool) => {
    const { code, stdout, stderr } = await runTool([tool, "--bogus"], { env });
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
    assert.match(stderr, new RegExp(`^Error: .*\\n(.*\\n)*See rmb-peer ${tool} --help\\n$`));
  }));
  const { code, stderr } = await runTool(["cal", "9"]);
  assert.equal(code, 2);
  assert.match(stderr, /^Error: The first argument is neither an option nor the name of a tool/);
});

Deno.test("no tool quotes the secret of the environment, whatever else is wrong", async () => {
  const env = { RMB_PEER_MNEMONIC: ALICE.secret };
  const wrong = [["--bogus"], ["bogus"], ["9", "bogus"], ["new"], ["--mnemonic"], []];
  for (const tool of TOOLS) {
    await Promise.all(wrong.map(async (args) => {
      const { stdout, stderr } = await runTool([tool, "--relay", "nowhere", ...args], { env });
      assert.doesNotMatch(stdout + stderr, /neck|stage/, [tool, ...args].join(" "));
    }));
  }
});

Deno.test("no tool quotes the words of a mnemonic without quotation marks", async () => {
  const words = ALICE.secret.split(" ");
  await Promise.all(["call", "ping", "serve", "keys", "twin"].map(async (tool) => {
    const { code, stdout, stderr } = await runTool([tool, "--mnemonic", ...words]);
    // The words are a command and a program to serve, with a mnemonic of one word.
    assert.equal(code, tool === "serve" ? 1 : 2);
    assert.doesNotMatch(stdout + stderr, new RegExp(words.join("|")));
  }));
});

Deno.test("options of tools come from the environment too", async () => {
  const { code, stdout } = await runTool(["keys", "--new"], {
    env: { RMB_PEER_WORDS: "24", RMB_PEER_JSON: "1" },
  });
  assert.equal(code, 0);
  assert.equal(JSON.parse(stdout).mnemonic.split(" ").length, 24);
});

Deno.test("shells complete tools and their options", async () => {
  const env = { RMB_PEER_MNEMONIC: ALICE.secret };
  for (const variables of [{}, env]) {
    const complete = async (...words: string[]) =>
      (await runTool(["--completion", "bash", ...words], { env: variables })).stdout.split(/\s+/);
    const tools = await complete("");
    assert.deepEqual(TOOLS.filter((tool) => !tools.includes(tool)), []);
    assert.ok((await complete("call", "--ti")).includes("--timeout"));
    assert.ok((await complete("keys", "--n")).includes("--new"));
  }
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout } = await runTool(["--completion", shell]);
    assert.equal(code, 0);
    assert.match(stdout, /rmb-peer/);
  }
});

Deno.test("a tool's output may be read in part: it ends in silence", async () => {
  const tool = [Deno.execPath(), ...toolArguments(["keys", "--new"], "peer")];
  const script = `${tool.map((word) => `'${word}'`).join(" ")} | true`;
  const { success, stderr } = await new Deno.Command("sh", { args: ["-c", script] }).output();
  assert.equal(success, true);
  assert.equal(new TextDecoder().decode(stderr), "");
});
