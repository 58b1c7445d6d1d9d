import { expect } from 'chai'
import { ulid } from 'ulid'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { TenantId } from '../../src/events/ids.ts'
import { sqlOn } from '../../src/lib/sql.ts'
import { expireStatistics, recordStatistics } from '../../src/projections/delivery-statistics.ts'
import { readStatistics } from '../../src/projections/read-statistics.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const gatheredBatches = 16

describe('the counts of deliveries', () => {
  const tenant = ulid() as TenantId
  const webhooks = [ulid(), ulid(), ulid()]
  const since = '2026-01-01T00:00:00Z'
  const now = Date.now()
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
    await db.pool.query(`insert into projections (name, build, version, is_live) values ('deliveries', 2, 1, true)`)
  })
  after(() => db.drop())

  /** Records a batch in which every webhook has a success, at times of several minutes and hours. */
  const record = (build: number, batch: number) => {
    const time = new Date(now - (batch % 7) * 1_000_000).toISOString()
    const events = webhooks.map((webhook) => ({
      ...{ type: 'DeliverySucceeded', data: { webhook, code: 200, duration_ms: 3 }, metadata: { tenant, time } },
    }))
    return recordStatistics(sqlOn(db.pool), build, events as unknown as RecordedEvent[])
  }
  const successes = async (step: number, byWebhook: boolean) => {
    const until = new Date(now + 60_000).toISOString()
    const rows = await readStatistics(db.pool, { tenant, since, until, step, byWebhook })
    return rows.map(({ success, http_2xx, durations }) => {
      expect([http_2xx, durations[0]]).to.deep.equal([success, success])
      return success
    })
  }
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
  const gathered = async (build: number) =>
    (await sqlOn(db.pool)<{ n: number }>`select count(*)::int as n from gathered_delivery_counts where build = ${build}`)[0]!.n

  it('are the same before and after gathered batches are added up, and few batches are gathered', async () => {
    for (let batch = 1; batch <= 2 * gatheredBatches + 3; batch++) {
      await record(2, batch)
      expect(await gathered(2)).to.equal(batch % gatheredBatches)
      for (const step of [60, 3_600, 86_400])
        for (const byWebhook of [false, true])
          expect(sum(await successes(step, byWebhook)), `${batch} batches, ${step} s`).to.equal(batch * webhooks.length)
    }
  })
  it('of another build are kept apart, and those of a former build are deleted', async () => {
    const before = await successes(3_600, true)
    for (const build of [1, 3]) await record(build, 1)
    expect(await successes(3_600, true)).to.deep.equal(before)
    await expireStatistics(db.pool, '2026-01-01')
    expect([await gathered(1), await gathered(3)]).to.deep.equal([0, 1])
  })
})
