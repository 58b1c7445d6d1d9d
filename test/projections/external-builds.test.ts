import { expect } from 'chai'
import type { EventId } from '../../src/events/ids.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import { dropSuperseded, installProjections, listBuilds, rebuild } from '../../src/projections/builds.ts'
import { goLive } from '../../src/projections/go-live.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { listQuarantined, retryQuarantined } from '../../src/projections/quarantine.ts'
import { type RunningProjection, startProjection } from '../../src/projections/runner.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aTenant, someEvents } from '../support/event-store-events.ts'
import { wholeShare } from '../support/lease-shares.ts'
import { type MemoryEventStore, memoryEventStore } from '../support/memory-event-store.ts'
import { waitFor } from '../support/wait-for.ts'

describe('builds of a projection whose rows are in another store', () => {
  let db: TestDatabase
  let store: MemoryEventStore
  let leases: LeaseKeeper
  let rowsOf: Map<number, Set<EventId>>
  /** The applied events, each with the build to which it was applied. */
  let applied: [EventId, number][]
  const running: RunningProjection[] = []
  const projection: Projection = {
    name: 'elsewhere',
    version: 1,
    families: ['tenant'],
    externalBuilds: {
      async create(build) {
        if (!rowsOf.has(build)) rowsOf.set(build, new Set())
      },
      async drop(build) {
        rowsOf.delete(build)
      },
    },
    async prepare(events, { build }) {
      for (const event of events) rowsOf.get(build)!.add(event.id)
    },
    async apply(_, events, { build, is_live }) {
      if (is_live) for (const event of events) applied.push([event.id, build])
    },
  }
  const run = (started = projection, source: Pick<MemoryEventStore, 'subscribe' | 'head'> = store) => {
    const deps = {
      store: source,
      pool: db.pool,
      shares: wholeShare(db.pool, leases),
      progress: createProjectionProgress(),
      log: silentLog,
      refreshMs: 20,
    }
    running.push(startProjection(deps, started))
  }
  const append = async (count: number): Promise<EventId[]> => {
    const events = someEvents(count)
    await store.append(aTenant(), events, 'any')
    return events.map(({ id }) => id)
  }
  const builds = async () =>
    (await listBuilds(db.pool, 'elsewhere')).map(({ build, is_live, checkpoint }) => ({
      build,
      is_live,
      checkpoint: Number(checkpoint ?? -1),
    }))
  beforeEach(async () => {
    db = await freshDatabase()
    store = memoryEventStore()
    leases = createLeaseKeeper({ pool: db.pool, owner: 'one', leaseMs: 60_000, onError() {} })
    rowsOf = new Map()
    applied = []
    await installProjections(db.pool, [projection])
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((runner) => runner.stop()))
    await leases.close()
    await db.drop()
  })

  it('have external rows that are created and dropped with them, also for a new version', async () => {
    expect(await rebuild(db.pool, projection)).to.equal(2)
    await installProjections(db.pool, [{ ...projection, version: 2 }])
    expect([...rowsOf.keys()]).to.deep.equal([1, 2, 3])
    await goLive(db.pool, projection, 2, async () => true)
    // A crash between the drop of the external rows and the drop of the build's own row would leave this state.
    await projection.externalBuilds?.drop(1)
    expect(await dropSuperseded(db.pool, projection)).to.deep.equal([1])
    expect([...rowsOf.keys()]).to.deep.equal([2, 3])
    expect((await builds()).map(({ build }) => build)).to.deep.equal([2, 3])
  })

  it('apply each event once, to the live build', async () => {
    run()
    const ids = await append(20)
    await waitFor(() => applied.length === 20)
    for (const build of [2, 3]) {
      expect(await rebuild(db.pool, projection)).to.equal(build)
      ids.push(...(await append(5)))
      await waitFor(async () => (await builds()).some((candidate) => candidate.build === build && candidate.is_live))
      ids.push(...(await append(5)))
      await waitFor(() => applied.length >= ids.length)
    }
    expect(applied.map(([id]) => id)).to.deep.equal(ids)
    expect([...rowsOf.get(3)!]).to.deep.equal(ids)
    await waitFor(() => rowsOf.size === 1)
  })

  it('go live at the checkpoint of the former live build, even if they are ahead of it, and have all events that were appended before', async () => {
    const ids = await append(6)
    await db.pool.query(`update projections set checkpoint = $1`, [store.events[2]!.position])
    await rebuild(db.pool, projection)
    // The second query of the head belongs to the switch. An event is appended before it.
    let headQueries = 0
    const lateIds: EventId[] = []
    let beforeLive: EventId[] = []
    const watched: Pick<MemoryEventStore, 'subscribe' | 'head'> = {
      subscribe: (options) => store.subscribe(options),
      async head(families) {
        if (++headQueries === 2) lateIds.push(...(await append(1)))
        return store.head(families)
      },
    }
    const noting: Projection = {
      ...projection,
      async apply(sql, events, context) {
        if (context.is_live && beforeLive.length === 0) beforeLive = [...rowsOf.get(context.build)!]
        await projection.apply(sql, events, context)
      },
    }
    // Another process has the lease for the live build, so that build does not move.
    await db.pool.query(`insert into leases values ('projection/elsewhere/1', 'another', clock_timestamp() + interval '1 min')`)
    run(noting, watched)
    await waitFor(() => applied.length >= 4)
    expect(lateIds).to.have.length(1)
    expect(beforeLive).to.include.members([...ids, ...lateIds])
    expect(applied).to.deep.equal([...ids.slice(3), ...lateIds].map((id) => [id, 2]))
  })

  it('write nothing to the external rows of the live build while another build takes its place', async () => {
    run()
    const [first] = await append(1)
    await waitFor(() => applied.length === 1)
    await rebuild(db.pool, projection)
    await Promise.all(running.splice(0).map((runner) => runner.stop()))
    let duringSwitch: EventId | undefined
    const is_live = await goLive(db.pool, projection, 2, async (to) => {
      run()
      ;[duringSwitch] = await append(1)
      // The query finds the waiting runner of the live build. The other runner may wait too, but for a lock of another mode.
      const waiting = `select 1 from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and not granted`
      await waitFor(async () => (await db.pool.query(waiting)).rowCount === 1)
      expect([...rowsOf.get(1)!]).to.deep.equal([first])
      await db.pool.query('update projections set checkpoint = $1 where build = 2', [to])
      return true
    })
    expect(is_live).to.equal(true)
    await waitFor(() => applied.some(([id]) => id === duringSwitch))
    expect(applied).to.deep.equal([
      [first, 1],
      [duringSwitch, 2],
    ])
  })

  it('take over the quarantined streams of the former live build, because their effects are still missing', async () => {
    let isPoison = true
    const choosy: Projection = {
      ...projection,
      async prepare(events, context) {
        if (isPoison && context.build === 1 && events.some((event) => event.stream === quarantinedStream)) throw new TypeError('poison')
        await projection.prepare?.(events, context)
      },
    }
    const quarantinedStream = aTenant()
    run(choosy)
    await store.append(quarantinedStream, someEvents(3), 'any')
    const otherIds = await append(2)
    await waitFor(async () => (await listQuarantined(db.pool)).length === 1)
    await waitFor(() => applied.length === 2)
    await rebuild(db.pool, choosy)
    await waitFor(async () => (await builds()).length === 1 && (await builds())[0]?.build === 2)
    expect((await listQuarantined(db.pool))[0]).to.include({ build: 2, stream: quarantinedStream, revision: 0 })
    expect(rowsOf.get(2)!.size).to.equal(5)
    expect(applied.map(([id]) => id)).to.deep.equal(otherIds)
    isPoison = false
    expect(await retryQuarantined({ pool: db.pool, store, log: silentLog }, choosy, quarantinedStream)).to.deep.equal({ lifted: true })
    expect(applied).to.have.length(5)
  })

  it('are not started when their external rows cannot be created', async () => {
    const broken: Projection = {
      ...projection,
      externalBuilds: {
        ...projection.externalBuilds!,
        create: async () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOSPC' })),
      },
    }
    expect(await rebuild(db.pool, broken).then(() => null, codeOf)).to.equal('ENOSPC')
    expect((await builds()).map(({ build }) => build)).to.deep.equal([1])
  })
})
