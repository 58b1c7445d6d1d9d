import { performance } from 'node:perf_hooks'
import { expect } from 'chai'

/** Work whose time is measured repeatedly. */
type Work = () => unknown

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!

export interface Timing {
  /** The median over all rounds of the time of this work minus that of the first work, in milliseconds. */
  readonly difference: number
  /** The difference that noise alone can cause, in milliseconds. It is measured by running the first work twice in each round. */
  readonly noise: number
}
/**
 * Compares the time of each work with that of the first one. Each round runs every work once, and the first one twice. Rounds begin with different
 * works, so that a slow phase of the machine affects all of them.
 */
export async function timings(works: Readonly<Record<string, Work>>, { rounds = 150 } = {}): Promise<Map<string, Timing>> {
  const [[, first] = [], ...others] = Object.entries(works)
  const all = [first!, first!, ...others.map(([, work]) => work)]
  const times = all.map((): number[] => [])
  for (let round = -(rounds >> 2); round < rounds; round++)
    for (let i = 0; i < all.length; i++) {
      const next = (Math.abs(round) + i) % all.length
      const start = performance.now()
      const result = all[next]!()
      if (result instanceof Promise) await result
      if (round >= 0) times[next]!.push(performance.now() - start) // rounds below 0 only warm up the code
    }
  const [first1 = [], first2 = []] = times
  const minusFirst = (workTimes: readonly number[]) => workTimes.map((time, round) => time - first1[round]!)
  const pureNoise = minusFirst(first2)
  const spread = 1.4826 * median(pureNoise.map((difference) => Math.abs(difference - median(pureNoise))))
  // The noise is six standard errors of the median, plus 2 % for the layout of code and data in memory, which is the same in all rounds.
  const noise = (6 * 1.2533 * spread) / Math.sqrt(rounds) + 0.02 * median(first1)
  return new Map(others.map(([name], i) => [name, { difference: median(minusFirst(times[i + 2]!)), noise }]))
}

/** Expects that all works take as long as the first. */
export async function expectSameTime(works: Readonly<Record<string, Work>>, options?: { rounds?: number }): Promise<void> {
  for (const [name, { difference, noise }] of await timings(works, options))
    expect(Math.abs(difference), `${name} differs by ${difference} ms; noise explains at most ${noise} ms`).to.be.at.most(noise)
}
