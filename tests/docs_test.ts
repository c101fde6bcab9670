/** What the documentation tells its readers to do, done: the blocks that are marked (fixtures/docs_page.ts). */
import { Checkout } from "./fixtures/checkout.ts";
import { markedBlocks } from "./fixtures/docs_page.ts";

const root = new URL("../", import.meta.url);

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
