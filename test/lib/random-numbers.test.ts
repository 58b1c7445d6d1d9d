import { expect } from 'chai'
import { ulid } from 'ulid'
import { createRandomNumbers } from '../../src/lib/random-numbers.ts'

describe('random numbers', () => {
  it('have all 256 values about equally often', () => {
    const next = createRandomNumbers()
    const counts = new Map<number, number>()
    for (let i = 0; i < 256_000; i++) {
      const value = next()
      counts.set(value, (counts.get(value) ?? 0) + 1)
    }
    expect(counts).to.have.length(256)
    expect(Math.min(...counts.keys())).to.equal(0)
    expect(Math.max(...counts.keys())).to.equal(255 / 256)
    // 1,000 are expected of each value. The standard deviation is 32.
    for (const [value, count] of counts) expect(count, String(value)).to.be.within(750, 1_250)
  })
  it('make ids that differ', () => {
    const next = createRandomNumbers()
    const ids = new Set(Array.from({ length: 10_000 }, () => ulid(0, next)))
    expect(ids).to.have.length(10_000)
  })
})
