import { createHash } from "node:crypto";
import { statusPage } from "./page_script.js";

const STYLE = `
:root {
  color-scheme: light dark;
  --ink: light-dark(#1c2430, #e6e9ee);
  --quiet: light-dark(#566173, #9aa5b5);
  --page: light-dark(#f4f5f7, #12161c);
  --card: light-dark(#fff, #1b212a);
  --edge: light-dark(#dde1e7, #2b333f);
  --first: light-dark(#0b62c4, #6cb2ff);
  --second: light-dark(#b0480a, #ffab6b);
  --good: light-dark(#136c35, #74d99a);
  --bad: light-dark(#b3261e, #ff9a90);
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--page); color: var(--ink);
  font: 1rem/1.4 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem; margin-bottom: 1rem; }
h1 { font-size: 1.25rem; margin: 0; }
h2 { font-size: 1rem; margin: 0 0 .5rem; }
#state, #time { color: var(--quiet); margin: 0; font-variant-numeric: tabular-nums; }
#state.bad { color: var(--bad); font-weight: 600; }
#charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
figure, section { margin: 0; padding: .75rem 1rem; background: var(--card); border: 1px solid var(--edge);
  border-radius: .5rem; min-width: 0; }
section { margin-top: 1rem; overflow-x: auto; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline; font-weight: 600; }
figcaption > :first-child { flex: 1 0 100%; }
.value { font-variant-numeric: tabular-nums; color: var(--first); }
.value b { font-size: 1.25rem; }
small { font-size: .8125rem; font-weight: 400; }
.value.series-1 { color: var(--second); }
.value i { display: inline-block; width: 1.25rem; margin-right: .375rem; vertical-align: middle;
  border-top: 2px solid currentColor; }
.value.series-1 i { border-top-style: dashed; }
svg:focus-visible { outline: 2px solid var(--first); outline-offset: 2px; }
svg { display: block; width: 100%; height: 7.5rem; margin-top: .5rem; border-bottom: 1px solid var(--edge);
  touch-action: pan-y; }
.line { fill: none; stroke: var(--first); stroke-width: 1.75; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; stroke-linecap: round; }
.line.series-1 { stroke: var(--second); stroke-dasharray: 5 3; }
.cursor { stroke: var(--quiet); vector-effect: non-scaling-stroke; }
.scale { display: flex; justify-content: space-between; color: var(--quiet); font-size: .8125rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .5rem; border-top: 1px solid var(--edge); font-weight: 400; }
th:first-child { text-align: left; overflow-wrap: anywhere; padding-left: 0; }
thead th { color: var(--quiet); border: 0; font-size: .8125rem; }
.state { white-space: nowrap; }
@media (max-width: 30rem) {
  td, th { padding-inline: .25rem; }
  tbody { font-size: .9375rem; }
}
.state::before { content: "● "; }
.state.good { color: var(--good); }
.state.failing { color: var(--bad); font-weight: 600; }
.state.failing::before { content: "▲ "; }
.state.unsteady { color: var(--second); }
.state.unsteady::before { content: "◆ "; }
.state.idle { color: var(--quiet); }
.state.idle::before { content: "○ "; }
noscript { color: var(--bad); }
`;

const SCRIPT = `(${statusPage})();`;

/** The status page: all in one, nothing from elsewhere. */
export const PAGE = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>RMB relay</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<header><h1>RMB relay</h1><p id="state" role="status">Asking…</p><p id="time"></p></header>
<noscript>This page draws charts with JavaScript; the same numbers are at <a href="metrics">/metrics</a>.</noscript>
<main>
<div id="charts"></div>
<section id="federation" hidden>
<h2>Messages to other relays, in the last hour</h2>
<table>
<thead><tr><th scope="col">relay</th><th scope="col">lately</th><th scope="col">taken</th><th scope="col">tries failed</th></tr></thead>
<tbody id="relays"></tbody>
</table>
</section>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`;

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** Lets the page do what it does, and nothing else. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(STYLE)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
