import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Whether two secrets are equal. The duration of the comparison reveals neither where they differ nor how long the stored secret is. All comparisons
 * of secrets use this function. A value that is found by a keyed HMAC needs no comparison.
 */
export function sameSecret(given: string, kept: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(kept))
}
