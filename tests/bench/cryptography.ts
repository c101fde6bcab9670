import {
  challenge,
  decodeEnvelope,
  EncryptionKeypair,
  Keypair,
  readRouting,
  verifySignature,
} from "@rmb/protocol";
import { ALICE, BOB } from "../fixtures/network.ts";
import { envelopeOfSize } from "./envelopes.ts";
import { Table } from "./figures.ts";

/** How long each operation is repeated, in milliseconds. */
const TIME = 500;

/** What the steps of one message cost. */
export async function benchCryptography(): Promise<void> {
  const results = await measure();
  const [first, unit] = results[0]!;
  console.log(`Steps of a message of 300 B: µs, and as many times "${first}"\n`);
  const table = new Table(["step", "µs", "times"]);
  for (const [name, microseconds] of results) {
    table.row([name, microseconds.toFixed(1), (microseconds / unit).toFixed(1)]);
  }
}

async function measure(): Promise<[name: string, microseconds: number][]> {
  const small = await envelopeOfSize(300, {
    source: { twin: ALICE.id },
    destination: { twin: BOB.id },
  });
  const decoded = decodeEnvelope(small);
  const digest = challenge(decoded);
  const results: [string, number][] = [
    ["read the routing fields", await time(() => readRouting(small))],
    ["decode", await time(() => decodeEnvelope(small))],
    ["challenge", await time(() => challenge(decoded))],
  ];
  for (const type of ["sr25519", "ed25519"] as const) {
    const keypair = Keypair.fromSecret(ALICE.secret, type);
    const signature = await keypair.sign(digest);
    results.push([`sign, ${type}`, await time(() => keypair.sign(digest))]);
    results.push([
      `verify, ${type}`,
      await time(() => verifySignature(keypair.publicKey, digest, signature)),
    ]);
  }
  const alice = EncryptionKeypair.fromSecret(ALICE.secret)!;
  const bob = EncryptionKeypair.fromSecret(BOB.secret)!;
  for (const size of [200, 4096, 65536]) {
    const plain = new Uint8Array(size);
    const cipher = await alice.encrypt(plain, bob.publicKey);
    results.push([`encrypt ${size} B`, await time(() => alice.encrypt(plain, bob.publicKey))]);
    results.push([`decrypt ${size} B`, await time(() => bob.decrypt(cipher, alice.publicKey))]);
  }
  results.push([
    "shared secret of a new peer",
    await time(() => EncryptionKeypair.fromSecret(BOB_SEED)!.accepts(alice.publicKey)) -
    await time(() => EncryptionKeypair.fromSecret(BOB_SEED)!),
  ]);
  return results;
}

const BOB_SEED = "0xaa4e323bade8609a595108b585c4135855430c411ccf7923f81438cd8a188fce";

async function time(operation: () => unknown): Promise<number> {
  let count = 0;
  const run = async (milliseconds: number) => {
    const end = performance.now() + milliseconds;
    while (performance.now() < end) {
      for (let i = 0; i < 10; i++) await operation();
      count += 10;
    }
  };
  await run(TIME / 5);
  count = 0;
  const start = performance.now();
  await run(TIME);
  return (performance.now() - start) / count * 1000;
}
