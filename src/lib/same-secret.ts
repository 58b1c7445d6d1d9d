import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Whether two secrets are equal. The time that this takes tells neither where they differ nor how long the stored one is. This is the one
 * place where secrets are compared. A value that is found by a keyed HMAC needs no comparison.
 */
export function sameSecret(given: string, kept: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(kept))
}
