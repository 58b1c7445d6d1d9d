import { expect } from 'chai'
import fc from 'fast-check'
import { isOver } from '../../src/dispatch/due.ts'
import { outcomeOf } from '../../src/dispatch/outcome.ts'
import { parseRetryAfter } from '../../src/dispatch/retry-after.ts'
import { nextDelay, parkingTime } from '../../src/dispatch/retry-policy.ts'
import { longestChain } from '../../src/events/retry-chain.ts'

describe('the outcome of a response', () => {
  it('is a success for every 2xx', () => {
    for (let code = 200; code < 300; code++) expect(outcomeOf(code), String(code)).to.equal('success')
  })
  it('is permanent for the codes for which a repetition is useless, and for no others', () => {
    const permanent = Array.from({ length: 400 }, (_, i) => 300 + i).filter((code) => outcomeOf(code) === 'permanent')
    expect(permanent).to.deep.equal([400, 405, 406, 410, 411, 413, 414, 415, 422, 501])
  })
  it('is transient for redirects, 401, 403, 404, 425, 429 and for no response', () => {
    for (const code of [301, 302, 307, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504, null])
      expect(outcomeOf(code), String(code)).to.equal('transient')
  })
})

const delays = [5, 300, 1_800]

describe('the delay to the next attempt', () => {
  it('is the entry of the list for the failed attempt, +-20 %', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.double({ min: 0, max: 0.999999, noNaN: true }), (attempt, random) => {
        const delay = nextDelay(delays, attempt, null, random)!
        const planned = delays[attempt - 1]!
        return delay >= planned * 0.8 - 0.001 && delay <= planned * 1.2 + 0.001
      }),
    )
  })
  it('is null after the last attempt', () => {
    expect(nextDelay(delays, 4, null, 0.5)).to.equal(null)
    expect(nextDelay(delays, 4, 60, 0.5)).to.equal(null)
  })
  it('is at least what Retry-After asks for, up to a day', () => {
    expect(nextDelay(delays, 1, 60, 0.5)).to.equal(60)
    expect(nextDelay(delays, 1, 1, 0.5)).to.equal(5)
    expect(nextDelay(delays, 1, 10_000_000, 0.5)).to.equal(86_400)
  })
})

describe('the longest chain of a delivery', () => {
  it('lasts as long as all delays together when each is 20 % longer', () => {
    expect(longestChain(delays)).to.be.closeTo(2_526, 0.001)
  })
  it('is the time for which a delivery may be parked, which is at least an hour', () => {
    expect(parkingTime(delays)).to.equal(3_600)
    expect(parkingTime([36_000])).to.be.closeTo(43_200, 0.001)
  })
})

describe('Retry-After', () => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  for (const [value, seconds] of [
    ['120', 120],
    ['99999999999', 99_999_999_999],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:01:30 GMT', 90],
    ['Thursday, 01-Jan-26 00:01:30 GMT', 90],
    ['Thu Jan  1 00:01:30 2026', 90],
    ['Thu Jan 01 00:01:30 2026', 90],
    ['Sat Jan 10 00:00:00 2026', 777_600],
    ['thu, 1 jan 2026 00:01:30 utc', 90],
    ['Wed, 31 Dec 2025 23:59:00 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['Wednesday, 01-Jan-75 00:00:00 GMT', 1_546_300_800],
    ['Monday, 01-Jan-77 00:00:00 GMT', 0],
    ['Thu, 32 Jan 2026 00:00:00 GMT', null],
    ['Thu, 30 Feb 2026 00:00:00 GMT', null],
    ['Thu, 01 Foo 2026 00:00:00 GMT', null],
    ['Thu, 01 Jan 2026 24:00:00 GMT', null],
    ['Thu, 01 Jan 2026 00:01:30 CET', null],
    ['2026-01-01', null],
    ['1767225690', 90], // Unix times
    ['1767225690.2', 91],
    ['1767225690000', 90],
    ['1000000000', 0],
    ['31536000', 31_536_000], // a year
    ['1e9', null],
    ['+5', null],
    ['soon', null],
    ['-5', null],
    ['1.5', 2],
    ['0.001', 1],
    ['3.0', 3],
    ['', null],
    [undefined, null],
  ] as const)
    it(`${JSON.stringify(value)} means ${seconds}`, () => {
      expect(parseRetryAfter(value, now)).to.equal(seconds)
    })
})

describe('a claimed row', () => {
  const state = (
    type: 'MessageRouted' | 'DeliveryFailed' | 'DeliveryDeadLettered' | 'DeliverySucceeded',
    chain: number,
    attempt: number,
  ) => ({ type, chain, attempt })
  it('is sent when the history has nothing, or only earlier attempts', () => {
    expect(isOver(null, { chain: 1, attempt: 1 })).to.equal(false)
    expect(isOver(state('MessageRouted', 1, 0), { chain: 1, attempt: 1 })).to.equal(false)
    expect(isOver(state('DeliveryFailed', 1, 1), { chain: 1, attempt: 2 })).to.equal(false)
    expect(isOver(state('DeliveryDeadLettered', 1, 3), { chain: 2, attempt: 1 })).to.equal(false)
  })
  it('is over when its attempt, the end of its chain, or a later chain is recorded', () => {
    expect(isOver(state('DeliveryFailed', 1, 2), { chain: 1, attempt: 2 })).to.equal(true)
    expect(isOver(state('DeliverySucceeded', 1, 1), { chain: 1, attempt: 2 })).to.equal(true)
    expect(isOver(state('MessageRouted', 2, 0), { chain: 1, attempt: 2 })).to.equal(true)
  })
})
