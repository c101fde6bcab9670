/**
 * Makes sure that there are the programs that demo, tests and benchmarks start: installs their Debian
 * packages where that is possible, or says what to install.
 *
 *     setup.ts <package>…
 */
/** A command for each package that succeeds if it is there. */
const COMMANDS: Readonly<Record<string, string>> = {
  "chromium": "command -v chromium",
  "python3-cryptography": '/usr/bin/python3 -c "import cryptography"',
  "python3-redis": '/usr/bin/python3 -c "import redis"',
  "python3-websocket": '/usr/bin/python3 -c "import websocket"',
  "redis-server": "command -v redis-server",
};

async function run(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success, stderr } = await new Deno.Command(command, {
      args,
      // Runlevel 1: the packages' own servers, which nobody here needs, are not started.
      env: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) await Deno.stderr.write(stderr);
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function missing(): Promise<string[]> {
  const there = await Promise.all(
    Deno.args.map((name) => run("sh", "-c", `${COMMANDS[name]} >/dev/null 2>&1`)),
  );
  return Deno.args.filter((_, i) => !there[i]);
}

const packages = await missing();
if (packages.length > 0) {
  console.error(`installing what is missing, with apt-get: ${packages.join(" ")}`);
  await run("apt-get", "update", "-qq") &&
    await run("apt-get", "install", "-qq", "-y", "--no-install-recommends", ...packages);
  const left = await missing();
  if (left.length > 0) {
    console.error(`Install first: ${left.join(" ")} (Debian: apt-get install ${left.join(" ")})`);
    Deno.exit(1);
  }
}
