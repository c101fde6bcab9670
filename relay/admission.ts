import {
  checkTokenTime,
  parseToken,
  RegistryError,
  type Session,
  TokenError,
  tokenSession,
  type TwinRegistry,
  verifyToken,
} from "@rmb/protocol";
import type { Answer } from "./server.ts";

/**
 * Admits a client by its token.
 *
 * @param text The whole query of the URL that it connects to.
 * @returns The session that the token connects, or the answer that refuses it: 400 without a token,
 * 401 for one that does not hold, 503 when the twin can't be looked up now.
 */
export async function admit(
  text: string,
  registry: Pick<TwinRegistry, "twin">,
): Promise<Session | Answer> {
  if (text === "") return refuse(400, "a token is missing: connect to /?<token>");
  try {
    const token = parseToken(text);
    checkTokenTime(token.claims);
    const twin = await registry.twin(token.claims.sub);
    if (twin === undefined) return refuse(401, `twin ${token.claims.sub} is unknown`);
    await verifyToken(token, twin.account);
    return tokenSession(token.claims);
  } catch (error) {
    if (error instanceof TokenError) return refuse(401, error.message);
    if (error instanceof RegistryError) return refuse(503, "twins can't be looked up now");
    throw error;
  }
}

function refuse(status: number, reason: string): Answer {
  return { status, body: `${reason}\n` };
}
