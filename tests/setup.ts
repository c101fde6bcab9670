/**
 * Makes sure that there is a redis-server for the demo, the tests and the benchmarks: installs it where
 * that is possible, or says what to install.
 */
const PACKAGE = "redis-server";

async function run(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success, stderr } = await new Deno.Command(command, {
      args,
      // Runlevel 1: the package's own server, which nobody here needs, is not started.
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

if (!await run(PACKAGE, "--version")) {
  console.error(`${PACKAGE} is not here, installing it with apt-get`);
  const installed = await run("apt-get", "update", "-qq") &&
    await run("apt-get", "install", "-qq", "-y", "--no-install-recommends", PACKAGE) &&
    await run(PACKAGE, "--version");
  if (!installed) {
    console.error(`${PACKAGE} is missing: install it first (Debian: apt-get install ${PACKAGE})`);
    Deno.exit(1);
  }
}
