/** Memory of a process, in bytes. */
export interface Memory {
  /** What it has now. */
  readonly resident: number;
  /** The most it had since it started. */
  readonly peak: number;
}

/** Ticks of a second in Linux's /proc. */
const TICKS = 100;

/** CPU time of processes so far, user and system, in seconds; from Linux's /proc. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  let ticks = 0;
  for (const pid of pids) {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** Memory of a process, from Linux's /proc. */
export async function memory(pid: number): Promise<Memory> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const kilobytes = (name: string) => Number(status.match(new RegExp(`${name}:\\s*(\\d+)`))?.[1]);
  return { resident: kilobytes("VmRSS") * 1024, peak: kilobytes("VmHWM") * 1024 };
}

/** How many files a process may have open that this one starts. */
export async function openFiles(): Promise<number> {
  const limits = await Deno.readTextFile("/proc/self/limits");
  return Number(limits.match(/Max open files\s+(\d+)/)?.[1] ?? 1024);
}
