/**
 * Builds the npm package of @rmb/protocol, for Node and for bundlers that know nothing of Deno: JavaScript
 * and types, file by file.
 *
 *     deno task npm              into npm/
 *     deno task npm <folder>
 */
import ts from "typescript";

const root = new URL("../", import.meta.url);
const folder = Deno.args[0] ?? "npm";
const target = new URL(`${folder}/`, root);

/** Entry points that need nothing of Deno, and where they are. */
const EXPORTS: Readonly<Record<string, string>> = {
  ".": "mod",
  "./endpoint": "endpoint/mod",
  "./tfchain": "tfchain/mod",
  "./ws-socket": "ws_socket",
};

/** What only those need who use the entry points that say so. */
const OPTIONAL = ["@polkadot/api", "ws"];

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022, // Node 20 and browsers lack `using`.
  module: ts.ModuleKind.ESNext,
  rewriteRelativeImportExtensions: true,
  verbatimModuleSyntax: true,
  isolatedDeclarations: true,
  declaration: true,
  strict: true,
};

/** Removes what was built before; whatever else is in the folder is not this program's to remove. */
async function removeBuilt(): Promise<void> {
  const entries = await Array.fromAsync(Deno.readDir(target)).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  });
  const manifest = new URL("package.json", target);
  const built = entries.length === 0 ||
    await Deno.readTextFile(manifest).then(
      (text) => JSON.parse(text).name === "@rmb/protocol",
      () => false,
    );
  if (!built) {
    console.error(`Cannot build into "${folder}": there is something else in it`);
    Deno.exit(2);
  }
  if (entries.length > 0) await Deno.remove(target, { recursive: true });
}

async function readJson(path: string) {
  return JSON.parse(await Deno.readTextFile(new URL(path, root)));
}

/** Transpiles a module and those that it imports; gives the packages that they import. */
async function build(name: string, done: Set<string>, packages: Set<string>): Promise<void> {
  if (done.has(name)) return;
  done.add(name);
  const source = await Deno.readTextFile(new URL(`protocol/${name}.ts`, root));
  const fileName = `${name}.ts`;
  const js = ts.transpileModule(source, { compilerOptions: options, fileName });
  const types = ts.transpileDeclaration(source, { compilerOptions: options, fileName });
  const problems = [...js.diagnostics ?? [], ...types.diagnostics ?? []];
  if (problems.length > 0) {
    throw new Error(
      `${fileName}: ${ts.flattenDiagnosticMessageText(problems[0]!.messageText, "\n")}`,
    );
  }
  const path = new URL(`${name}`, target);
  await Deno.mkdir(new URL(".", path), { recursive: true });
  await Deno.writeTextFile(new URL(`${path}.js`), js.outputText);
  const declared = types.outputText
    .replace(/(from "\.[^"]*|import\("\.[^"]*)\.ts"/g, '$1.js"')
    // The compiler declares methods with such names twice, first as properties.
    .replace(/^ +\[Symbol\.\w+\]: \(\) => .*;\n/gm, "");
  const lib = /ispos/.test(declared) ? '/// <reference lib="esnext.disposable" />\n' : "";
  await Deno.writeTextFile(new URL(`${path}.d.ts`), lib + declared);
  for (const { fileName: imported } of ts.preProcessFile(source).importedFiles) {
    if (imported.startsWith(".")) {
      const { href } = new URL(imported, new URL(`protocol/${name}.ts`, root));
      await build(href.slice(new URL("protocol/", root).href.length, -3), done, packages);
    } else if (!imported.startsWith("node:")) {
      packages.add(imported.split("/").slice(0, imported.startsWith("@") ? 2 : 1).join("/"));
    }
  }
}

await removeBuilt();
const packages = new Set<string>();
const done = new Set<string>();
for (const name of Object.values(EXPORTS)) await build(name, done, packages);

const { name, version, license, description } = await readJson("protocol/deno.json");
const { imports } = await readJson("deno.json");
const versions = Object.fromEntries(
  [...packages].toSorted().map((name) => [name, `^${imports[name].split("@").at(-1)}`]),
);
const isOptional = ([name]: [string, unknown]) => OPTIONAL.includes(name);
const entries = Object.entries(versions);
const manifest = {
  name,
  version,
  description,
  license,
  repository: { type: "git", url: "git+https://github.com/threefoldtech/rmb-deno.git" },
  type: "module",
  engines: { node: ">=20.19" },
  exports: Object.fromEntries(
    Object.entries(EXPORTS).map(([entry, name]) => [
      entry,
      { types: `./${name}.d.ts`, default: `./${name}.js` },
    ]),
  ),
  sideEffects: false,
  dependencies: Object.fromEntries(entries.filter((entry) => !isOptional(entry))),
  peerDependencies: Object.fromEntries(entries.filter(isOptional)),
  peerDependenciesMeta: Object.fromEntries(OPTIONAL.map((name) => [name, { optional: true }])),
};
await Deno.writeTextFile(new URL("package.json", target), `${JSON.stringify(manifest, null, 2)}\n`);
for (const file of ["LICENSE", "protocol/README.md"]) {
  await Deno.copyFile(new URL(file, root), new URL(file.split("/").at(-1)!, target)).catch(
    (error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    },
  );
}
console.log(`${folder} has ${name} ${version}: ${done.size} modules`);
