import { randomFillSync } from 'node:crypto'

const poolBytes = 4_096

/**
 * Makes a source of cryptographically random numbers from 0 up to 1, in steps of 1/256. It fetches the random bytes of many numbers at once, because
 * each fetch takes over a microsecond, and the library `ulid` needs 16 numbers for an id.
 */
export function createRandomNumbers(): () => number {
  const pool = new Uint8Array(poolBytes)
  let next = poolBytes
  return () => {
    if (next === poolBytes) {
      randomFillSync(pool)
      next = 0
    }
    return pool[next++]! / 256
  }
}
