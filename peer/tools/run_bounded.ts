/** Longest output that a program may have, in bytes: an answer must fit into a message. */
const MAX_OUTPUT = 32 * 1024 * 1024;
/** How much of its errors is kept: the end, in characters. */
const MAX_ERRORS = 4096;

/** What a program is run with. */
export interface RunOptions {
  /** Its standard input. */
  readonly input: Uint8Array;
  /** Variables beside those of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** Kills it when it is aborted. */
  readonly signal: AbortSignal;
  /** Longest output, in bytes. Default 32 MiB. */
  readonly maxOutput?: number;
}

/** How a program ended. */
export interface Finished {
  readonly code: number;
  readonly stdout: Uint8Array;
  /** The end of what it wrote to stderr. */
  readonly stderr: string;
  /** Why it was killed, or could not be run. */
  readonly reason: string | undefined;
}

/** Runs a program with bounded time and output. Rejects never. */
export async function runBounded(
  program: string,
  args: readonly string[],
  { input, env, signal, maxOutput = MAX_OUTPUT }: RunOptions,
): Promise<Finished> {
  let reason: string | undefined;
  let child: Deno.ChildProcess;
  const piped = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  try {
    // In a group of its own, so that what it starts can be killed with it.
    const options = { args: [...args], env: { ...env }, detached: true, ...piped };
    child = new Deno.Command(program, options).spawn();
  } catch (error) {
    const stdout = new Uint8Array();
    return { code: 127, stdout, stderr: "", reason: (error as Error).message };
  }
  const killed = new AbortController();
  const kill = (why: string) => {
    reason ??= why;
    killGroup(child);
    killed.abort(); // What could not be killed may hold its pipes open.
  };
  const abort = () => kill("it took too long");
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  const chunks: BlobPart[] = [];
  let length = 0;
  let stderr = "";
  const utf8 = new TextDecoder();
  const [{ code }] = await Promise.all([
    child.status,
    feed(child.stdin, input, killed.signal),
    read(child.stdout, killed.signal, (chunk) => {
      length += chunk.length;
      if (length > maxOutput) kill(`its output is longer than ${maxOutput} bytes`);
      else chunks.push(chunk);
    }),
    read(child.stderr, killed.signal, (chunk) => {
      stderr = (stderr + utf8.decode(chunk, { stream: true })).slice(-MAX_ERRORS);
    }),
  ]);
  signal.removeEventListener("abort", abort);
  const stdout = new Uint8Array(await new Blob(chunks).arrayBuffer());
  return { code, stdout, stderr, reason };
}

/** Kills a program and what it has started: that needs permission to run anything, and no Windows. */
function killGroup(child: Deno.ChildProcess): void {
  try {
    return Deno.kill(-child.pid, "SIGKILL");
  } catch {
    // Then the program alone.
  }
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
}

async function feed(
  stdin: WritableStream<Uint8Array<ArrayBuffer>>,
  input: Uint8Array,
  killed: AbortSignal,
): Promise<void> {
  const writer = stdin.getWriter();
  killed.addEventListener("abort", () => void writer.abort().catch(() => {}));
  try {
    await writer.write(input as Uint8Array<ArrayBuffer>);
    await writer.close();
  } catch {
    // It does not read its input: that is up to it.
  }
}

async function read(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  killed: AbortSignal,
  take: (chunk: Uint8Array<ArrayBuffer>) => void,
): Promise<void> {
  const reader = stream.getReader();
  killed.addEventListener("abort", () => void reader.cancel().catch(() => {}));
  for (let next; !(next = await reader.read()).done;) take(next.value);
}
