/** What every {@linkcode TwinRegistry} must do, as tests. */
import assert from "node:assert/strict";
import { formatHex } from "./account.ts";
import { FormatError, RegistryError } from "./errors.ts";
import { Keypair } from "./keys.ts";
import { MAX_TWIN_ID } from "./session.ts";
import { until } from "./tests/twins_file.ts";
import type { Twin, TwinRegistry } from "./twin.ts";

/** A twin as a file or a chain holds it. */
export interface StoredTwin {
  readonly id: number;
  /** SS58 address. */
  readonly account: string;
  readonly relay?: string | null;
  /** `0x` and hexadecimal digits. */
  readonly pk?: string | null;
}

/** Where twins are. Disposing of it ends it. */
export interface TwinsPlace extends AsyncDisposable {
  /** Opens a registry of them; there may be several. */
  open(): Promise<TwinRegistry>;
  /** Has a twin, not by way of a registry; a new one or another version of one. */
  set(twin: StoredTwin): Promise<void>;
}

const alice = Keypair.fromSecret("//Alice");
const bob = Keypair.fromSecret("//Bob", "ed25519");
const carol = Keypair.fromSecret("//Charlie");

const PK = Uint8Array.of(2, ...new Uint8Array(32).fill(0x11));

const TWINS: readonly StoredTwin[] = [
  { id: 7, account: alice.address, relay: "relay.grid.tf_a-b.c", pk: formatHex(PK) },
  { id: 8, account: bob.address },
];

const ALICE: Twin = {
  id: 7,
  account: alice.publicKey,
  relays: ["relay.grid.tf", "a-b.c"],
  pk: PK,
};
const BOB: Twin = { id: 8, account: bob.publicKey, relays: [], pk: undefined };

/**
 * Tests a kind of registry.
 *
 * @param name Its name.
 * @param makePlace Makes a place with some twins.
 */
