import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { createPostgresDeliveryLog } from '../../src/adapters/postgres/delivery-log.ts'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { firstSuccessOf } from '../../src/adapters/postgres/first-successes.ts'
import type { DeliveryFact } from '../../src/events/delivery-facts.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import type { EventId, MessageId, Place } from '../../src/events/ids.ts'
import { parsePlace, placeOf } from '../../src/events/message-record.ts'
import type { MessageRef } from '../../src/events/refs.ts'
import { eventTypes } from '../../src/events/schema.ts'
import { attemptsStream } from '../../src/events/streams.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { silentLog } from '../../src/lib/log.ts'
import { FactRefused } from '../../src/ports/delivery-log.ts'
import type { MessageBus } from '../../src/ports/message-bus.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { type PostgresBusMember, postgresBusMember } from '../support/message-bus.ts'
import { type DeliveryLogHarness, deliveryLogContract, fact, type TestBody } from './delivery-log.contract.ts'

const busOn = (database: TestDatabase): Promise<PostgresBusMember> =>
  postgresBusMember({ url: database.url, consumers: () => 1, partitions: 2 })
const keyOf = ({ tenant, message, fingerprint, accepted_at }: TestBody, place: Place): MessageRef => ({
  ...{ tenant, message, fingerprint, event: 'order.created', accepted_at, place },
})
const asMessage = ({ message: id, fingerprint, sealedBody }: TestBody) => ({
  ...{ id, fingerprint, sealedBody, event: 'order.created', event_time: null, source: null },
})

const withOwnBodies = async (): Promise<DeliveryLogHarness> => {
  const database = await freshDatabase()
  const log = await createPostgresDeliveryLog({ ...database, identity: 'pg', bus: {}, log: silentLog })
  return {
    log: { archive: log.archive, bodies: log.bodies, erase: log.erase, ...log.historyOf(1) },
    async keep(bodies) {
      const keys = bodies.map((body, i) => keyOf(body, placeOf('kafka', 0, BigInt(i), 0)))
      await log.archive(bodies.map((body, i) => ({ ...keys[i]!, sealedBody: body.sealedBody })))
      return keys
    },
    async expireBefore(day) {
      await log.dropDaysBefore(day)
    },
    async drop() {
      await log.close()
      await database.drop()
    },
  }
}
const withBodiesOnTheBus = async (): Promise<DeliveryLogHarness> => {
  const database = await freshDatabase()
  const { bus, close } = await busOn(database)
  const log = await createPostgresDeliveryLog({ ...database, identity: 'pg', bus, log: silentLog })
  return {
    log: { archive: log.archive, bodies: log.bodies, erase: bus.eraseBodies, ...log.historyOf(1) },
    keep: (bodies) =>
      Promise.all(
        bodies.map(async (body) => {
          const { tenant, accepted_at } = body
          return keyOf(body, await bus.produce({ tenant, accepted_at, correlation_id: 'c', messages: [asMessage(body)] }))
        }),
      ),
    async expireBefore(day) {
      await log.dropDaysBefore(day)
      await bus.dropDaysBefore(
        day,
        new Map([
          [0, 1_000n],
          [1, 1_000n],
        ]),
      )
    },
    async drop() {
      await log.close()
      await close()
      await database.drop()
    },
  }
}
/** First successes are appended to an event store on the same database, as a dispatcher does. */
const withEvents = async (): Promise<DeliveryLogHarness> => {
  const database = await freshDatabase()
  const { pool } = database
  const store = createPostgresEventStore({ ...historyStore, pool })
  const log = await createPostgresDeliveryLog({ ...database, identity: 'pg', bus: {}, readsEvents: true, log: silentLog })
  const history = log.historyOf(1)
  return {
    log: {
      ...{ archive: log.archive, bodies: log.bodies, erase: log.erase, ...history },
      async record(facts) {
        await Promise.all(
          facts.filter(isFirstSuccess).map((success) => store.append(streamOf(success), [succeeded(success)], 'any', { patient: true })),
        )
        await history.record(facts.map((each) => (isFirstSuccess(each) ? { ...each, in_history: true } : each)))
      },
    },
    async keep(bodies) {
      const keys = bodies.map((body, i) => keyOf(body, placeOf('kafka', 0, BigInt(i), 0)))
      await log.archive(bodies.map((body, i) => ({ ...keys[i]!, sealedBody: body.sealedBody })))
      return keys
    },
    async expireBefore(day) {
      // The newest event is never dropped, so a newer one is appended first.
      const newest = fact({ type: 'DeliverySucceeded' })
      const { position } = await store.append(streamOf(newest), [succeeded(newest)], 'any')
      await log.dropDaysBefore(day)
      await store.dropDaysBefore(day, position)
    },
    async drop() {
      await log.close()
      await store.close()
      await database.drop()
    },
  }
}
const historyStore = { identity: 'pg', log: silentLog, keepsHistory: true, dayStreamMaxAgeSeconds: 86_400 * 36_500 }
const streamOf = ({ webhook, time }: DeliveryFact) => attemptsStream(webhook, time)
/** Returns the event of a success. */
function succeeded({ event_id, type, time, correlation_id, tenant, in_history, delay_seconds, ...data }: DeliveryFact): NewEvent {
  const { schema } = eventTypes.DeliverySucceeded
  const metadata = { schema, actor: 'system:test', tenant, time, $correlationId: correlation_id, $causationId: null } as const
  return { id: event_id, type, data: { tenant, ...data, webhook_revision: 0 }, metadata }
}
const isFirstSuccess = (each: DeliveryFact) => each.type === 'DeliverySucceeded' && firstSuccessOf(streamOf(each), succeeded(each)) !== null

