/** Runs something while `crypto.subtle` is another one, or none, as in pages from `http:`. */
export async function withSubtle<T>(subtle: unknown, run: () => Promise<T>): Promise<T> {
  Object.defineProperty(crypto, "subtle", { value: subtle, configurable: true });
  try {
    return await run();
  } finally {
    Reflect.deleteProperty(crypto, "subtle");
  }
}
