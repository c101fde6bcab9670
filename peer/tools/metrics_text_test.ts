import assert from "node:assert/strict";
import { Sample, Span } from "./metrics_text.ts";

Deno.test("Sample reads metrics with and without labels", () => {
  const sample = new Sample(
    [
      "# HELP things Things, {braces} and all",
      "# TYPE things counter",
      "things 3",
      'things_by{of="a"} 1.5',
      'things_by{of="b",more="x"} 2e3 1700000000000',
      "",
    ].join("\n"),
    1,
  );
  assert.equal(sample.total("things"), 3);
  assert.equal(sample.total("things_by"), 2001.5);
  assert.deepEqual([...sample.by("things_by", "of")], [["a", 1.5], ["b", 2000]]);
  assert.equal(sample.has("things"), true);
  assert.equal(sample.has("# HELP"), false);
  assert.equal(sample.total("nothing"), undefined);
});

Deno.test("Sample reads what is escaped in labels", () => {
  const sample = new Sample(String.raw`a{x="1\"}, y=\"2\\3\n4",z="5}6"} 7`, 1);
  assert.deepEqual([...sample.by("a", "x").keys()], ['1"}, y="2\\3\n4']);
  assert.deepEqual([...sample.by("a", "z").keys()], ["5}6"]);
});

Deno.test("Sample passes over what is no metric", () => {
  const sample = new Sample("<html>\n good 1 \n1bad 2\nbad{ 3\n\0\ngood 4\n", 1);
  assert.equal(sample.total("good"), 4);
  assert.equal(sample.has("bad"), false);
});

Deno.test("Span.rate() is what was added in a second", () => {
  const span = new Span(new Sample("a 10\n", 100), new Sample("a 30\n", 104));
  assert.equal(span.rate("a"), 5);
  assert.equal(span.rate("b"), 0);
});

Deno.test("Span.rate() counts from 0 after a restart, and is 0 for no time", () => {
  assert.equal(new Span(new Sample("a 1000\n", 1), new Sample("a 4\n", 3)).rate("a"), 2);
  assert.equal(new Span(new Sample("a 1\n", 1), new Sample("a 4\n", 1)).rate("a"), 0);
});

Deno.test("Span.rates() goes by a label, also by values that are new", () => {
  const span = new Span(
    new Sample('a{k="x"} 1\n', 0),
    new Sample('a{k="x"} 3\na{k="y"} 8\n', 2),
  );
  assert.deepEqual([...span.rates("a", "k")], [["x", 1], ["y", 4]]);
});

Deno.test("Span.quantile() is of what was observed in the span", () => {
  const span = new Span(
    new Sample(histogram(100, 100, 100), 0),
    new Sample(histogram(100, 150, 200), 1),
  );
  assert.equal(span.quantile("t", 0.5), 0.1);
  assert.equal(span.quantile("t", 0.51), 0.1, "beyond the last bound there is none");
});

Deno.test("Span.quantile() is of all there was when nothing was observed in the span", () => {
  const sample = new Sample(histogram(90, 100, 100), 0);
  assert.equal(new Span(sample, sample).quantile("t", 0.5), 0.01);
  assert.equal(new Span(sample, sample).quantile("t", 0.99), 0.1);
});

Deno.test("Span.quantile() is undefined where nothing was ever observed", () => {
  const sample = new Sample(histogram(0, 0, 0), 0);
  assert.equal(new Span(sample, sample).quantile("t", 0.5), undefined);
  assert.equal(new Span(sample, sample).quantile("none", 0.5), undefined);
});

function histogram(upTo10ms: number, upTo100ms: number, all: number): string {
  return [
    `t_bucket{le="0.01"} ${upTo10ms}`,
    `t_bucket{le="0.1"} ${upTo100ms}`,
    `t_bucket{le="+Inf"} ${all}`,
    "",
  ].join("\n");
}

Deno.test("Sample reads long lines that are no metrics without looking at them again and again", () => {
  const start = performance.now();
  new Sample(`t{${"a".repeat(200_000)}} 1`, 0);
  assert.ok(performance.now() - start < 1000);
});
