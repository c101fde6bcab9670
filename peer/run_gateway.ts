import {
  isTfchainDomain,
  Keypair,
  NoTwinError,
  parseRelayUrl,
  type TwinRegistry,
} from "@rmb/protocol";
import { runProgram, untilAborted } from "@rmb/protocol/program";
import { openRegistry, type RegistryPlace } from "@rmb/protocol/program-registry";
import { getLogger } from "@logtape/logtape";
import { FilePlugin } from "./files/mod.ts";
import { Gateway } from "./gateway.ts";
import { type Keys, readKeys } from "./identity_options.ts";
import type { Options } from "./options.ts";
import { SignaturePool } from "./signature_pool.ts";

const logger = getLogger(["rmb", "peer"]);

/** Longest time that stopping may take, in milliseconds. */
const STOP_TIME = 10_000;

/** Runs the gateway until it is told to stop. */
export function runGateway(options: Options): Promise<never> {
  return runProgram("rmb-peer", options.verbosity, async (stop) => {
    const keys = await readKeys(options);
    if (keys.encryption === undefined) {
      logger.warn(
        "this secret has no encryption key (a derivation path or a password): " +
          "what is sent to this twin, and by it, is signed but not encrypted",
      );
    }
    if ("substrate" in options.registry) options.relays.forEach(warnOfRelay);
    const registry = await openRegistry(options.registry, stop);
    using signatures = new SignaturePool(keys.keypair, keys.secret);
    const update = !options.noUpdate;
    const plugins = [new FilePlugin(options.uploads)];
    const gateway = await Promise.race([
      Gateway.start({ ...options, ...keys, signatures, registry, update, plugins }).catch(
        async (error) => {
          throw error instanceof NoTwinError
            ? new NoTwinError(error.message + await advice(keys, registry, options.registry))
            : error;
        },
      ),
      untilAborted(stop),
    ]);
    if (gateway === undefined) return; // Told to stop while it waited for Redis.
    await untilAborted(stop);
    const stopped = gateway[Symbol.asyncDispose]().then(() => registry[Symbol.asyncDispose]());
    const late = new Promise<"late">((resolve) => setTimeout(() => resolve("late"), STOP_TIME));
    if (await Promise.race([stopped, late]) === "late") {
      logger.error("stopping took more than {seconds} s: what was not finished by now is lost", {
        seconds: STOP_TIME / 1000,
      });
    }
  });
}

/** Says when other relays will look for this one elsewhere. */
function warnOfRelay(url: string): void {
  const { protocol, hostname, port } = parseRelayUrl(url);
  if ((protocol === "wss:" && port === "") || !isTfchainDomain(hostname)) return;
  logger.warn(
    "other relays look for this twin's relay at https://{hostname}, not at {url}, " +
      "for TFChain has no ports: what their twins send may not arrive",
    { hostname, url },
  );
}

/** What to do when an account has no twin. */
async function advice(
  { secret, keypair }: Keys,
  registry: TwinRegistry,
  place: RegistryPlace,
): Promise<string> {
  const other = keypair.type === "sr25519" ? "ed25519" : "sr25519";
  const { type, publicKey, address } = Keypair.fromSecret(secret, other);
  const twin = await registry.twinIdByAccount(publicKey).catch(() => undefined);
  if (twin !== undefined) {
    return `, but twin ${twin} has the ${type} account of this secret, ${address}: ` +
      `use --key-type ${type}`;
  }
  return "twins" in place
    ? `: add {"id":…,"account":"${keypair.address}"} to "${place.twins}", ` +
      "or check the secret and --key-type"
    : ": register a twin for it on TFChain, as the ThreeFold Dashboard does, " +
      "or check the secret, --key-type and --substrate";
}