export function testRegistry(
  name: string,
  makePlace: (twins: readonly StoredTwin[]) => Promise<TwinsPlace>,
): void {
  const test = (
    behaviour: string,
    run: (registry: TwinRegistry, place: TwinsPlace) => Promise<void>,
    twins = TWINS,
  ) =>
    Deno.test(`${name} ${behaviour}`, async () => {
      await using place = await makePlace(twins);
      await using registry = await place.open();
      await run(registry, place);
    });

  test("looks twins up by id", async (registry) => {
    for (let turn = 0; turn < 2; turn++) {
      assert.deepEqual(await registry.twin(7), ALICE);
      assert.deepEqual(await registry.twin(8), BOB);
      for (const id of [0, 1, 9, MAX_TWIN_ID]) assert.equal(await registry.twin(id), undefined);
    }
  });

  test("looks up whose an account is", async (registry) => {
    assert.equal(await registry.twinIdByAccount(alice.publicKey), 7);
    assert.equal(await registry.twinIdByAccount(bob.publicKey), 8);
    assert.equal(await registry.twinIdByAccount(carol.publicKey), undefined);
  });

  test("answers many at once", async (registry) => {
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => registry.twin(i % 3 + 7)),
    );
    answers.forEach((twin, i) => assert.deepEqual(twin, [ALICE, BOB, undefined][i % 3]));
  });

  test("names each relay once, in order", async (registry) => {
    assert.deepEqual((await registry.twin(7))?.relays, ["b", "a"]);
  }, [{ id: 7, account: alice.address, relay: "b_a__b_a_" }]);

  test("lets a pk be any bytes, and takes none for unset", async (registry) => {
    assert.deepEqual((await registry.twin(7))?.pk, Uint8Array.of(0));
    assert.equal((await registry.twin(8))?.pk, undefined);
  }, [
    { id: 7, account: alice.address, pk: "0x00" },
    { id: 8, account: bob.address, relay: "", pk: "0x" },
  ]);

  for (const [keypair, id] of [[alice, 7], [bob, 8]] as const) {
    test(`updates the twin of a key pair, ${keypair.type}: there at once`, async (registry) => {
      const { account } = (await registry.twin(id))!;
      for (
        const [relays, pk] of [[["one.test", "two.test"], Uint8Array.of(3)], [[], PK], [[
          "one.test",
        ], undefined]]
      ) {
        const update = { relays, pk } as Pick<Twin, "relays" | "pk">;
        await registry.updateTwin(keypair, update);
        assert.deepEqual(await registry.twin(id), { id, account, ...update });
      }
      await registry.updateTwin(keypair, { relays: ["one.test"], pk: undefined }); // As it is.
      assert.deepEqual(await registry.twin(id), {
        id,
        account,
        relays: ["one.test"],
        pk: undefined,
      });
    });
  }

  test("names relays by domains that can be published", async (registry) => {
    const urls = [
      ...["wss://relay.grid.tf", "wss://Relay.grid.tf:443/path", "ws://10.0.0.1:8080"],
      ...["wss://[::1]:8080", "wss://under_score"],
    ];
    const domains = urls.map((url) => registry.relayDomain(url));
    assert.deepEqual(domains.slice(0, 2), ["relay.grid.tf", "relay.grid.tf"]);
    assert.equal(domains.at(-1), undefined, "what divides domains is in none");
    const relays = [...new Set(domains.filter((domain) => domain !== undefined))];
    await registry.updateTwin(alice, { relays, pk: PK });
    assert.deepEqual((await registry.twin(7))?.relays, relays);
    assert.throws(() => registry.relayDomain("https://relay.grid.tf"), FormatError);
  });

  test("updates one twin and no other", async (registry) => {
    await registry.updateTwin(bob, { relays: ["one.test"], pk: undefined });
    assert.deepEqual(await registry.twin(7), ALICE);
    assert.equal(await registry.twinIdByAccount(bob.publicKey), 8);
  });

  test("does not update for an account without a twin, and names it", async (registry) => {
    await assert.rejects(
      registry.updateTwin(carol, { relays: ["one.test"], pk: undefined }),
      (error) => {
        assert.ok(error instanceof RegistryError);
        assert.match(error.message, new RegExp(`Cannot update the twin of ${carol.address}: `));
        return true;
      },
    );
    assert.deepEqual(await registry.twin(7), ALICE);
  });

  test("sees what others update", async (registry, place) => {
    assert.deepEqual(await registry.twin(8), BOB);
    await using theirs = await place.open();
    await theirs.updateTwin(bob, { relays: ["new.test"], pk: PK });
    await until(async () => (await registry.twin(8))?.relays[0] === "new.test");
    assert.deepEqual(await registry.twin(8), { ...BOB, relays: ["new.test"], pk: PK });
  });

  test("sees that a twin has another account", async (registry, place) => {
    assert.deepEqual(await registry.twin(7), ALICE);
    await place.set({ id: 7, account: carol.address });
    await until(async () => {
      const account = formatHex((await registry.twin(7))!.account);
      return account === formatHex(carol.publicKey);
    });
  });

  test("sees a new twin, whose id was asked for before", async (registry, place) => {
    assert.equal(await registry.twin(9), undefined);
    await place.set({ id: 9, account: carol.address, relay: "new.test" });
    await until(async () => await registry.twin(9) !== undefined);
    assert.deepEqual((await registry.twin(9))!.relays, ["new.test"]);
    assert.equal(await registry.twinIdByAccount(carol.publicKey), 9);
  });

  Deno.test(`${name} can be disposed of while it is used, and leaves nothing running`, async () => {
    await using place = await makePlace(TWINS);
    const registry = await place.open();
    const used = [registry.twin(7), registry.twin(9), registry.twinIdByAccount(alice.publicKey)];
    await registry[Symbol.asyncDispose]();
    for (const result of await Promise.allSettled(used)) {
      if (result.status === "rejected") assert.ok(result.reason instanceof RegistryError);
    }
  });
}
