import { expect } from 'chai'
import { nextEarnedLimit, Responsiveness } from '../../src/dispatch/responsiveness.ts'

const limits = { normal: 4, highThroughput: 8 }

describe('the responsiveness of a webhook', () => {
  const responsivenessAfter = (...responses: readonly { ok?: boolean; ms: number }[]) => {
    const responsiveness = new Responsiveness(limits)
    for (const { ok = true, ms } of responses) responsiveness.recordResponse({ ok, duration_ms: ms })
    responsiveness.assess(0)
    return responsiveness
  }
  const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

  it('is slow before the first response', () => {
    expect(responsivenessAfter().isFast).to.equal(false)
  })
  it('is fast while the median of the last nine durations is at most a second', () => {
    expect(responsivenessAfter({ ms: 1_000 }).isFast).to.equal(true)
    expect(responsivenessAfter(...repeat(5, { ms: 10 }), ...repeat(4, { ms: 5_000 })).isFast).to.equal(true)
    expect(responsivenessAfter(...repeat(4, { ms: 10 }), ...repeat(5, { ms: 5_000 })).isFast).to.equal(false)
    expect(responsivenessAfter(...repeat(20, { ms: 5_000 }), ...repeat(5, { ms: 10 })).isFast, 'older durations are forgotten').to.equal(
      true,
    )
  })
  it('counts the age of an open request as a duration once it exceeds a second', () => {
    const responsiveness = responsivenessAfter({ ms: 10 })
    const requests = [responsiveness.start(0), responsiveness.start(0)]
    expect(responsiveness.assess(1_000)).to.equal(false)
    expect(responsiveness.assess(1_001)).to.equal(true)
    expect(responsiveness.isFast).to.equal(false)
    for (const request of requests) responsiveness.end(request)
    expect(responsiveness.assess(1_002)).to.equal(true)
    expect(responsiveness.isFast).to.equal(true)
  })
  it('is stalled when at least half of the open requests are older than a second', () => {
    const responsiveness = responsivenessAfter({ ms: 10 })
    expect(responsiveness.isStalled(5_000)).to.equal(false)
    responsiveness.start(0)
    responsiveness.start(4_500)
    expect(responsiveness.isStalled(5_000)).to.equal(true)
    responsiveness.start(4_500)
    expect(responsiveness.isStalled(5_000)).to.equal(false)
  })
  it('opens its circuit breaker after five failures in a row, and closes it after a success', () => {
    const failure = { ok: false, ms: 10 }
    expect(responsivenessAfter(...repeat(4, failure)).breaker).to.equal('closed')
    const broken = responsivenessAfter(...repeat(5, failure))
    expect(broken.breaker).to.equal('open')
    expect(broken.concurrencyLimit(true)).to.equal(1)
    broken.recordResponse({ ok: true, duration_ms: 10 })
    expect(broken.breaker).to.equal('closed')
    expect(broken.concurrencyLimit(false)).to.equal(4)
  })
  it('earns a higher limit by quick responses, which applies only while it may exceed the normal limit', () => {
    const responsiveness = responsivenessAfter(...repeat(3, { ms: 100 }))
    expect(responsiveness.concurrencyLimit(true)).to.equal(7)
    expect(responsiveness.concurrencyLimit(false)).to.equal(4)
  })
  it('raises the earned limit by one and lowers it by four, between the two limits', () => {
    expect(nextEarnedLimit(4, true, limits)).to.equal(5)
    expect(nextEarnedLimit(8, true, limits)).to.equal(8)
    expect(nextEarnedLimit(8, false, limits)).to.equal(4)
    expect(nextEarnedLimit(5, false, limits)).to.equal(4)
  })
  it('may claim ahead the rows that it completes in 100 ms, at most 300, and none while it is unhealthy', () => {
    expect(responsivenessAfter({ ms: 20 }).rowsToClaimAhead(4, 0)).to.equal(20)
    expect(responsivenessAfter({ ms: 0 }).rowsToClaimAhead(32, 0)).to.equal(300)
    expect(responsivenessAfter().rowsToClaimAhead(4, 0), 'no response yet').to.equal(0)
    expect(responsivenessAfter({ ms: 20 }, { ok: false, ms: 20 }).rowsToClaimAhead(4, 0), 'the last request failed').to.equal(0)
    const stalled = responsivenessAfter({ ms: 20 })
    stalled.start(0)
    expect(stalled.rowsToClaimAhead(4, 2_000), 'stalled').to.equal(0)
  })
})
