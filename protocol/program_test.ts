import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  type EnvironmentOption,
  oneByOne,
  parsed,
  untilAborted,
  withEnvironment,
} from "./program.ts";
import { inTime } from "../tests/fixtures/deadline.ts";
import { Program } from "../tests/fixtures/program.ts";

const PREFIX = "RMB_PROGRAM_TEST_";

const OPTIONS: readonly EnvironmentOption[] = [
  { name: "name", short: "-n", instead: ["--other"] },
  { name: "several", short: "-s", several: true },
  { name: "two-values", values: true },
  { name: "on", flag: true },
];

/** Completes arguments by variables, which are named without their prefix. */
function complete(args: readonly string[], env: Readonly<Record<string, string>>): string[] {
  for (const [name, value] of Object.entries(env)) Deno.env.set(PREFIX + name, value);
  try {
    return withEnvironment(args, PREFIX, OPTIONS);
  } finally {
    for (const name of Object.keys(env)) Deno.env.delete(PREFIX + name);
  }
}

Deno.test("withEnvironment() adds options in front of the arguments", () => {
  assert.deepEqual(complete(["--more", "x"], { NAME: "a b" }), ["--name=a b", "--more", "x"]);
  assert.deepEqual(complete(["x"], {}), ["x"]);
});

Deno.test("withEnvironment() leaves an option alone that is given, whatever it is called", () => {
  for (const args of [["--name", "b"], ["--name=b"], ["-n", "b"], ["-nb"], ["--other=b"]]) {
    assert.deepEqual(complete(args, { NAME: "a" }), args);
  }
  for (const args of [["--names", "b"], ["--none"], ["name"]]) {
    assert.deepEqual(complete(args, { NAME: "a" }), ["--name=a", ...args]);
  }
});

Deno.test("withEnvironment() makes each word an option of what can be given several times", () => {
  const added = ["--several=a", "--several=b"];
  assert.deepEqual(complete([], { SEVERAL: " a\t b " }), added);
  assert.deepEqual(complete(["--several", "c"], { SEVERAL: "a" }), ["--several", "c"]);
});

Deno.test("oneByOne() gives each value of what can be given several times its own option", () => {
  const cases: [string, string][] = [
    ["", ""],
    ["-s a b c", "-s a -s b -s c"],
    ["--several a b -s c d", "--several a --several b -s c -s d"],
    ["-s a -s b", "-s a -s b"],
    ["-s a b --name c", "-s a -s b --name c"],
    ["-s", "-s"],
    ["-n a b", "-n a b"],
    ["--several=a b", "--several=a b"],
    ["a b", "a b"],
    ["--on a", "--on a"],
    ["--two-values 1 2 -s a b", "--two-values 1 2 -s a -s b"],
  ];
  for (const [args, expected] of cases) {
    assert.equal(oneByOne(args.split(" "), OPTIONS).join(" "), expected);
  }
});

Deno.test("withEnvironment() makes each word a value of what has several values", () => {
  const added = ["--two-values", "1", "2"];
  assert.deepEqual(complete(["x"], { TWO_VALUES: " 1\t 2 " }), [...added, "x"]);
  const args = ["--two-values", "3", "4"];
  assert.deepEqual(complete(args, { TWO_VALUES: "1 2" }), args);
});

Deno.test("withEnvironment() sets a flag for 1 and true only", () => {
  for (const value of ["1", "true"]) assert.deepEqual(complete([], { ON: value }), ["--on"]);
  for (const value of ["0", "false", "yes"]) assert.deepEqual(complete([], { ON: value }), []);
});

Deno.test("withEnvironment() takes an empty variable for none", () => {
  const env = { NAME: "", SEVERAL: "", TWO_VALUES: "", ON: "" };
  assert.deepEqual(complete([], env), []);
});

Deno.test("withEnvironment() takes a variable of white space only for no words", () => {
  assert.deepEqual(complete([], { SEVERAL: "  ", TWO_VALUES: " \t" }), []);
});

Deno.test("parsed() tells the user what its function throws", () => {
  const port = parsed("PORT", 1, (text) => {
    if (!/^\d+$/.test(text)) throw new Error(`Cannot use "${text}" as port`);
    return Number(text);
  });
  assert.deepEqual(port.parse("80"), { success: true, value: 80 });
  assert.deepEqual(port.parse("x"), {
    success: false,
    error: [{ type: "text", text: 'Cannot use "x" as port' }],
  });
  assert.equal(port.format(80), "80");
  assert.equal(port.metavar, "PORT");
});

Deno.test("untilAborted() waits for a signal, also for one that was aborted before", async () => {
  const stop = new AbortController();
  let isAborted = false;
  const aborted = untilAborted(stop.signal).then(() => isAborted = true);
  await Promise.resolve();
  assert.equal(isAborted, false);
  stop.abort();
  await inTime(aborted, "the abort");
  await inTime(untilAborted(stop.signal), "the abort");
});

/** Starts a program in a process of its own that says when it runs. */
function start(verbosity: number, body: string): Promise<Program> {
  const code = `
    import { getLogger } from "@logtape/logtape";
    import { runProgram } from ${JSON.stringify(import.meta.resolve("./program.ts"))};
    const log = getLogger(["rmb", "test"]);
    const hang = () => new Promise(() => setInterval(() => {}, 1000));
    await runProgram("rmb-test", ${verbosity}, async (stop) => { ${body} });`;
  const config = fileURLToPath(new URL("../deno.json", import.meta.url));
  return Program.start({
    command: Deno.execPath(),
    args: ["eval", "--quiet", "--config", config, code],
    ready: /runs|fails/,
  });
}

Deno.test("runProgram() ends with 0 when its body is done", async () => {
  await using program = await start(0, `console.log("runs"); setInterval(() => {}, 1000);`);
  assert.equal((await inTime(program.ended, "the end")).code, 0);
});

Deno.test("runProgram() ends with 1 when its body fails, and says why", async () => {
  await using program = await start(0, `throw new Error("it fails: \\u001b[31m\\n");`);
  assert.equal((await inTime(program.ended, "the end")).code, 1);
  assert.deepEqual(program.lines, ["rmb-test: it fails: \\u001b[31m\\u000a"]);
});

Deno.test({
  name: "runProgram() tells its body to stop, and ends at once with 1 when told again",
  ignore: Deno.build.os === "windows", // Signals end a process at once there.
  async fn() {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const body = `
      stop.addEventListener("abort", () => console.log("stops for " + stop.reason));
      console.log("runs");
      await hang();`;
      await using program = await start(0, body);
      Deno.kill(program.pid, signal);
      await program.line(new RegExp(`stops for ${signal}`));
      Deno.kill(program.pid, "SIGTERM");
      assert.equal((await inTime(program.ended, "the end")).code, 1);
    }
  },
});

Deno.test("runProgram() logs as much as it is told to, each record in a line", async () => {
  const body = `
    log.trace("traced"); log.debug("debugged");
    log.info("told {what}", { what: "a\\nb\\u001b[2Jc\\u2028d" });
    console.log("runs");`;
  const logged = [[0, 1], [1, 2], [2, 3], [9, 3]] as const;
  await Promise.all(logged.map(async ([verbosity, count]) => {
    await using program = await start(verbosity, body);
    await inTime(program.ended, "the end");
    const lines = program.lines.filter((line) => line !== "runs");
    assert.equal(lines.length, count, lines.join("\n"));
    const last = lines.at(-1)!;
    assert.ok(last.includes("told a\\u000ab\\u001b[2Jc\\u2028d"), last);
    assert.match(last, /^\d{4}-\d\d-\d\dT.*INF/);
  }));
});
