/** What the documentation tells its readers to do, done: the blocks that are marked (fixtures/docs_page.ts). */
import assert from "node:assert/strict";
import { Checkout } from "./fixtures/checkout.ts";
import { markedBlocks } from "./fixtures/docs_page.ts";

const root = new URL("../", import.meta.url);
const packages = ["protocol", "relay", "peer"];

const guides = [...Deno.readDirSync(new URL("docs", root))]
  .map(({ name }) => `docs/${name}`)
  .filter((name) => name.endsWith(".md"));

for (const page of ["README.md", ...guides.toSorted()]) {
  const blocks = markedBlocks(Deno.readTextFileSync(new URL(page, root)));
  if (blocks.length === 0) continue;
  Deno.test(`${page} works as it says`, async () => {
    await using checkout = await Checkout.make();
    for (const block of blocks) await checkout.do(block);
  });
}

Deno.test("examples of what needs no network work as they say", async () => {
  const files = ["account", "domain", "encryption", "envelope", "keys", "routing", "secret"]
    .concat(["session", "signature", "token", "twin"])
    .map((name) => `protocol/${name}.ts`);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-P=test", "--doc", "--no-check", ...files],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.ok(success, `${text}${errors}`);
  assert.ok(Number(text!.match(/(\d+) passed/)?.[1]) >= files.length, text!);
});

/** What messages have of the system's, and what varies in them. */
const OF_SYSTEM = /^(?:connect ECONN|getaddrinfo E|EADDR|Requires|access to|, run again|Perm)/;
const VARIES = /…|\d+|[():]/;

Deno.test("docs/troubleshooting.md names messages as the programs have them", () => {
  const sources = packages.flatMap(sourcesOf).join("\n").replaceAll(/" \+\s+"|` \+\s+[`"]/g, "");
  const page = Deno.readTextFileSync(new URL("docs/troubleshooting.md", root));
  const messages = page.matchAll(/^\| (?:\d+ )?`([^`]+)`/gm).map(([, message]) => message!)
    .toArray();
  assert.ok(messages.length > 40, `${messages.length}`);
  for (const message of messages) {
    for (const part of message.split(VARIES).map((part) => part.trim())) {
      assert.ok(OF_SYSTEM.test(part) || sources.includes(part), `"${part}" of "${message}"`);
    }
  }
});

/** The text of a folder's modules. */
function sourcesOf(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, root))].flatMap(({ name, isDirectory }) => {
    if (isDirectory) return sourcesOf(`${folder}/${name}`);
    if (!name.endsWith(".ts") || name.endsWith("_test.ts")) return [];
    return [Deno.readTextFileSync(new URL(`${folder}/${name}`, root))];
  });
}
