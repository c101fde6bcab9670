import { sha256 } from "@noble/hashes/sha2.js";
import type { Session } from "../session.ts";

/** Bytes of the digest that a request is known by. */
const KNOWN_BYTES = 16;

const utf8 = new TextEncoder();

/**
 * What a request and its copies are known by, 16 bytes. What a relay can alter under a signature makes no
 * other request: where the uid ends and the tags begin, and whether an empty connection is there.
 */
export function knownBy(
  { source, uid, tags = "" }: {
    readonly source: Session;
    readonly uid: string;
    readonly tags?: string | undefined;
  },
): Uint8Array {
  const text = `${source.twin}:${source.connection ?? ""}\n${uid}${tags}`;
  return sha256(utf8.encode(text)).subarray(0, KNOWN_BYTES);
}
