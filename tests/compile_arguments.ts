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

/**
 * What must not go into a binary, in Deno's cache of packages: the test data of bintrees, which the metrics
 * library brings. Deno 2.9 runs out of stack when it compiles that.
 *
 * @param cache The folder that `deno info` calls the npm modules cache, with what the programs need in it.
 */
export async function excludedFolders(cache: string): Promise<string[]> {
  const folders: string[] = [];
  for await (const registry of Deno.readDir(cache)) {
    const versions = `${cache}/${registry.name}/bintrees`;
    if (!await isFolder(versions)) continue;
    for await (const { name, isDirectory } of Deno.readDir(versions)) {
      if (isDirectory) folders.push(`${versions}/${name}/test`);
    }
  }
  return folders;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * How a program is compiled, and into which file: with the target in its name, if one is given. Packages that
 * it does not import, such as those of tests, are left out.
 *
 * @param excluded Folders that are left out besides.
 */
export function compileArguments(
  { name, include }: Program,
  target: string | undefined,
  excluded: readonly string[],
): { readonly args: readonly string[]; readonly output: string } {
  const suffix = target === undefined
    ? Deno.build.os === "windows" ? ".exe" : ""
    : `-${target}${target.includes("windows") ? ".exe" : ""}`;
  const output = `bin/rmb-${name}${suffix}`;
  return {
    output,
    args: [
      ...["compile", "--quiet", "--no-prompt", `-P=${name}`, "--output", output],
      "--exclude-unused-npm",
      ...excluded.flatMap((folder) => ["--exclude", folder]),
      ...target === undefined ? [] : ["--target", target],
      ...["bin/commit.txt", ...include].flatMap((file) => ["--include", file]),
      `${name}/mod.ts`,
    ],
  };
}
