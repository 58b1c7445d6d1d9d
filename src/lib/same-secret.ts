import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Returns whether two secrets are equal. The duration of the comparison reveals neither where they differ nor how long the stored secret is. All comparisons
 * of secrets use this function. A secret that is looked up in the database by its HMAC is not compared at all.
 */
export function sameSecret(received: string, stored: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(received), hash(stored))
}
