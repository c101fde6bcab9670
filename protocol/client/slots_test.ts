import assert from "node:assert/strict";
import { Slots } from "./slots.ts";

Deno.test("Slots let so many of a key go at once, the others in their turn", () => {
  const slots = new Slots(2);
  const begun: string[] = [];
  const take = (key: string, name: string) => slots.take(key, () => begun.push(name));
  const [one, two, three, four] = ["1", "2", "3", "4"].map((name) => take("a", name));
  const other = take("b", "b");
  assert.deepEqual(begun, ["1", "2", "b"]);
  three!(); // Waits no more.
  one!();
  assert.deepEqual(begun.splice(0), ["1", "2", "b", "4"]);
  const five = take("a", "5");
  assert.deepEqual(begun, []);
  two!();
  assert.deepEqual(begun.splice(0), ["5"]);
  for (const give of [four!, five, other]) give();
  [1, 2, 3].forEach((name) => take("a", `${name}`));
  assert.deepEqual(begun, ["1", "2"]);
});
