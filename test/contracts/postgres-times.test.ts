import { expect } from 'chai'
import fc from 'fast-check'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('times of Postgres', () => {
  let database: TestDatabase
  before(async () => {
    database = await freshDatabase()
  })
  after(() => database.drop())

  it('are read as they were sent, in any century', async () => {
    const time = fc.date({ min: new Date('0001-01-01T00:00:00.000Z'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })
    await fc.assert(
      fc.asyncProperty(fc.array(time, { minLength: 1, maxLength: 50 }), async (times) => {
        const sent = times.map((date) => date.toISOString())
        const { rows } = await database.pool.query<{ at: string }>(
          'select at from unnest($1::timestamptz[]) with ordinality as sent (at, nth) order by nth',
          [sent],
        )
        expect(rows.map(({ at }) => at)).to.deep.equal(sent)
      }),
      { examples: [[['0013-01-01T00:00:00.000Z', '0001-01-01T00:00:00.000Z', '0099-12-31T23:59:59.999Z'].map((text) => new Date(text))]] },
    )
  })
  it('are cut to milliseconds', async () => {
    const { rows } = await database.pool.query(
      `select '2026-11-28T01:02:03.987999Z'::timestamptz as at, '2026-11-28T01:02:03.9Z'::timestamptz as short`,
    )
    expect(rows[0]).to.deep.equal({ at: '2026-11-28T01:02:03.987Z', short: '2026-11-28T01:02:03.900Z' })
  })
})
