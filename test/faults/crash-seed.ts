import { env } from 'node:process'

/** The seed of this run's random choices. It is KOLBAK_TEST_SEED, or is taken from the clock. Tests that use it print it. */
export const seed = Number(env.KOLBAK_TEST_SEED ?? Date.now() % 1_000_000)

/** Returns a source of numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function seeded(from: number): () => number {
  let state = from >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
/** Returns at most `count` items in random order. */
export function sample<T>(items: readonly T[], count: number, random: () => number): T[] {
  const remaining = [...items]
  return Array.from({ length: Math.min(count, remaining.length) }, () => remaining.splice(Math.floor(random() * remaining.length), 1)[0]!)
}
