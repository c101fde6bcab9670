/** The platforms that there are binaries for. */
export const TARGETS: readonly string[] = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

/** A program, and what it loads beside what it imports. */
interface Program {
  readonly name: string;
  readonly include: readonly string[];
}

/** The programs. Their permissions are those of their name in deno.json. */
export const PROGRAMS: readonly Program[] = [
  { name: "relay", include: [] },
  { name: "peer", include: ["peer/signature_worker.ts"] },
];

/** How a program is compiled, and into which file: with the target in its name, if one is given. */
export function compileArguments(
  { name, include }: Program,
  target: string | undefined,
): { readonly args: readonly string[]; readonly output: string } {
  const suffix = target === undefined
    ? Deno.build.os === "windows" ? ".exe" : ""
    : `-${target}${target.includes("windows") ? ".exe" : ""}`;
  const output = `bin/rmb-${name}${suffix}`;
  return {
    output,
    args: [
      ...["compile", "--quiet", "--no-prompt", `-P=${name}`, "--output", output],
      ...target === undefined ? [] : ["--target", target],
      ...["bin/commit.txt", ...include].flatMap((file) => ["--include", file]),
      `${name}/mod.ts`,
    ],
  };
}
