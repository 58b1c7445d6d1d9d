import { expect } from 'chai'
import { ulid } from 'ulid'
import { createDayPartitions } from '../../src/adapters/postgres/day-partitions.ts'
import { createPostgresDeliveryLog, type PostgresDeliveryLog } from '../../src/adapters/postgres/delivery-log.ts'
import { createPostgresEventStore, type PostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { factsOf } from '../../src/events/delivery-facts.ts'
import type { Checkpoint, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { deliveryEvents, type TestDelivery } from '../support/delivery-events.ts'
import { collect } from '../support/event-store-events.ts'

const families = ['routing', 'attempts'] as const

describe('first successes on Postgres', () => {
  const tenant = ulid() as TenantId
  const webhook = ulid() as WebhookId
  let db: TestDatabase
  let store: PostgresEventStore
  let log: PostgresDeliveryLog
  let events: ReturnType<typeof deliveryEvents>
  beforeEach(async () => {
    db = await freshDatabase()
    store = createPostgresEventStore({ pool: db.pool, log: silentLog, identity: 'pg', keepsHistory: true, dayStreamMaxAgeSeconds: 86_400 })
    log = await createPostgresDeliveryLog({ ...db, identity: 'pg', bus: {}, readsEvents: true, log: silentLog })
    events = deliveryEvents(store, tenant)
  })
  afterEach(async () => {
    await log.close()
    await store.close()
    await db.drop()
  })
  /** Returns all events as a new projection reads them. */
  const read = async (): Promise<readonly RecordedEvent[]> => {
    const head = await store.head(families)
    return (await collect(store, { families, after: null, until: (_, checkpoint) => checkpoint >= head! })).events
  }
  /** Records the events in one batch. */
  const record = async (batch: readonly RecordedEvent[]) => log.historyOf(1).record(batch.flatMap(factsOf))
  const rows = async () => (await db.pool.query('select status from deliveries order by status')).rows.map(({ status }) => status)
  const shown = async (status?: 'pending' | 'success' | 'retrying') =>
    (await log.historyOf(1).history(webhook, { tenant, limit: 10, ...(status === undefined ? {} : { status }) })).map((d) => d.status)
  const routed = async (): Promise<TestDelivery> => {
    const [delivery] = events.routed([webhook])
    await events.flush()
    return delivery!
  }

  it('need no row in the history, and are read from their events', async () => {
    const delivery = await routed()
    events.attempted(delivery, 'DeliverySucceeded', { response: 'sealed' })
    await events.flush()
    await record(await read())
    expect(await rows()).to.deep.equal([])
    const [listed] = await log.historyOf(1).history(webhook, { tenant, limit: 10 })
    expect(listed).to.include({ status: 'success', code: 204, chain: 1, attempt: 1, next_attempt_at: null, message: 'm0' })
    expect(listed?.request).to.include({ type: 'DeliverySucceeded', code: 204, response: 'sealed' })
    expect(await log.historyOf(1).find(tenant, delivery.delivery)).to.include({ status: 'success' })
    expect(await log.historyOf(1).find(ulid() as TenantId, delivery.delivery)).to.equal(null)
  })

  it('are shown at once, in place of a row that the projection wrote for an earlier event', async () => {
    const delivery = await routed()
    await record(await read())
    expect(await rows()).to.deep.equal(['pending'])
    events.attempted(delivery, 'DeliverySucceeded')
    await events.flush()
    expect(await shown()).to.deep.equal(['success'])
    expect(await shown('pending')).to.deep.equal([])
    await record((await read()).slice(1))
    expect(await rows(), 'the row no longer counts as pending').to.deep.equal(['success'])
    expect(await shown('success')).to.deep.equal(['success'])
  })

  it('are still listed as attempts after the same attempt was repeated and failed, and after a replay', async () => {
    const delivery = await routed()
    events.attempted(delivery, 'DeliverySucceeded')
    await events.flush()
    await record(await read())
    events.attempted(delivery, 'DeliveryFailed')
    await events.flush()
    await record((await read()).slice(2))
    expect(await shown('retrying'), 'a success outweighs the failure of the repeated attempt').to.deep.equal([])
    expect(await shown('success')).to.deep.equal(['success'])
    events.replayed(delivery, 2)
    await events.flush()
    await record((await read()).slice(3))
    expect(await shown()).to.deep.equal(['pending'])
    expect(await shown('success')).to.deep.equal([])
    const [listed] = await log.historyOf(1).history(webhook, { tenant, limit: 10 })
    const { request, ...key } = listed!
    expect(request).to.equal(null)
    for (const identified of [listed!, key])
      expect((await log.historyOf(1).attempts([identified]))[0]?.map(({ type }) => type)).to.have.members([
        'DeliverySucceeded',
        'DeliveryFailed',
      ])
  })

  it('are only successes of the first attempt, with data that the history could store', async () => {
    const deliveries = [await routed(), await routed(), await routed()]
    events.attempted(deliveries[0]!, 'DeliverySucceeded', { attempt: 2 })
    events.attempted(deliveries[1]!, 'DeliverySucceeded', { chain: 2 })
    events.attempted(deliveries[2]!, 'DeliverySucceeded', { response: '\u001e' })
    await events.flush()
    expect((await read()).filter(({ in_history }) => in_history === true)).to.deep.equal([])
  })

  it('of a process of version 0.2 get rows, and that process reads all events', async () => {
    const delivery = await routed()
    const { id, data, metadata, ...event } = await successOf(delivery)
    const day = event.stream.slice(-8).replace(/^(....)(..)(..)$/, '$1-$2-$3')
    await createDayPartitions({ pool: db.pool, tables: ['day_events'], onError() {} }).ensure([day])
    await db.pool.query('select append_at_revisions(pg_postmaster_start_time()::text, $1, $2, $3, $4, $5, $6, $7, $8)', [
      ...[event.stream, [day], [1], [0], [id], event.type, JSON.stringify(data), JSON.stringify(metadata)],
    ])
    const all = await read()
    expect(all.map(({ type, in_history }) => [type, in_history])).to.deep.equal([
      ['MessageRouted', undefined],
      ['DeliverySucceeded', undefined],
    ])
    await record(all)
    expect(await rows()).to.deep.equal(['success'])
    expect(await shown()).to.deep.equal(['success'])
    const { rows: former } = await db.pool.query('select type from read_events(0, 10, true, true, null)')
    expect(former.map(({ type }) => type)).to.deep.equal(['MessageRouted', 'DeliverySucceeded'])
  })
})

/** Returns the event of a first success without appending it. */
async function successOf(delivery: TestDelivery): Promise<NewEvent & { stream: StreamName }> {
  const captured: (NewEvent & { stream: StreamName })[] = []
  const append: EventStore['append'] = async (stream, [event]) => {
    captured.push({ ...event!, stream })
    return { revision: 0, position: '' as Checkpoint }
  }
  const events = deliveryEvents({ append }, delivery.tenant)
  events.attempted(delivery, 'DeliverySucceeded')
  await events.flush()
  return captured[0]!
}
