import { expect } from 'chai'
import { ulid } from 'ulid'
import { createPostgresDeliveryLog, type PostgresDeliveryLog } from '../../src/adapters/postgres/delivery-log.ts'
import { createPostgresEventStore, type PostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { scheduleRetries } from '../../src/dispatch/retries.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { Delivery, DeliveryLog } from '../../src/ports/delivery-log.ts'
import { installProjections, listBuilds, lockBuilds, rebuild } from '../../src/projections/builds.ts'
import { deliveries } from '../../src/projections/deliveries.ts'
import { createLiveDeliveryLog, type LiveDeliveryLog } from '../../src/projections/live-delivery-log.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { type RunningProjection, startProjection } from '../../src/projections/runner.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { countHistory, storedCounts } from '../support/counted-history.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { deliveryEvents, type TestDelivery } from '../support/delivery-events.ts'
import { wholeShare } from '../support/lease-shares.ts'
import { waitFor } from '../support/wait-for.ts'

const tenant = ulid() as TenantId
const families = ['routing', 'attempts'] as const

describe('the delivery history during a rebuild', () => {
  let db: TestDatabase
  let store: PostgresEventStore
  let deliveryLog: PostgresDeliveryLog
  let readers: LiveDeliveryLog
  let leases: LeaseKeeper
  let projection: Projection
  let events: ReturnType<typeof deliveryEvents>
  const running: RunningProjection[] = []

  const over = (log: Pick<DeliveryLog, 'historyOf' | 'makeBuild' | 'dropBuild'>) => deliveries(log, scheduleRetries)
  const run = (projectionToRun: Projection = projection) => {
    const deps = {
      store,
      pool: db.pool,
      shares: wholeShare(db.pool, leases),
      progress: createProjectionProgress(),
      log: silentLog,
      refreshMs: 20,
    }
    const started = startProjection(deps, projectionToRun)
    running.push(started)
    return started
  }
  const live = async () => (await listBuilds(db.pool, 'deliveries')).find(({ is_live }) => is_live)
  const reached = async () => {
    const head = await store.head(families)
    await waitFor(async () => ((await live())?.checkpoint ?? '') >= (head ?? ''), { what: 'the live build' })
  }
  const switched = async (build: number) => {
    await waitFor(async () => (await live())?.build === build, { what: `build ${build}` })
    await waitFor(async () => (await listBuilds(db.pool, 'deliveries')).length === 1, { what: 'the removal of the former build' })
  }
  const rowsOf = async (text: string) => (await db.pool.query<Record<string, unknown>>(text)).rows
  const schedule = () => rowsOf('select * from scheduled_deliveries order by delivery')
  const health = () => rowsOf('select * from webhook_health order by webhook, revision')
  const builds = async () =>
    (await rowsOf(`select relnamespace::regnamespace::text as schema from pg_class where relname = 'deliveries' order by 1`)).map(
      ({ schema }) => schema,
    )
  /** Returns every delivery of the webhooks with its attempts, read page by page as the API does. */
  const everything = async (webhooks: readonly WebhookId[]) => {
    const deliveries: Delivery[] = []
    for (const webhook of webhooks)
      for (let last: Delivery | undefined; ; ) {
        const after = last === undefined ? {} : { after: { at: last.accepted_at, delivery: last.delivery } }
        const page: Delivery[] = await readers.history(webhook, { tenant, limit: 1_000, ...after })
        deliveries.push(...page)
        last = page.at(-1)
        if (last === undefined) break
      }
    return { states: deliveries, attempts: await readers.attempts(deliveries), dead: await readers.deadLetters({ tenant, limit: 1_000 }) }
  }
  /** Appends the events of a delivery, which depend on its number. A hundred deliveries end in all possible ways. */
  const happen = (delivery: TestDelivery, n: number) => {
    const kind = n % 10
    if (kind === 0) return // This delivery is never attempted.
    if (kind === 1 || kind === 2 || kind === 3) events.attempted(delivery, 'DeliveryFailed', { response: 'sealed' })
    if (kind === 2) events.attempted(delivery, 'DeliverySucceeded', { attempt: 2 })
    if (kind === 3) events.attempted(delivery, 'DeliveryDeadLettered', { attempt: 2 })
    if (n % 100 === 3) events.replayed(delivery, 2)
    if (kind > 3) events.attempted(delivery, 'DeliverySucceeded')
  }

  beforeEach(async () => {
    db = await freshDatabase()
    const { pool } = db
    store = createPostgresEventStore({ pool, log: silentLog, identity: 'test', keepsHistory: true, dayStreamMaxAgeSeconds: 86_400 })
    deliveryLog = await createPostgresDeliveryLog({
      pool,
      readers: db.readers,
      identity: 'test',
      bus: {},
      readsEvents: true,
      log: silentLog,
    })
    readers = createLiveDeliveryLog({ log: deliveryLog, pool })
    leases = createLeaseKeeper({ pool, owner: 'one', leaseMs: 60_000, onError() {} })
    projection = over(deliveryLog)
    events = deliveryEvents(store, tenant)
    await installProjections(pool, [projection])
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((runner) => runner.stop()))
    await leases.close()
    await deliveryLog.close()
    await store.close()
    await db.drop()
  })

  it('ends with the same rows, and meanwhile readers miss no row, scheduled deliveries stay and traffic continues', async () => {
    run()
    const webhooks = Array.from({ length: 5 }, () => ulid() as WebhookId)
    const deliveries: TestDelivery[] = []
    const add = (count: number) => {
      for (let i = 0; i < count; i++)
        for (const delivery of events.routed(webhooks)) {
          happen(delivery, deliveries.length)
          deliveries.push(delivery)
        }
    }
    add(2_400)
    await events.flush()
    await reached()
    const before = await everything(webhooks)
    expect(before.states).to.have.length(12_000)
    expect(await storedCounts(db, 3_600)).to.deep.equal(await countHistory(store))
    // Some rows are deleted, as if dispatchers had made the attempts. If the rebuild wrote such a row again, it would be sent twice.
    await db.pool.query(`delete from scheduled_deliveries where delivery::text < '8'`)
    const [owed, failing] = [await schedule(), await health()]
    expect(owed.length).to.be.greaterThan(300)

    let isDone = false
    let pages = 0
    const [webhook, busy] = [webhooks[0]!, ulid() as WebhookId]
    const pager = async (pagedWebhook: WebhookId) => {
      for (let least = 0; !isDone; ) {
        let rows = 0
        for (let last: Delivery | undefined; ; pages++) {
          const after = last === undefined ? {} : { after: { at: last.accepted_at, delivery: last.delivery } }
          const page: Delivery[] = await readers.history(pagedWebhook, { tenant, limit: 500, ...after })
          rows += page.length
          last = page.at(-1)
          if (last === undefined) break
        }
        expect(rows).to.be.at.least(least)
        least = rows
      }
    }
    // Each delivery is read repeatedly after it was first seen.
    const watched = new Map<string, number>()
    const watch = async () => {
      while (!isDone) {
        const seen = await readers.history(busy, { tenant, limit: 1_000 })
        const ids = new Set(seen.map(({ delivery }) => delivery as string))
        for (const [id, attempt] of watched) {
          expect(ids, 'a delivery that was shown before').to.include(id)
          expect(seen.find(({ delivery }) => delivery === id)?.attempt).to.be.at.least(attempt)
        }
        for (const { delivery, attempt } of seen) watched.set(delivery, attempt)
      }
    }
    let sent = 0
    const traffic = async () => {
      while (!isDone && sent < 900) {
        for (const delivery of events.routed([busy])) events.attempted(delivery, 'DeliveryFailed')
        sent++
        await events.flush()
      }
    }
    const readersDone = Promise.all([pager(webhook), watch(), traffic()])
    const rebuilt = (async () => {
      for (let round = 0; round < 2; round++) await switched(await rebuild(db.pool, projection))
      await reached()
      isDone = true
    })()
    await Promise.all([rebuilt, readersDone]).finally(() => {
      isDone = true
    })
    await reached()
    expect(pages).to.be.greaterThan(10)
    expect(sent).to.be.greaterThan(0)

    expect(await everything(webhooks)).to.deep.equal(before)
    // Each build has counted every event exactly once, although it got the events around the switch a second time.
    for (const step of [60, 3_600] as const) expect(await storedCounts(db, step)).to.deep.equal(await countHistory(store))
    const scheduled = await schedule()
    expect(scheduled.filter((row) => row.webhook !== busy)).to.deep.equal(owed)
    // Every failure has written exactly one row and was counted exactly once, by one build or the other.
    expect(scheduled.filter((row) => row.webhook === busy)).to.have.length(sent)
    const well = await health()
    expect(well.filter((row) => row.webhook !== busy)).to.deep.equal(failing)
    expect(well.filter((row) => row.webhook === busy).map((row) => row.failures)).to.deep.equal([sent])
    expect(await builds()).to.deep.equal(['delivery_history', 'delivery_history_3'])
  })

  it('is not written to after another build went live, not even by a batch that waited for the switch', async () => {
    const webhook = ulid() as WebhookId
    const written: number[] = []
    const recordingHistoryOf = (build: number) => {
      const history = deliveryLog.historyOf(build)
      return {
        ...history,
        async record(facts: Parameters<typeof history.record>[0]) {
          if (facts.some((fact) => fact.webhook === webhook)) written.push(build)
          await history.record(facts)
        },
      }
    }
    run(over({ ...deliveryLog, historyOf: recordingHistoryOf }))
    await reached()
    const client = await db.pool.connect()
    try {
      await client.query('begin')
      await lockBuilds(client, 'deliveries')
      events.routed([webhook])
      await events.flush()
      await waitFor(
        async () => (await rowsOf(`select from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and not granted`)).length > 0,
      )
      await deliveryLog.makeBuild(2)
      await client.query(`update projections set is_live = false where name = 'deliveries'`)
      await client.query(
        `insert into projections (name, build, version, is_live) select name, 2, version, true from projections where name = 'deliveries'`,
      )
      await client.query('commit')
    } finally {
      client.release()
    }
    await switched(2)
    await waitFor(async () => (await readers.history(webhook, { tenant, limit: 1 })).length === 1)
    expect(new Set(written)).to.deep.equal(new Set([2]))
  })

  it('continues in another runner after the first one ended in the middle of a batch', async () => {
    const webhook = ulid() as WebhookId
    for (let i = 0; i < 3_000; i++) for (const delivery of events.routed([webhook])) happen(delivery, i)
    await events.flush()
    run()
    await reached()
    const before = await everything([webhook])
    const owed = await schedule()
    await Promise.all(running.splice(0).map((runner) => runner.stop()))

    // The runner ends after it has written its third batch, and before it writes the checkpoint.
    let batches = 0
    const dies: Pick<DeliveryLog, 'historyOf' | 'makeBuild' | 'dropBuild'> = {
      ...deliveryLog,
      historyOf: (build) => {
        const history = deliveryLog.historyOf(build)
        return {
          ...history,
          async record(facts) {
            await history.record(facts)
            if (++batches >= 3) throw Object.assign(new Error('gone'), { code: 'ECONNRESET' })
          },
        }
      },
    }
    const build = await rebuild(db.pool, projection)
    const first = run(over(dies))
    await waitFor(() => batches >= 3)
    await first.stop()
    const [, stopped] = await listBuilds(db.pool, 'deliveries')
    expect(stopped).to.include({ build, is_live: false })
    expect(stopped?.checkpoint).to.be.a('string')
    expect((await deliveryLog.historyOf(build).history(webhook, { tenant, limit: 1_000 })).length).to.be.greaterThan(0)
    expect(await everything([webhook])).to.deep.equal(before)

    run()
    await switched(build)
    expect(await everything([webhook])).to.deep.equal(before)
    expect(await storedCounts(db, 60)).to.deep.equal(await countHistory(store))
    expect(await schedule()).to.deep.equal(owed)
  })

  it('keeps the live build running while newer code builds, so that scheduled deliveries do not wait', async () => {
    const webhook = ulid() as WebhookId
    for (let i = 0; i < 50; i++) for (const delivery of events.routed([webhook])) happen(delivery, i)
    await events.flush()
    run()
    await reached()
    await Promise.all(running.splice(0).map((runner) => runner.stop()))

    let isHeld = true
    const heldLog = {
      ...deliveryLog,
      historyOf: (build: number) => {
        const history = deliveryLog.historyOf(build)
        return {
          ...history,
          async record(facts: Parameters<typeof history.record>[0]) {
            if (isHeld && build === 2) throw Object.assign(new Error('not yet'), { code: 'ECONNRESET' })
            await history.record(facts)
          },
        }
      },
    }
    const newer = { ...over(heldLog), version: 2 }
    const runner = run(newer)
    await waitFor(() => runner.status().building?.build === 2)
    const [lateDelivery] = events.routed([webhook])
    events.attempted(lateDelivery!, 'DeliveryFailed')
    await events.flush()
    await waitFor(async () => (await schedule()).some((row) => row.delivery === lateDelivery!.delivery))
    expect((await readers.find(tenant, lateDelivery!.delivery))?.status).to.equal('retrying')
    expect(await live()).to.include({ build: 1, version: 1 })
    isHeld = false
    await switched(2)
    expect(await live()).to.include({ version: 2 })
    expect((await readers.find(tenant, lateDelivery!.delivery))?.status).to.equal('retrying')
  })
})

