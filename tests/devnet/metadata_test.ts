import assert from "node:assert/strict";
import { Metadata, TypeRegistry } from "@polkadot/types";
import { metadata } from "./runtime.ts";

const registry = new TypeRegistry();
const decoded = new Metadata(registry, `0x${metadata.toHex()}`);
registry.setMetadata(decoded);
const { pallets, extrinsic } = decoded.asV14;

Deno.test("the metadata is of version 14, as @polkadot/types encodes it too, and lacks no type", () => {
  assert.equal(decoded.version, 14);
  assert.equal(decoded.toHex(), `0x${metadata.toHex()}`);
  decoded.getUniqTypes(true);
});

Deno.test("a transaction has the real chain's signed extensions", () => {
  assert.deepEqual(extrinsic.signedExtensions.map(({ identifier }) => identifier.toString()), [
    "CheckNonZeroSender",
    "CheckSpecVersion",
    "CheckTxVersion",
    "CheckGenesis",
    "CheckMortality",
    "CheckNonce",
    "CheckWeight",
    "ChargeTransactionPayment",
  ]);
});

Deno.test("no pallet has the index that it has on the real chain", () => {
  const real = { System: 0, Timestamp: 1, Balances: 20, TransactionPayment: 21, TfgridModule: 25 };
  assert.deepEqual(pallets.map(({ name }) => name.toString()).sort(), Object.keys(real).sort());
  for (const { name, index } of pallets) {
    assert.notEqual(index.toNumber(), real[name.toString() as keyof typeof real], name.toString());
  }
});

Deno.test("twins have the real chain's form", () => {
  const twin = registry.createType("PalletTfgridTwin" as "Bytes");
  assert.deepEqual(JSON.parse(twin.toRawType()), {
    id: "u32",
    accountId: "AccountId32",
    relay: "Option<Bytes>",
    entities: "Vec<PalletTfgridEntityProof>",
    pk: "Option<Bytes>",
  });
});
