import { expect } from 'chai'
import { newestFirst, type Position, type Range, rangeOf } from '../../src/adapters/cassandra/newest-first.ts'
import { codeOf } from '../../src/lib/errors.ts'
import type { Delivery } from '../../src/ports/delivery-log.ts'
import { fact } from './delivery-log.contract.ts'

const dayMs = 86_400_000
const noon = Date.parse('2026-03-10T12:00:00.000Z')
const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10)
const { duration_ms: _, response: __, delay_seconds: ___, event_id: ____, ...base } = fact({ type: 'MessageRouted' })
const delivery = { ...base, status: 'pending', next_attempt_at: null } as const

/** A list in memory that counts how often it is read. */
function list(rows: readonly Position[], counts: (row: Position) => boolean = () => true) {
  const queries: { day: string; limit: number }[] = []
  return {
    asked: queries,
    async read(day: string, { since, before }: Range, limit: number): Promise<Position[]> {
      queries.push({ day, limit })
      return rows
        .filter((row) => dayOf(row.at) === day && row.at >= since)
        .filter((row) => row.at < before.at || (row.at === before.at && row.delivery < before.delivery))
        .sort((a, b) => b.at - a.at || (a.delivery < b.delivery ? 1 : -1))
        .slice(0, limit)
    },
    check: async (positions: readonly Position[]): Promise<Delivery[]> =>
      positions.filter(counts).map((row) => ({ ...delivery, delivery: row.delivery as Delivery['delivery'] })),
  }
}

describe('a list by days', () => {
  const range = { since: noon - 30 * dayMs, before: { at: noon, delivery: '' } }
  const rows = Array.from({ length: 40 }, (_, i) => ({ at: noon - 1 - i * 1_000, delivery: String(i) }))

  it('reads only the first days when those fill the page', async () => {
    const { asked, ...source } = list(rows)
    expect(await newestFirst({ range, limit: 10, ...source })).to.have.length(10)
    expect(asked.map(({ day }) => day)).to.deep.equal(['2026-03-10', '2026-03-09'])
  })

  it('reads each day of the range once when there are no rows', async () => {
    const { asked, ...source } = list([])
    expect(await newestFirst({ range, limit: 10, ...source })).to.deep.equal([])
    expect(asked).to.have.length(31)
    expect(new Set(asked.map(({ day }) => day))).to.have.property('size', 31)
  })

  it('skips rows that do not count, in growing chunks', async () => {
    const many = Array.from({ length: 5_000 }, (_, i) => ({ at: noon - 1 - i, delivery: String(i) }))
    const { asked, ...source } = list(many, (row) => row.delivery === '4999')
    expect((await newestFirst({ range, limit: 10, ...source })).map((one) => one.delivery)).to.deep.equal(['4999'])
    expect(Math.max(...asked.map(({ limit }) => limit))).to.equal(1_000)
    expect(asked.length).to.be.below(50)
  })

  it('fails when nearly no row counts, and says how to narrow the query', async () => {
    const endless: Parameters<typeof newestFirst>[0]['read'] = async (_day, { before }, limit) =>
      Array.from({ length: limit }, (_, i) => ({ at: before.at, delivery: `${before.delivery}${i}`.slice(-8) }))
    const failure = await newestFirst({ range, limit: 10, read: endless, check: async () => [] }).then(
      () => null,
      (error: unknown) => error,
    )
    expect(codeOf(failure)).to.equal('history_too_wide')
  })

  it('starts at the earliest of cursor, end of the range and tomorrow, and stops at the retention', () => {
    const limits = { oldest: noon - 30 * dayMs, now: noon }
    const at = (ms: number): string => new Date(ms).toISOString()
    expect(rangeOf({}, limits)).to.deep.equal({ since: limits.oldest, before: { at: noon + dayMs, delivery: '' } })
    const after = { at: at(noon - 5), delivery: 'd' }
    expect(rangeOf({ until: at(noon), after, since: at(0) }, limits)).to.deep.equal({
      since: limits.oldest,
      before: { at: noon - 5, delivery: 'd' },
    })
    expect(rangeOf({ until: at(noon - 5), after }, limits).before).to.deep.equal({ at: noon - 5, delivery: '' })
    expect(() => rangeOf({ since: 'yesterday' }, limits)).to.throw(RangeError)
  })
})