describe('the live delivery log', () => {
  let db: TestDatabase
  let deliveryLog: PostgresDeliveryLog
  beforeEach(async () => {
    db = await freshDatabase()
    deliveryLog = await createPostgresDeliveryLog({
      pool: db.pool,
      readers: db.readers,
      identity: 'test',
      bus: {},
      log: silentLog,
    })
  })
  afterEach(async () => {
    await deliveryLog.close()
    await db.drop()
  })
  const install = () => installProjections(db.pool, [deliveries(deliveryLog, async () => false)])
  const change = async () => {
    await deliveryLog.makeBuild(2)
    await db.pool.query(
      `update projections set is_live = false; insert into projections (name, build, version, is_live) values ('deliveries', 2, 1, true)`,
    )
    await deliveryLog.dropBuild(1)
  }
  const query = { tenant, limit: 10 }
  const webhook = ulid() as WebhookId
  const failureOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => null,
      (error: unknown) => error,
    )

  it('reads the next build when the present one is dropped during the read', async () => {
    await install()
    const builds: number[] = []
    const log: DeliveryLog = {
      ...deliveryLog,
      historyOf: (build) => ({
        ...deliveryLog.historyOf(build),
        async history(...args) {
          builds.push(build)
          // The change happens after the concurrent query of the live build.
          if (build === 1 && builds.length > 1) await waitFor(async () => (await db.pool.query('select 1')).rowCount === 1).then(change)
          return deliveryLog.historyOf(build).history(...args)
        },
      }),
    }
    const readers = createLiveDeliveryLog({ log, pool: db.pool })
    expect(await readers.history(webhook, query)).to.deep.equal([])
    expect(await readers.history(webhook, query)).to.deep.equal([])
    expect(builds).to.deep.equal([1, 1, 2])
    expect(await readers.history(webhook, query)).to.deep.equal([])
    expect(builds).to.deep.equal([1, 1, 2, 2])
  })
  it('returns the rows of the new build after a switch that it has not seen yet', async () => {
    await install()
    const [ownDelivery, otherDelivery] = [
      createLiveDeliveryLog({ log: deliveryLog, pool: db.pool }),
      createLiveDeliveryLog({ log: deliveryLog, pool: db.pool }),
    ]
    expect(await ownDelivery.history(webhook, query)).to.deep.equal([])
    await change()
    expect(await otherDelivery.states([])).to.deep.equal([])
    expect(await ownDelivery.deadLetters(query)).to.deep.equal([])
  })
  it('throws when the read of the live build fails, or there is no live build', async () => {
    const readers = createLiveDeliveryLog({ log: deliveryLog, pool: db.pool })
    expect(await failureOf(readers.history(webhook, query))).to.match(/has no live build/)
    await install()
    await deliveryLog.dropBuild(1)
    expect(await failureOf(readers.history(webhook, query))).to.include({ code: '42P01' })
  })
})
