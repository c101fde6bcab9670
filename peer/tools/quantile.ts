/**
 * The value below which a share of some lies, by nearest rank.
 *
 * @param sorted The values, the smallest first.
 * @param share 0 to 1.
 * @returns 0 if there are none.
 */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(Math.ceil(share * sorted.length) - 1, 0)] ?? 0;
}
