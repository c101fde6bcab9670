import assert from "node:assert/strict";
import type { TlsKeys } from "../server.ts";

/** Makes a certificate for `localhost` and its key. */
export async function makeTlsKeys(kind: readonly string[] = EC): Promise<TlsKeys> {
  return await inDirectory((directory) => make(directory, ["-newkey", ...kind, "-nodes"]));
}

/** Makes another certificate for a key. */
export async function renewCertificate({ key }: TlsKeys): Promise<TlsKeys> {
  return await inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/key.pem`, key);
    return await make(directory, ["-key", `${directory}/key.pem`]);
  });
}

const EC = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

async function make(directory: string, how: readonly string[]): Promise<TlsKeys> {
  const [cert, key] = [`${directory}/cert.pem`, `${directory}/key.pem`];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const end = ["-addext", "basicConstraints=critical,CA:FALSE", "-days", "2"];
  const files = ["-out", cert, ...(how.includes("-key") ? [] : ["-keyout", key])];
  const { success, stderr } = await new Deno.Command("openssl", {
    args: ["req", "-x509", ...how, ...names, ...end, ...files],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return { cert: await Deno.readTextFile(cert), key: await Deno.readTextFile(key) };
}

async function inDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await Deno.makeTempDir({ prefix: "rmb-" });
  try {
    return await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
