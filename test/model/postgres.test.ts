import { expect } from 'chai'
import type { Pool } from 'pg'
import { createOffsets } from '../../src/dispatch/offsets.ts'
import { scheduleRetries } from '../../src/dispatch/retries.ts'
import { createSchedule } from '../../src/dispatch/schedule.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { DeliveryId, MessageId, Place, WebhookId } from '../../src/events/ids.ts'
import type { DeliveryRef } from '../../src/events/refs.ts'
import { sqlOn } from '../../src/lib/sql.ts'
import { createMessageIndex, type IndexedMessage } from '../../src/projections/message-index.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { attemptEvent, owed } from '../support/owed.ts'
import { type Random, randomFrom } from './random.ts'
import { statementOf } from './statements.ts'
import { emptyTables, type Tables } from './tables.ts'

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` as DeliveryId
const webhook = (n: number) => `${n}`.padStart(26, '0') as WebhookId
/** The columns of a row that do not depend on the clock. */
const comparable = (rows: readonly object[]) =>
  rows
    .map((row) =>
      JSON.stringify(
        Object.entries(row)
          .filter(([name]) => name === 'delivery' || columns.includes(name))
          .map(([name, value]) => [name, typeof value === 'bigint' ? String(value) : value])
          .sort(),
      ),
    )
    .sort()
const columns = ['webhook', 'claimable', 'parked', 'chain', 'attempt', 'place', 'fingerprint', 'next_offset']

describe("the model's Postgres", () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())

  /** A pool that runs each statement on the real Postgres and on the tables of the model, and compares the rows. */
  const both = (tables: Tables): Pool => {
    let now = 0
    const query = async (query: string | { name?: string; text: string; values: unknown[] }, given: unknown[] = []) => {
      const { text, name, values } = typeof query === 'string' ? { text: query, name: undefined, values: given } : query
      const real = await db.pool.query(name === undefined ? { text, values } : { name, text, values })
      now += 1
      const modelled = statementOf(name, text).apply(tables, {
        text,
        values: values as never[],
        now,
        life: 'test',
        iso: String,
        onSaved() {},
        onEnded() {},
        onStateRead() {},
      })
      expect(comparable(modelled), name ?? text).to.deep.equal(comparable(real.rows))
      return real
    }
    return { query } as unknown as Pool
  }
  const randomRef = (random: Random): DeliveryRef => {
    const n = random.int(1, 6)
    return owed({ delivery: uuid(n), webhook: webhook(1 + (n % 2)), chain: random.int(1, 2), attempt: random.int(1, 3) })
  }
  const index = (random: Random): IndexedMessage => ({
    ...owed(),
    message: `m${random.int(1, 5)}` as MessageId,
    place: `bus/0/${random.int(1, 9)}/0` as Place,
    fingerprint: random.pick(['x', 'y']),
    webhooks: [webhook(1)],
    matched_at: '1' as Checkpoint,
  })

  it('runs each statement with the same result as a real Postgres', async () => {
    for (const seed of [1, 2, 3, 4]) {
      await db.pool.query('truncate scheduled_deliveries, message_index, bus_offsets')
      const random = randomFrom(seed)
      const tables = emptyTables()
      const pool = both(tables)
      // The claims of the first owner last for an hour, and those of the second owner run out at once.
      const owners = [3_600_000, -1_000].map((claimMs, i) => createSchedule({ pool, owner: `owner${i}`, claimMs }))
      const messages = createMessageIndex(pool)
      const saved = createOffsets(pool, 'bus')
      const steps: (() => Promise<unknown>)[] = [
        () => random.pick(owners).park(randomRef(random)),
        () => random.pick(owners).done(randomRef(random)),
        () => random.pick(owners).waiting('', 10),
        () => random.pick(owners).claim([1, 2].map((n) => ({ webhook: webhook(n), count: 100 }))),
        () => random.pick(owners).existing([1, 2, 3].map(uuid)),
        () => random.pick(owners).renew([randomRef(random), { ...randomRef(random), delivery: uuid(7) }]),
        () => random.pick(owners).release([randomRef(random)]),
        () => messages.insertNew([index(random)]),
        () => messages.stored([index(random)]),
        () => saved.save(new Map([[0, BigInt(random.int(1, 9))]])),
        () => saved.startAt(0),
        () => {
          const type = random.pick(['DeliveryFailed', 'DeliveryReplayed', 'DeliverySucceeded'] as const)
          const outcome = { code: 503, duration_ms: 1, reason: null, response: null, delay_seconds: random.pick([0, 3_600]) }
          return scheduleRetries(sqlOn(pool), [attemptEvent(randomRef(random), type, outcome)])
        },
      ]
      for (let i = 0; i < 150; i++) {
        await random.pick(steps)()
        const { rows } = await db.pool.query('select delivery, chain, attempt, webhook from scheduled_deliveries')
        expect(
          comparable(
            [...tables.scheduled.values()].map(({ delivery, chain, attempt, webhook: owner }) => ({
              delivery,
              chain,
              attempt,
              webhook: owner,
            })),
          ),
        ).to.deep.equal(comparable(rows))
      }
    }
  })
})
