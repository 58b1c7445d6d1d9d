import { expect } from 'chai'
import { scheduleRetries } from '../../src/dispatch/retries.ts'
import { createSchedule, type Schedule } from '../../src/dispatch/schedule.ts'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { WebhookId } from '../../src/events/ids.ts'
import type { DeliveryRef } from '../../src/events/refs.ts'
import { type Sql, sqlOn } from '../../src/lib/sql.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { attemptEvent, owed } from '../support/owed.ts'
import { waitFor } from '../support/wait-for.ts'

describe('scheduled deliveries', () => {
  let db: TestDatabase
  let schedule: Schedule
  before(async () => {
    db = await freshDatabase()
    schedule = createSchedule({ pool: db.pool, owner: 'me', claimMs: 60_000 })
  })
  after(() => db.drop())
  beforeEach(() => db.pool.query('truncate scheduled_deliveries'))

  const project = (...events: RecordedEvent[]) => scheduleRetries(sqlOn(db.pool), events)
  const failed = (ref: DeliveryRef, delay_seconds = 0) =>
    attemptEvent(ref, 'DeliveryFailed', { code: 503, duration_ms: 1, reason: 'http_503', response: null, delay_seconds })
  const succeeded = (ref: DeliveryRef) =>
    attemptEvent(ref, 'DeliverySucceeded', { code: 200, duration_ms: 1, reason: null, response: null })
  const rows = async () => {
    const result = await db.pool.query<{
      delivery: string
      chain: number
      attempt: number
      due_at: string | null
      claimed_by: string | null
    }>('select delivery, chain, attempt, due_at, claimed_by from scheduled_deliveries order by delivery')
    return result.rows
  }
  const at = async () => (await rows()).map((r) => [r.chain, r.attempt])
  const room = (count: number, ...webhooks: WebhookId[]) =>
    (webhooks.length === 0 ? [owed().webhook] : webhooks).map((webhook) => ({ webhook, count }))

  describe('the retry manager', () => {
    it('writes a row for the attempt after a failed one, due after the delay by the clock of Postgres', async () => {
      await project(failed(owed(), 3_600))
      expect(await at()).to.deep.equal([[1, 2]])
      const { rows: due } = await db.pool.query(
        "select due_at - clock_timestamp() > interval '59 minutes' as later from scheduled_deliveries",
      )
      expect(due[0].later).to.equal(true)
      expect(await schedule.claim(room(10))).to.deep.equal([])
    })
    it('never lets an earlier attempt overwrite a later one, in one batch or in another', async () => {
      const first = owed()
      await project(failed({ ...first, attempt: 3 }), failed({ ...first, attempt: 1 }))
      await project(failed({ ...first, attempt: 2 }))
      expect(await at()).to.deep.equal([[1, 4]])
    })
    it('deletes the row of a chain that has ended, even if its batch has other events of the chain', async () => {
      const [a, b] = [owed(), owed()]
      await project(failed(a), succeeded({ ...a, attempt: 2 }), succeeded({ ...b, attempt: 2 }), failed(b))
      expect(await rows()).to.deep.equal([])
    })
    it('keeps the row of a later chain when an earlier one ends', async () => {
      const a = owed()
      await project(attemptEvent({ ...a, chain: 2, attempt: 0 }, 'DeliveryReplayed'))
      await project(succeeded(a))
      expect(await at()).to.deep.equal([[2, 1]])
      expect(await schedule.claim(room(10))).to.have.length(1)
    })
    it('locks the rows that it changes in the same order as all other statements, so that no deadlock arises', async () => {
      const [low, high] = [owed(), owed()].sort((a, b) => (a.delivery < b.delivery ? -1 : 1)) as [DeliveryRef, DeliveryRef]
      await Promise.all([schedule.park(low), schedule.park(high)])
      const client = await db.pool.connect()
      try {
        await client.query('begin')
        let done: Promise<unknown> | undefined
        // After the first statement, another transaction tries to delete both rows, and waits.
        const sql: Sql = async (text, ...values) => {
          const result = await sqlOn(client)<never>(text, ...values)
          done ??= Promise.all([schedule.done(low), schedule.done(high)])
          await waitFor(async () => (await db.pool.query('select from pg_locks where not granted')).rows.length > 0)
          return result
        }
        await scheduleRetries(sql, [failed(high), succeeded(low)])
        await client.query('commit')
        await done
      } finally {
        client.release()
      }
      expect(await at()).to.deep.equal([[1, 2]])
    })
    it('writes no row for a chain that has ended when it reads its events again', async () => {
      const a = owed()
      const events = [failed(a), succeeded({ ...a, attempt: 2 })]
      await project(...events)
      await project(...events)
      expect(await rows()).to.deep.equal([])
    })
  })

  describe('parking', () => {
    it('writes rows without a due time, which are claimed oldest first', async () => {
      const all = [owed(), owed(), owed()]
      for (const ref of all) await schedule.park(ref)
      const claimed = await schedule.claim(room(2))
      expect(claimed.map((c) => c.delivery)).to.have.members(all.slice(0, 2).map((o) => o.delivery))
      expect(claimed[0]).to.deep.include({ ...all.find((o) => o.delivery === claimed[0]?.delivery) })
      expect(claimed[0]?.parked_at).to.be.a('string')
    })
    it('leaves a row for the same or a later attempt as it is', async () => {
      const a = owed()
      await project(failed({ ...a, attempt: 2 }, 3_600))
      await schedule.park(a)
      await schedule.park({ ...a, attempt: 3 })
      expect((await rows())[0]).to.include({ attempt: 3 })
      expect((await rows())[0]?.due_at).to.not.equal(null)
    })
    it('writes deliveries that are parked together in one statement, with the latest attempt of each', async () => {
      const a = owed()
      await Promise.all([schedule.park(a), schedule.park({ ...a, attempt: 2 }), schedule.park(owed())])
      expect((await at()).sort()).to.deep.equal([
        [1, 1],
        [1, 2],
      ])
    })
  })

  describe('claims', () => {
    const w1 = '01AAAAAAAAAAAAAAAAAAAAAAA1' as WebhookId
    const w2 = '01AAAAAAAAAAAAAAAAAAAAAAA2' as WebhookId

    it('belong to one process at a time', async () => {
      await Promise.all(Array.from({ length: 20 }, () => schedule.park(owed())))
      const other = createSchedule({ pool: db.pool, owner: 'other', claimMs: 60_000 })
      const [a, b] = await Promise.all([schedule.claim(room(10)), other.claim(room(10))])
      expect(new Set([...a, ...b].map((r) => r.delivery)).size).to.equal(a.length + b.length)
      expect(await schedule.claim(room(20))).to.have.length(20 - a.length - b.length)
    })
    it('take at most the allotted rows of each webhook', async () => {
      await Promise.all(Array.from({ length: 30 }, (_, i) => schedule.park(owed({ webhook: i % 3 === 0 ? w1 : w2 }))))
      const claimed = await schedule.claim([
        { webhook: w1, count: 3 },
        { webhook: w2, count: 1 },
      ])
      expect(claimed.filter((c) => c.webhook === w1)).to.have.length(3)
      expect(claimed.filter((c) => c.webhook === w2)).to.have.length(1)
    })
    it('run out if they are not renewed, and last if they are', async () => {
      const brief = createSchedule({ pool: db.pool, owner: 'brief', claimMs: 30 })
      const ref = owed()
      await schedule.park(ref)
      expect((await brief.claim(room(1))).map(({ was_claimed }) => was_claimed)).to.deep.equal([false])
      const [again] = await waitFor(async () => {
        const claimed = await schedule.claim(room(1))
        return claimed.length === 1 ? claimed : null
      })
      expect(again?.was_claimed).to.equal(true)
      expect(await brief.renew([ref]), 'the claim belongs to another process now').to.deep.equal([false])
      expect((await rows())[0]?.claimed_by).to.equal('me')
      expect(await schedule.renew([ref])).to.deep.equal([true])
      expect(await brief.claim(room(1))).to.deep.equal([])
    })
    it('are released only by their owner', async () => {
      const ref = owed()
      await schedule.park(ref)
      await schedule.claim(room(1))
      await schedule.release([ref])
      expect(await schedule.claim(room(1))).to.have.length(1)
    })
    it('end when the row of the recorded attempt is deleted, unless the row is for a later attempt by then', async () => {
      const [a, b] = [owed(), owed()]
      await Promise.all([schedule.park(a), schedule.park(b)])
      await project(failed(a, 3_600))
      await Promise.all([schedule.done(a), schedule.done(b)])
      expect(await at()).to.deep.equal([[1, 2]])
    })
  })

  it('lists the waiting webhooks page by page, and shows which have parked rows', async () => {
    const ids = Array.from({ length: 5 }, (_, i) => `01AAAAAAAAAAAAAAAAAAAAAAA${i}` as WebhookId)
    await Promise.all(ids.slice(0, 3).map((webhook) => schedule.park(owed({ webhook }))))
    await project(failed(owed({ webhook: ids[2]! })), failed(owed({ webhook: ids[3]! })), failed(owed({ webhook: ids[4]! }), 3_600))
    expect(await schedule.waiting('', 10)).to.deep.equal([
      { webhook: ids[0], claimable: true, parked: true },
      { webhook: ids[1], claimable: true, parked: true },
      { webhook: ids[2], claimable: true, parked: true },
      { webhook: ids[3], claimable: true, parked: false },
    ])
    await schedule.claim([{ webhook: ids[0]!, count: 1 }])
    expect((await schedule.waiting('', 1))[0]).to.deep.equal({ webhook: ids[0], claimable: false, parked: true })
    expect((await schedule.waiting('', 2)).map((w) => w.webhook)).to.deep.equal(ids.slice(0, 2))
    expect((await schedule.waiting(ids[1]!, 2)).map((w) => w.webhook)).to.deep.equal(ids.slice(2, 4))
    expect(await schedule.existing([owed().delivery])).to.deep.equal(new Set())
  })
})
