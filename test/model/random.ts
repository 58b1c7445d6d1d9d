/** Random numbers that depend only on a seed, so that a run can be repeated exactly. */
export interface Random {
  /** Returns a number in [0, 1). */
  next(): number
  /** Returns a whole number from `from` to `to`, both included. */
  int(from: number, to: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
}

/** Uses mulberry32, which is small, fast, and good enough to choose interleavings. */
export function randomFrom(seed: number): Random {
  let state = Math.imul(seed ^ 0x5bd1e995, 2_654_435_761) >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  const int = (from: number, to: number) => from + Math.floor(next() * (to - from + 1))
  return { next, int, chance: (probability) => next() < probability, pick: (items) => items[int(0, items.length - 1)]! }
}
