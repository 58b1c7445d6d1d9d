import { performance } from 'node:perf_hooks'
import { expect } from 'chai'

/** Does the same thing each time. */
type Work = () => unknown

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!

export interface Timing {
  /** Milliseconds: by how much more or less than the first work this one takes, in the middle of all rounds. */
  readonly difference: number
  /** What noise alone could make of it, by the first work beside itself in the same rounds. */
  readonly noise: number
}
/**
 * Times works against the first of them, in rounds that take each once and twice the first, each round beginning at another
 * one: whatever slows the machine down for a while slows all of them.
 */
export async function timings(works: Readonly<Record<string, Work>>, { rounds = 150 } = {}): Promise<Map<string, Timing>> {
  const [[, first] = [], ...others] = Object.entries(works)
  const all = [first!, first!, ...others.map(([, work]) => work)]
  const taken = all.map((): number[] => [])
  for (let round = -(rounds >> 2); round < rounds; round++)
    for (let i = 0; i < all.length; i++) {
      const one = (Math.abs(round) + i) % all.length
      const start = performance.now()
      const answer = all[one]!()
      if (answer instanceof Promise) await answer
      if (round >= 0) taken[one]!.push(performance.now() - start) // what comes before is to warm up
    }
  const [standard = [], itself = []] = taken
  const against = (of: readonly number[]) => of.map((time, round) => time - standard[round]!)
  const same = against(itself)
  const spread = 1.4826 * median(same.map((difference) => Math.abs(difference - median(same))))
  // Six standard errors of a median of so many, and 2 % for what is not chance: where code and data happen to lie.
  const noise = (6 * 1.2533 * spread) / Math.sqrt(rounds) + 0.02 * median(standard)
  return new Map(others.map(([name], i) => [name, { difference: median(against(taken[i + 2]!)), noise }]))
}

/** All works take as long as the first. */
export async function expectSameTime(works: Readonly<Record<string, Work>>, options?: { rounds?: number }): Promise<void> {
  for (const [name, { difference, noise }] of await timings(works, options))
    expect(Math.abs(difference), `${name}: ${difference} ms, of which noise could make ${noise}`).to.be.at.most(noise)
}
