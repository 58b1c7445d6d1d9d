import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Whether two secrets are the same, in a time that says nothing of where they differ, nor how long the kept one is: the one
 * place where secrets are compared. What is found by a keyed HMAC needs no comparison.
 */
export function sameSecret(given: string, kept: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(kept))
}
