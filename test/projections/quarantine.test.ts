import { expect } from 'chai'
import { createPostgresEventStore, type PostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { type Log, silentLog } from '../../src/lib/log.ts'
import { FactRefused } from '../../src/ports/delivery-log.ts'
import { installProjections, listBuilds } from '../../src/projections/builds.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { listQuarantined, retryQuarantined, skipQuarantined } from '../../src/projections/quarantine.ts'
import { type RunningProjection, startProjection } from '../../src/projections/runner.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { type ChangeCursor, changedSince, webhooks } from '../../src/projections/webhooks.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anEvent, aTenant, someEvents } from '../support/event-store-events.ts'
import { everyLease, wholeShare } from '../support/lease-shares.ts'
import { waitFor } from '../support/wait-for.ts'
import { projectionWorld } from './world.ts'

describe('quarantine', () => {
  let db: TestDatabase
  let store: PostgresEventStore
  let leases: LeaseKeeper
  const running: RunningProjection[] = []
  /** Decides for which events `apply` and `prepare` fail. */
  let poison: (event: RecordedEvent) => boolean
  let refused: (event: RecordedEvent) => boolean
  const noted: Projection = {
    name: 'noted',
    version: 1,
    families: ['tenant'],
    tables: 'create table noted (stream text, revision integer, primary key (stream, revision))',
    views: ['noted'],
    async prepare(events) {
      const faultyEvent = events.find(refused)
      if (faultyEvent !== undefined) throw new FactRefused(faultyEvent.id, new Error('too wide'))
    },
    async apply(sql, events) {
      for (const event of events) {
        await sql`insert into noted values (${event.stream}, ${event.revision})`
        // The statement fails in Postgres itself, so that the whole transaction is lost.
        if (poison(event)) await sql`select 1 / 0`
      }
    },
  }
  const never = () => false
  const deps = () => ({ pool: db.pool, store, log: silentLog })
  beforeEach(async () => {
    poison = never
    refused = never
    db = await freshDatabase()
    store = createPostgresEventStore({ pool: db.pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 })
    leases = createLeaseKeeper({ pool: db.pool, owner: 'one', leaseMs: 60_000, onError() {} })
    await installProjections(db.pool, [noted])
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((runner) => runner.stop()))
    await leases.close()
    await store.close()
    await db.drop()
  })
  let failures: number
  const run = (projection = noted, shares = wholeShare(db.pool, leases)): RunningProjection => {
    failures = 0
    const log: Log = { ...silentLog, warn: (_, message) => void (message === 'projection.failed' && failures++) }
    const runner = startProjection({ store, pool: db.pool, shares, progress: createProjectionProgress(), log, refreshMs: 30 }, projection)
    running.push(runner)
    return runner
  }
  const revisions = async (stream: StreamName) =>
    (await db.pool.query<{ revision: number }>('select revision from noted where stream = $1 order by revision', [stream])).rows.map(
      (row) => row.revision,
    )
  const caughtUp = () =>
    waitFor(async () => {
      const head = await store.head(noted.families)
      const live = (await listBuilds(db.pool, 'noted')).find((build) => build.is_live)
      return head !== null && (live?.checkpoint ?? '') >= head
    })
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i)

  it('finds several faulty events in one batch by halving it, and applies all others once', async () => {
    const streams = Array.from({ length: 12 }, aTenant)
    for (const stream of streams) await store.append(stream, someEvents(6), 'any')
    poison = ({ stream, revision }) => streams.indexOf(stream) % 3 === 0 && revision >= 2
    refused = ({ stream, revision }) => streams.indexOf(stream) % 4 === 1 && revision === 1
    run()
    await caughtUp()
    for (const [i, stream] of streams.entries())
      expect(await revisions(stream), `stream ${i}`).to.deep.equal(upTo(i % 4 === 1 ? 1 : i % 3 === 0 ? 2 : 6))
    const quarantinedStreams = await listQuarantined(db.pool)
    expect(quarantinedStreams).to.have.length(6)
    expect(quarantinedStreams.find((row) => row.stream === streams[0])?.error).to.equal('22012: division by zero')
    expect(quarantinedStreams.find((row) => row.stream === streams[1])?.error).to.match(/^fact_refused: /)
  })
  it('is lifted while new events of the stream arrive: every event is applied once and in order', async () => {
    const [faultyStream, otherStream] = [aTenant(), aTenant()]
    poison = ({ stream, revision }) => stream === faultyStream && revision === 0
    await store.append(faultyStream, someEvents(3), 'any')
    run()
    await waitFor(async () => (await listQuarantined(db.pool)).length === 1)
    poison = never
    let isLifted = false
    let count = 3
    const writing = (async () => {
      for (; !isLifted || count < 60; count++) {
        await store.append(faultyStream, [anEvent()], 'any')
        await store.append(otherStream, [anEvent()], 'any')
      }
    })()
    await waitFor(() => count > 20)
    expect(await retryQuarantined(deps(), noted, faultyStream)).to.deep.equal({ lifted: true })
    isLifted = true
    await writing
    await caughtUp()
    expect(await revisions(faultyStream)).to.deep.equal(upTo(count))
    expect(await revisions(otherStream)).to.deep.equal(upTo(count - 3))
    expect(await listQuarantined(db.pool)).to.deep.equal([])
  })
  it('applies a long stream in parts, stops at the next faulty event, and keeps the events before it', async () => {
    const faultyStream = aTenant()
    poison = ({ revision }) => revision === 1
    for (let i = 0; i < 6; i++) await store.append(faultyStream, someEvents(200), 'any')
    run()
    await caughtUp()
    expect(await revisions(faultyStream)).to.deep.equal([0])
    poison = ({ revision }) => revision === 1_100
    refused = ({ revision }) => revision === 1_150
    expect(await retryQuarantined(deps(), noted, faultyStream)).to.include({
      lifted: false,
      revision: 1_100,
      error: '22012: division by zero',
    })
    expect(await revisions(faultyStream)).to.deep.equal(upTo(1_100))
    expect(await listQuarantined(db.pool)).to.have.length(1)
    // The skipped event was never applied. The next faulty event quarantines the stream again.
    expect(await skipQuarantined(deps(), noted, faultyStream)).to.include({ lifted: false, revision: 1_150 })
    expect(await skipQuarantined(deps(), noted, faultyStream)).to.deep.equal({ lifted: true })
    expect(await revisions(faultyStream)).to.deep.equal(upTo(1_200).filter((revision) => revision !== 1_100 && revision !== 1_150))
  })
  it('is lifted without the events that do not concern the projection', async () => {
    const faultyStream = aTenant()
    const even: Projection = { ...noted, concerns: ({ revision }) => revision % 2 === 0 }
    poison = ({ revision }) => revision === 2
    await store.append(faultyStream, someEvents(6), 'any')
    run(even)
    await waitFor(async () => (await listQuarantined(db.pool)).length === 1)
    expect(await revisions(faultyStream)).to.deep.equal([0])
    poison = never
    expect(await retryQuarantined(deps(), even, faultyStream)).to.deep.equal({ lifted: true })
    expect(await revisions(faultyStream)).to.deep.equal([0, 2, 4])
  })
  it('cannot be lifted for a stream that is not quarantined', async () => {
    run()
    expect(await retryQuarantined(deps(), noted, aTenant()).catch(codeOf)).to.equal('not_quarantined')
  })
  it('concerns one projection, and others still apply the stream', async () => {
    const faultyStream = aTenant()
    poison = () => true
    await store.append(faultyStream, [anEvent()], 'any')
    const other: Projection = {
      name: 'also',
      version: 1,
      families: ['tenant'],
      tables: 'create table also (n integer)',
      views: ['also'],
      apply: async (sql) => void (await sql`insert into also values (1)`),
    }
    await installProjections(db.pool, [other])
    run()
    const second = startProjection(
      { store, pool: db.pool, shares: wholeShare(db.pool, leases), progress: createProjectionProgress(), log: silentLog, refreshMs: 30 },
      other,
    )
    running.push(second)
    await waitFor(async () => (await listQuarantined(db.pool)).length === 1)
    await waitFor(async () => (await db.pool.query('select * from also')).rows.length === 1)
    expect((await listQuarantined(db.pool)).map((row) => row.projection)).to.deep.equal(['noted'])
  })

  it('finds an event that only a deferred constraint refuses, instead of failing at the commit', async () => {
    const deferring: Projection = {
      name: 'deferring',
      version: 1,
      families: ['tenant'],
      tables: 'create table deferring (stream text, n integer unique deferrable initially deferred)',
      views: ['deferring'],
      async apply(sql, events) {
        for (const event of events) await sql`insert into deferring values (${event.stream}, ${event.revision})`
      },
    }
    await installProjections(db.pool, [deferring])
    const [first, second] = [aTenant(), aTenant()]
    await store.append(first, [anEvent()], 'any')
    await store.append(second, [anEvent()], 'any')
    running.push(
      startProjection(
        { store, pool: db.pool, shares: wholeShare(db.pool, leases), progress: createProjectionProgress(), log: silentLog, refreshMs: 30 },
        deferring,
      ),
    )
    await waitFor(async () => (await listQuarantined(db.pool)).length === 1)
    expect((await listQuarantined(db.pool))[0]?.stream).to.equal(second)
    expect((await db.pool.query('select stream from deferring')).rows).to.deep.equal([{ stream: first }])
  })

  it('is not caused by a connection that Postgres ends, and no event is lost or applied twice', async () => {
    const streams = Array.from({ length: 4 }, aTenant)
    let isDone = false
    run()
    const killing = (async () => {
      while (!isDone)
        await db.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid() and (query like '%noted%' or state = 'idle in transaction')`,
        )
    })()
    await waitFor(async () => {
      await Promise.all(streams.map(untilStored))
      return failures >= 5
    })
    isDone = true
    await killing
    await caughtUp()
    for (const stream of streams) expect(await revisions(stream)).to.deep.equal(upTo((await store.read(stream)).length))
    expect(await listQuarantined(db.pool)).to.deep.equal([])
  })
  const untilStored = async (stream: StreamName) => {
    const events = [anEvent()]
    for (;;)
      try {
        return await store.append(stream, events, 'any')
      } catch (error) {
        if (codeOf(error) !== 'store_unavailable') throw error
      }
  }
  it('does not depend on the lease: two runners that both act as its owner write every event once', async () => {
    const streams = Array.from({ length: 4 }, aTenant)
    run(noted, everyLease)
    run(noted, everyLease)
    for (let i = 0; i < 30; i++) await Promise.all(streams.map((stream) => store.append(stream, [anEvent()], 'any')))
    await caughtUp()
    for (const stream of streams) expect(await revisions(stream)).to.deep.equal(upTo(30))
    expect(await listQuarantined(db.pool)).to.deep.equal([])
  })
  it('continues as soon as the lease of a dead process expires', async () => {
    await db.pool.query(`insert into leases values ('projection/noted/1', 'dead', clock_timestamp() + interval '1 hour')`)
    const stream = aTenant()
    await store.append(stream, [anEvent()], 'any')
    const runner = run()
    await waitFor(() => runner.status().checkpoint === null && runner.status().state === 'waiting')
    expect(await revisions(stream)).to.deep.equal([])
    await db.pool.query('update leases set until = clock_timestamp()')
    await waitFor(async () => (await revisions(stream)).length === 1, { within: 5_000 })
    await waitFor(() => runner.status().state === 'running')
    expect(runner.status()).to.include({ lagSeconds: 0, quarantined: 0, error: null, building: null })
  })
})

describe('a webhook whose stream was quarantined', () => {
  it('is shown to a reader of changes when the quarantine is lifted, although its events are before the checkpoint', async () => {
    const world = await projectionWorld()
    try {
      const { pool } = world.db
      const tenant = await world.newTenant()
      const { id } = await world.newWebhook(tenant)
      // The next event of the stream is faulty, because its value does not fit the column.
      const schema = 'projection_webhooks_1'
      await pool.query(`alter table ${schema}.webhook_subscriptions add constraint no_x check (event <> 'x')`)
      const changing = world.webhook(tenant, id, { type: 'ChangeWebhook', event: 'x' }).catch((error: Error) => error.message)
      expect(await changing).to.contain('did not get')
      const other = await world.newWebhook(tenant)
      const { cursor, webhooks: all } = await changedSince(pool, null)
      expect(all.find((webhook) => webhook.id === id)).to.include({ event: 'order.created' })
      expect(all.some((webhook) => webhook.id === other.id)).to.equal(true)
      const changes = async (since: ChangeCursor) => (await changedSince(pool, since)).webhooks.map((one) => `${one.id} ${one.event}`)
      expect(await changes(cursor)).to.deep.equal([])
      await pool.query(`alter table ${schema}.webhook_subscriptions drop constraint no_x`)
      expect(await retryQuarantined({ pool, store: world.store, log: silentLog }, webhooks, `webhook-${id}`)).to.deep.equal({
        lifted: true,
      })
      expect(await changes(cursor)).to.include(`${id} x`)
    } finally {
      await world.stop()
    }
  })
})
