import type { Keypair } from "./keys.ts";
import type { Session } from "./session.ts";
import type { Refusal } from "./socket.ts";

/** From this difference of clocks on, in milliseconds, a refused token is put down to it. */
const NOTICEABLE_SKEW = 30_000;

/** How long a relay has to say what time it is, in milliseconds. */
const DATE_TIME = 5000;

/** Asks a relay for its clock, where its refusal can't be read, as in browsers. */
export async function askForDate(
  relay: URL,
  closing: AbortSignal,
): Promise<string | undefined> {
  const url = new URL("/", relay);
  url.protocol = url.protocol === "wss:" ? "https:" : "http:";
  try {
    const signal = AbortSignal.any([AbortSignal.timeout(DATE_TIME), closing]);
    const response = await fetch(url, { method: "HEAD", redirect: "manual", signal });
    await response.body?.cancel();
    return response.headers.get("date") ?? undefined;
  } catch {
    return undefined; // It is a hint only.
  }
}

/**
 * Why a relay may have refused a connection, for people.
 *
 * @param url Where to it was, with the token, which is not shown.
 * @param clockOffset Milliseconds by which the relay's clock is ahead, if that is known.
 */
export function explainRefusal(
  { status, text = "" }: Refusal,
  { host, search }: URL,
  { session: { twin }, keypair }: { readonly session: Session; readonly keypair: Keypair },
  clockOffset = 0,
): string {
  // Nothing that repeats the token: that is a secret.
  const isFit = text !== "" && !search.slice(1).split(".").some((part) => text.includes(part));
  const says = isFit ? `, "${text}"` : "";
  if (status !== 401) return `${host} refused the connection (${status}${says})`;
  const refused = `${host} refused the token (401${says})`;
  if (Math.abs(clockOffset) >= NOTICEABLE_SKEW) {
    const side = clockOffset < 0 ? "ahead of" : "behind";
    const seconds = Math.round(Math.abs(clockOffset) / 1000);
    return `${refused}: this machine's clock is ${seconds} s ${side} the relay's`;
  }
  return `${refused}: twin ${twin} is unknown to the relay, or its account is not the ` +
    `${keypair.type} key ${keypair.address} (twin id, secret or key type is wrong)`;
}
