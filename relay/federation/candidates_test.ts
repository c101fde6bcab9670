import assert from "node:assert/strict";
import { candidates } from "./candidates.ts";

Deno.test("candidates() takes hosts and addresses, with or without a port", () => {
  const good = ["relay.grid.tf", "Relay-2.test:8080", "127.0.0.1:80", "[::1]", "[fe80::1]:8080"];
  assert.deepEqual(candidates(good), good);
});

Deno.test("candidates() leaves out what would make another URL", () => {
  const bad = [
    "",
    "host/path",
    "host?query",
    "host#fragment",
    "user@host",
    "user:password@host",
    "host:",
    "host:port",
    "host:99999",
    "host\\path",
    "ho st",
    "host\n",
    "::1",
    "[::1",
    "[::g]",
    "1.2.3.999",
    "hôte",
    "%68ost",
    "a".repeat(254),
  ];
  assert.deepEqual(candidates(bad), []);
});

Deno.test("candidates() takes no more than 16", () => {
  const many = Array.from({ length: 40 }, (_, i) => `relay${i}.test`);
  assert.deepEqual(candidates(["no host", ...many]), many.slice(0, 16));
});
