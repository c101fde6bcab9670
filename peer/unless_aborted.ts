/**
 * Waits for a promise, but not beyond the abort of a signal: then it gives undefined. It leaves nothing
 * behind on the signal, which may live as long as the process: `Promise.race()` would keep each result.
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T | undefined> {
  promise.catch(() => {}); // Nobody may wait for it any more.
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const abort = () => resolve(undefined);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
