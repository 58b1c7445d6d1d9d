import { expect } from 'chai'
import fc from 'fast-check'
import { parseTime, toUtc } from '../../src/api/rfc3339.ts'

describe('RFC 3339 times', () => {
  it('are parsed as JavaScript parses them, if it can parse them', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }),
        (date) => {
          expect(parseTime(date.toISOString())).to.equal(date.getTime())
        },
      ),
    )
  })
  it('may have any offset, any fraction, and lower-case letters', () => {
    expect(toUtc('2025-03-31T02:42:50+02:00')).to.equal('2025-03-31T00:42:50.000Z')
    expect(toUtc('2025-03-31T00:42:50.123456789-00:30')).to.equal('2025-03-31T01:12:50.123Z')
    expect(toUtc('2025-03-31t00:42:50.5z')).to.equal('2025-03-31T00:42:50.500Z')
  })
  it('may be a leap second', () => {
    expect(toUtc('2016-12-31T23:59:60Z')).to.equal('2017-01-01T00:00:00.000Z')
  })
  it('respect the number of days of each month', () => {
    expect(toUtc('2024-02-29T00:00:00Z')).to.equal('2024-02-29T00:00:00.000Z')
    expect(toUtc('2000-02-29T00:00:00Z')).to.equal('2000-02-29T00:00:00.000Z')
    for (const text of [
      '2025-02-29T00:00:00Z',
      '1900-02-29T00:00:00Z',
      '2025-04-31T00:00:00Z',
      '2025-13-01T00:00:00Z',
      '2025-00-10T00:00:00Z',
    ])
      expect(toUtc(text), text).to.equal(null)
  })
  for (const text of [
    '2025-03-31',
    '2025-03-31T00:42:50',
    '2025-03-31 00:42:50Z',
    '2025-03-31T00:42Z',
    '2025-03-31T00:42:50+02',
    '2025-03-31T00:42:50+0200',
    '2025-03-31T24:00:00Z',
    '2025-03-31T00:60:00Z',
    '+002025-03-31T00:00:00Z',
    'yesterday',
    '',
    '0000-06-01T00:00:00Z', // Postgres has no year 0.
    '0001-01-01T00:03:10+20:58', // This time is in the year 0 in UTC.
    '9999-12-31T23:59:59-01:00', // This time is in the year 10000 in UTC.
  ])
    it(`exclude ${JSON.stringify(text)}`, () => {
      expect(toUtc(text)).to.equal(null)
    })
})
