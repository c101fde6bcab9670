/** Links between the pages of the documentation, and from them to files: all lead somewhere. */
import assert from "node:assert/strict";

const root = new URL("../", import.meta.url);

/** Where the repository is published: pages of packages are read elsewhere, and link there. */
const PUBLISHED = "https://github.com/threefoldtech/rmb-deno/blob/main/";

const pages = [
  ...["README.md", "CONTRIBUTING.md", "SECURITY.md"],
  ...["protocol/README.md", "relay/README.md", "peer/README.md"],
].concat(
  [...Deno.readDirSync(new URL("docs", root))].map(({ name }) => `docs/${name}`)
    .filter((name) => name.endsWith(".md")),
);

/** The text of a page without its blocks of code. */
function textOf(page: string | URL): string {
  return Deno.readTextFileSync(new URL(page, root)).replace(/^```.*?^```/gms, "");
}

/** What GitHub calls the headings of a page in links. */
function anchorsOf(page: URL): string[] {
  return textOf(page).matchAll(/^#+ (.+)$/gm)
    .map(([, heading]) => heading!.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-"))
    .toArray();
}

for (const page of pages) {
  Deno.test(`${page} links to what there is`, () => {
    for (const [, link] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      const own = link!.startsWith(PUBLISHED);
      if (/^https?:/.test(link!) && !own) continue;
      if (/^(protocol|relay|peer)\//.test(page)) assert.ok(own, `${link} is not shown with it`);
      const url = own
        ? new URL(link!.slice(PUBLISHED.length), root)
        : new URL(link!, new URL(page, root));
      const file = new URL(url.pathname, root);
      assert.doesNotThrow(() => Deno.statSync(file), `${link}`);
      if (url.hash !== "") assert.ok(anchorsOf(file).includes(url.hash.slice(1)), `${link}`);
    }
  });
}