deliveryLogContract('Postgres, with first successes read from the events', withEvents)
deliveryLogContract('Postgres, with its own archive', withOwnBodies)
deliveryLogContract('Postgres, with the bus as the archive', withBodiesOnTheBus)

const codeOfFailure = (work: Promise<unknown>): Promise<string | undefined> => work.then(() => 'nothing failed', codeOf)

describe('delivery log on Postgres', () => {
  let database: TestDatabase
  let busMember: PostgresBusMember
  beforeEach(async () => {
    database = await freshDatabase()
    busMember = await busOn(database)
  })
  afterEach(async () => {
    await busMember.close()
    await database.drop()
  })
  const open = (bus: Pick<MessageBus, 'readBodies'> = busMember.bus) =>
    createPostgresDeliveryLog({ ...database, identity: 'pg', bus, log: silentLog })

  it('finds each body of a batch by its place in the record', async () => {
    const { bus } = busMember
    const log = await open()
    const { tenant } = fact({ type: 'MessageRouted' })
    const accepted_at = new Date().toISOString()
    const bodies = Array.from({ length: 50 }, (_, i): TestBody => {
      return { tenant, accepted_at, message: `m${i}` as MessageId, fingerprint: `f${i}`, sealedBody: Buffer.from(`payload ${i}`) }
    })
    const { partition, offset } = parsePlace(
      await bus.produce({ tenant, accepted_at, correlation_id: 'c', messages: bodies.map(asMessage) }),
    )
    const keys = bodies.map((body, i) => keyOf(body, placeOf(bus.identity, partition, offset, i)))
    expect(await log.bodies(keys)).to.deep.equal(bodies.map(({ sealedBody }) => sealedBody))
    expect(await log.bodies([{ ...keys[0]!, place: placeOf(bus.identity, partition, offset, 50) }])).to.deep.equal([null])
    expect(await log.bodies([{ ...keys[0]!, place: placeOf(bus.identity, 9, 77n, 0) }, keys[1]!])).to.deep.equal([
      null,
      bodies[1]!.sealedBody,
    ])
  })

  it('returns the other bodies when one record cannot be decoded', async () => {
    const { bus } = busMember
    const log = await open()
    const { tenant } = fact({ type: 'MessageRouted' })
    const accepted_at = new Date().toISOString()
    const keptBodies = await Promise.all(
      ['a', 'b'].map(async (id) => {
        const body: TestBody = { tenant, accepted_at, message: id as MessageId, fingerprint: id, sealedBody: Buffer.from(id) }
        const place = await bus.produce({ tenant, accepted_at, correlation_id: 'c', messages: [asMessage(body)] })
        return keyOf(body, place)
      }),
    )
    const broken = parsePlace(keptBodies[0]!.place)
    await database.pool.query(`update messages set record = '\\x00ff' where partition = $1 and "offset" = $2`, [
      broken.partition,
      broken.offset,
    ])
    expect(await log.bodies(keptBodies)).to.deep.equal([null, Buffer.from('b')])
  })

  it('names the fact that Postgres cannot store, wherever it is in a batch', async () => {
    const log = await open()
    const goodFacts = Array.from({ length: 20 }, () => fact({ type: 'DeliverySucceeded' }))
    const badFacts = [
      fact({ type: 'DeliverySucceeded', reason: 'a\u0000b' }),
      fact({ type: 'DeliverySucceeded', accepted_at: '2026-02-30T00:00:00.000Z' }),
      fact({ type: 'DeliverySucceeded', accepted_at: 'yesterday' }),
      fact({ type: 'DeliverySucceeded', time: '2026-01-01T25:00:00.000Z' }),
      fact({ type: 'DeliverySucceeded', event_id: 'no uuid' as never }),
      fact({ type: 'DeliverySucceeded', event: 'one\u001etwo' }),
      fact({ type: 'DeliverySucceeded', code: 1.5 }),
      fact({ type: 'DeliverySucceeded', code: 2 ** 40 }),
    ]
    for (const [i, one] of badFacts.entries()) {
      const facts = [...goodFacts]
      facts.splice((i * 3) % 20, 0, one)
      const failure = await log
        .historyOf(1)
        .record(facts)
        .then(
          () => null,
          (error: unknown) => error,
        )
      expect(failure, `fact ${i}`).to.be.instanceOf(FactRefused)
      expect(failure).to.include({ event_id: one.event_id })
    }
    await log.historyOf(1).record(goodFacts)
  })

  it('needs one row for a delivery that ends with its first request', async () => {
    const log = await open()
    const routed = fact({ type: 'MessageRouted' })
    const key = { webhook: routed.webhook, delivery: routed.delivery, tenant: routed.tenant }
    await log.historyOf(1).record([routed])
    await log.historyOf(1).record([fact({ ...key, type: 'DeliverySucceeded' })])
    const { rows } = await database.pool.query(
      'select (select count(*) from deliveries) as deliveries, (select count(*) from attempts) as attempts',
    )
    expect(rows).to.deep.equal([{ deliveries: 1n, attempts: 0n }])
  })

  it('reports that Postgres is gone, and refuses no fact because of it', async () => {
    const other = await freshDatabase()
    const log = await createPostgresDeliveryLog({ ...other, identity: 'pg', bus: {}, log: silentLog })
    await other.drop()
    const failure = await log
      .historyOf(1)
      .record([fact({ type: 'MessageRouted' })])
      .then(
        () => null,
        (error: unknown) => error,
      )
    expect(failure).to.be.instanceOf(Error).and.not.instanceOf(FactRefused)
  })

  it('drops whole days, and writes again to a day that another process has dropped', async () => {
    const log = await open({})
    const other = await open({})
    const factOn = (day: string) => fact({ type: 'MessageRouted', accepted_at: `${day}T12:00:00.000Z` })
    await log.makeBuild(2)
    for (const build of [1, 2]) await log.historyOf(build).record([factOn('2020-01-01'), factOn('2020-01-02')])
    await log.archive([{ ...factOn('2020-01-01'), sealedBody: Buffer.from('{}') }])
    expect(await other.dropDaysBefore('2020-01-02')).to.deep.equal([
      'deliveries_20200101',
      'attempts_20200101',
      'delivery_history_2.deliveries_20200101',
      'delivery_history_2.attempts_20200101',
      'sealed_bodies_20200101',
    ])
    await log.historyOf(1).record([factOn('2020-01-01')])
    const { rows } = await database.pool.query('select tableoid::regclass::text as partition from deliveries order by 1')
    expect(rows).to.deep.equal([{ partition: 'deliveries_20200101' }, { partition: 'deliveries_20200102' }])
  })

  it('keeps the builds of the history apart, including the first one', async () => {
    const log = await open()
    const other = await open()
    await Promise.all([log.makeBuild(2), other.makeBuild(2)])
    const [oldBuild, newBuild] = [log.historyOf(1), log.historyOf(2)]
    const failed = fact({ type: 'DeliveryFailed' })
    const ended = { ...failed, type: 'DeliverySucceeded', event_id: randomUUID() as EventId, attempt: 2, delay_seconds: null } as const
    await oldBuild.record([failed])
    await newBuild.record([failed])
    await newBuild.record([ended])
    expect((await oldBuild.states([failed]))[0]?.status).to.equal('retrying')
    expect((await newBuild.states([failed]))[0]?.status).to.equal('success')
    expect((await newBuild.attempts([failed]))[0]).to.have.length(2)
    await other.dropBuild(1)
    await other.dropBuild(1)
    expect((await newBuild.history(failed.webhook, { tenant: failed.tenant, limit: 10 })).map((found) => found.status)).to.deep.equal([
      'success',
    ])
    expect(await codeOfFailure(oldBuild.record([failed]))).to.equal('42883')
    expect(await codeOfFailure(oldBuild.states([failed]))).to.equal('42P01')
    // A build that is made after another one was dropped has the same indexes too.
    await log.makeBuild(3)
    await log.makeBuild(3)
    const indexes = async (schema: string) =>
      (await database.pool.query('select indexdef from pg_indexes where schemaname = $1', [schema])).rows
        .map(({ indexdef }) => String(indexdef).replace(/^.* USING/, ''))
        .sort()
    expect(await indexes('delivery_history_3')).to.deep.equal(await indexes('delivery_history'))
    await log.historyOf(3).record([ended, failed])
    expect((await log.historyOf(3).states([failed]))[0]?.status).to.equal('success')
    await log.dropBuild(2)
    expect(await codeOfFailure(newBuild.attempts([failed]))).to.equal('42P01')
    expect(() => log.historyOf(0)).to.throw(RangeError)
  })

  it('stores sealed responses unchanged, in every build', async () => {
    const log = await open()
    await log.makeBuild(2)
    await log.historyOf(2).record([fact({ type: 'DeliverySucceeded' })])
    const { rows } = await database.pool.query(
      `select relnamespace::regnamespace::text as schema, attstorage from pg_class join pg_attribute on attrelid = pg_class.oid
       where relname like 'deliveries%' and attname = 'response' and relkind in ('p', 'r') and relnamespace::regnamespace::text = 'delivery_history_2'`,
    )
    expect(rows.length).to.be.at.least(2)
    expect(rows.every(({ attstorage }) => attstorage === 'e')).to.equal(true)
  })

  it('fails to drop a build that is in use, instead of blocking others', async () => {
    const log = await open()
    const reader = await database.pool.connect()
    try {
      await reader.query('begin; select from deliveries')
      expect(await codeOfFailure(log.dropBuild(1))).to.equal('55P03')
      await reader.query('commit')
      await log.dropBuild(1)
    } finally {
      reader.release()
    }
  })
})
