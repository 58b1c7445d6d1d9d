import { expect } from 'chai'
import { untilPoll } from '../../src/lib/wake.ts'

describe('the time until the next poll of a loop', () => {
  it('ends at a multiple of the interval, so that the polls of all loops end together', () => {
    for (const now of [0, 1, 999, 1_000, 1_001, 4_321.5, 59_999]) {
      expect((now + untilPoll(2_000, now)) % 2_000).to.equal(0)
      expect(untilPoll(2_000, now)).to.be.within(1_000, 3_000)
    }
  })
  it('is one interval again after a poll at such a moment, even if the poll took a while', () => {
    expect(untilPoll(2_000, 6_000)).to.equal(2_000)
    expect(untilPoll(2_000, 6_300)).to.equal(1_700)
  })
  it('is the interval itself if that is less than a second', () => {
    expect(untilPoll(50, 12_345)).to.equal(50)
  })
})
