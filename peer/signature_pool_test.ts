import assert from "node:assert/strict";
import { Keypair, type KeyType, verifySignature } from "@rmb/protocol";
import { SignaturePool } from "./signature_pool.ts";

const SECRET = "//Alice";
const CORES = 3;

function message(i: number): Uint8Array {
  return new TextEncoder().encode(`message ${i}`);
}

async function signMany(pool: SignaturePool, count: number): Promise<Uint8Array[]> {
  return await Promise.all(Array.from({ length: count }, (_, i) => pool.sign(message(i))));
}

for (const type of ["sr25519", "ed25519"] as const satisfies readonly KeyType[]) {
  for (const cores of [1, CORES]) {
    Deno.test(`SignaturePool signs and verifies as its key pair does: ${type}, ${cores} cores`, async () => {
      const keypair = Keypair.fromSecret(SECRET, type);
      using pool = new SignaturePool(keypair, SECRET, cores);
      for (const count of [1, 3, 100]) {
        const signatures = await signMany(pool, count);
        const hold = signatures.map((signature, i) =>
          verifySignature(keypair.publicKey, message(i), signature)
        );
        assert.ok((await Promise.all(hold)).every(Boolean));
        const verified = signatures.map((signature, i) =>
          pool.verify(keypair.publicKey, message(i % 2 === 0 ? i : i + 1), signature)
        );
        assert.deepEqual(await Promise.all(verified), signatures.map((_, i) => i % 2 === 0));
      }
    });
  }
}

Deno.test("SignaturePool refuses what is no signature or no key", async () => {
  const keypair = Keypair.fromSecret(SECRET);
  using pool = new SignaturePool(keypair, SECRET, CORES);
  const signature = await keypair.sign(message(0));
  const cases: [Uint8Array, Uint8Array][] = [
    [keypair.publicKey, new Uint8Array()],
    [keypair.publicKey, signature.subarray(0, 40)],
    [keypair.publicKey, new Uint8Array(65).fill(0x73)],
    [new Uint8Array(32).fill(0xff), signature],
    [new Uint8Array(3), signature],
  ];
  const many = Array.from({ length: 10 }, () => cases).flat();
  const hold = await Promise.all(many.map(([key, text]) => pool.verify(key, message(0), text)));
  assert.ok(hold.every((holds) => holds === false));
});

Deno.test("SignaturePool finishes here what its workers had when they are ended", async () => {
  const keypair = Keypair.fromSecret(SECRET);
  const pool = new SignaturePool(keypair, SECRET, CORES);
  const signing = signMany(pool, 200);
  await Promise.resolve();
  pool[Symbol.dispose]();
  const signatures = await signing;
  for (const i of [0, 199]) {
    assert.ok(await verifySignature(keypair.publicKey, message(i), signatures[i]!));
  }
  assert.equal((await signMany(pool, 10)).length, 10);
});
