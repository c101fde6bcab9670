import assert from "node:assert/strict";
import { FormatError } from "../errors.ts";
import { readRuntime } from "./runtime.ts";

const chain = "TFChain";
const genesisHash = `0x${"ab".repeat(32)}`;
const version = { specName: "substrate-threefold", specVersion: 150, transactionVersion: 2 };

Deno.test("readRuntime() takes what is used, and a hash in any case", () => {
  const answered = { ...version, apis: [["0x37e397fc7c91f5e4", 2]], implVersion: 1 };
  assert.deepEqual(readRuntime(chain, `0x${"AB".repeat(32)}`, answered), {
    chain,
    genesisHash,
    version,
  });
});

Deno.test("readRuntime() refuses what @polkadot/api could not read", () => {
  const anything: unknown[] = [undefined, null, 7, true, "", "0xzz", "x".repeat(101), {}, [1], {
    toString: 1,
  }];
  for (const wrong of anything.filter((wrong) => wrong !== "0xzz")) {
    assert.throws(() => readRuntime(wrong, genesisHash, version), FormatError);
  }
  for (const wrong of [...anything, genesisHash + "ab"]) {
    assert.throws(() => readRuntime(chain, wrong, version), FormatError);
    assert.throws(() => readRuntime(chain, genesisHash, wrong), FormatError);
  }
  for (const name of ["specVersion", "transactionVersion"]) {
    for (const wrong of [...anything, -1, 1.5, 2 ** 32, "150"].filter((wrong) => wrong !== 7)) {
      assert.throws(
        () => readRuntime(chain, genesisHash, { ...version, [name]: wrong }),
        FormatError,
        `${name} ${JSON.stringify(wrong)}`,
      );
    }
  }
});
