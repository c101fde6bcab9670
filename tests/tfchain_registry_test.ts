import { TfchainRegistry } from "@rmb/protocol/tfchain";
import { testRegistry } from "../protocol/registry_contract.ts";
import { Devnet } from "./fixtures/devnet.ts";

testRegistry("TfchainRegistry", async (twins) => {
  const folder = await Deno.makeTempDir({ prefix: "rmb-" });
  const path = `${folder}/twins.json`;
  await Deno.writeTextFile(path, JSON.stringify({ twins }));
  const devnet = await Devnet.start({ twins: path, blockTime: 100 });
  return {
    open: () => TfchainRegistry.connect({ urls: devnet.urls }),
    set: async (twin) => void await devnet.setTwin({ relay: null, pk: null, ...twin }),
    async [Symbol.asyncDispose]() {
      await devnet[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
});
