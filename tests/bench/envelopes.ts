import {
  createEnvelope,
  encodeEnvelope,
  type Keypair,
  type Session,
  signEnvelope,
  stampEnvelope,
} from "@rmb/protocol";

/** Where an envelope is from and for. */
export interface Ends {
  readonly source: Session;
  readonly destination: Session;
}

/**
 * An encoded request of a size in bytes.
 *
 * @param keypair Signs it; without, it has the length of a signature and holds nowhere.
 */
export async function envelopeOfSize(
  size: number,
  ends: Ends,
  keypair?: Keypair,
): Promise<Uint8Array> {
  const make = async (payload: number) => {
    const envelope = createEnvelope({
      uid: crypto.randomUUID(),
      expiration: 3600n,
      ...ends,
      message: { case: "request", value: { command: "calculator.add" } },
      signature: new Uint8Array(65),
      payload: { case: "cipher", value: new Uint8Array(payload) },
    });
    stampEnvelope(envelope);
    if (keypair !== undefined) await signEnvelope(envelope, keypair);
    return encodeEnvelope(envelope);
  };
  const overhead = (await make(size / 2)).length - size / 2;
  if (overhead > size) throw new RangeError(`No envelope has ${size} bytes: ${overhead} at least`);
  return await make(size - overhead);
}

/** An encoded ping of a session. */
export function pingOf(source: Session): Uint8Array {
  const envelope = createEnvelope({
    uid: crypto.randomUUID(),
    expiration: 60n,
    source,
    message: { case: "ping", value: {} },
  });
  stampEnvelope(envelope);
  return encodeEnvelope(envelope);
}
