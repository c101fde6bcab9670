import { getLogger } from "@logtape/logtape";
import { RmbError } from "@rmb/protocol";
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { TlsKeys } from "./server.ts";

const logger = getLogger(["rmb", "relay", "tls"]);

/** How often it is looked whether the files have changed, in milliseconds. */
const LOOK_INTERVAL = 60_000;

/** A certificate and its key in files, which are replaced from time to time. */
export class TlsFiles {
  readonly #paths: TlsKeys;
  #keys: TlsKeys;

  private constructor(paths: TlsKeys, keys: TlsKeys) {
    this.#paths = paths;
    this.#keys = keys;
  }

  /**
   * Reads the files.
   *
   * @param paths Names of the files.
   * @throws {RmbError} if one can't be read, or is not PEM, or the key is not the certificate's.
   */
  static async read(paths: TlsKeys): Promise<TlsFiles> {
    return new TlsFiles(paths, await readKeys(paths));
  }

  /** What was last read. */
  get keys(): TlsKeys {
    return this.#keys;
  }

  /** Calls back when the files have changed, until it is disposed of. */
  watch(onChange: (keys: TlsKeys) => void): Disposable {
    let watching = true;
    const timer = setInterval(async () => {
      try {
        const keys = await readKeys(this.#paths);
        if (!watching) return;
        if (keys.cert === this.#keys.cert && keys.key === this.#keys.key) return;
        onChange(keys);
        this.#keys = keys;
        logger.info("certificate read again from {cert}", { cert: this.#paths.cert });
      } catch (error) {
        logger.error("{error}; the certificate read before stays in use", {
          error: (error as Error).message,
        });
      }
    }, LOOK_INTERVAL);
    return {
      [Symbol.dispose]() {
        watching = false;
        clearInterval(timer);
      },
    };
  }
}

async function readKeys({ cert, key }: TlsKeys): Promise<TlsKeys> {
  const keys = {
    cert: await readPem(cert, "CERTIFICATE"),
    key: await readPem(key, "PRIVATE KEY"),
  };
  let belong: boolean;
  try {
    // The server would take anything, and then fail every connection.
    belong = new X509Certificate(keys.cert).checkPrivateKey(createPrivateKey(keys.key));
  } catch (cause) {
    const { message } = cause as Error;
    throw new RmbError(`Cannot use "${cert}" and "${key}": ${message}`, { cause });
  }
  if (!belong) throw new RmbError(`Cannot use "${key}": it is not the key of "${cert}"`);
  return keys;
}

async function readPem(path: string, label: string): Promise<string> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    throw new RmbError(`Cannot read "${path}": ${(cause as Error).message}`, { cause });
  }
  if (!new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text)) {
    throw new RmbError(`Cannot use "${path}": it has no PEM block "${label}"`);
  }
  return text;
}
