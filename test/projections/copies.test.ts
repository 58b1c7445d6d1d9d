import { expect } from 'chai'
import type { EventId } from '../../src/events/ids.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import { dropSuperseded, installProjections, listBuilds, rebuild } from '../../src/projections/builds.ts'
import { goLive } from '../../src/projections/go-live.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { listQuarantined, retryQuarantined } from '../../src/projections/quarantine.ts'
import { type RunningProjection, runProjection } from '../../src/projections/runner.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aTenant, someEvents } from '../support/event-store-events.ts'
import { type MemoryEventStore, memoryEventStore } from '../support/memory-event-store.ts'
import { waitFor } from '../support/wait-for.ts'

describe('builds of a projection whose rows stand elsewhere', () => {
  let db: TestDatabase
  let store: MemoryEventStore
  let leases: LeaseKeeper
  let copies: Map<number, Set<EventId>>
  /** What each event made happen, by the build that it was applied to. */
  let applied: [EventId, number][]
  const running: RunningProjection[] = []
  const projection: Projection = {
    name: 'elsewhere',
    version: 1,
    families: ['tenant'],
    copies: {
      async make(build) {
        if (!copies.has(build)) copies.set(build, new Set())
      },
      async drop(build) {
        copies.delete(build)
      },
    },
    async prepare(events, { build }) {
      for (const event of events) copies.get(build)!.add(event.id)
    },
    async apply(_, events, { build, is_live }) {
      if (is_live) for (const event of events) applied.push([event.id, build])
    },
  }
  const run = (what = projection, on: Pick<MemoryEventStore, 'subscribe' | 'head'> = store) => {
    const deps = { store: on, pool: db.pool, leases, progress: createProjectionProgress(), log: silentLog, lookMs: 20 }
    running.push(runProjection(deps, what))
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
    copies = new Map()
    applied = []
    await installProjections(db.pool, [projection])
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()))
    await leases.close()
    await db.drop()
  })

  it('have a copy each, made with them and dropped with them, and a new version is one', async () => {
    expect(await rebuild(db.pool, projection)).to.equal(2)
    await installProjections(db.pool, [{ ...projection, version: 2 }])
    expect([...copies.keys()]).to.deep.equal([1, 2, 3])
    await goLive(db.pool, projection, 2, async () => true)
    // As after a crash between the copy and the row.
    await projection.copies?.drop(1)
    expect(await dropSuperseded(db.pool, projection)).to.deep.equal([1])
    expect([...copies.keys()]).to.deep.equal([2, 3])
    expect((await builds()).map(({ build }) => build)).to.deep.equal([2, 3])
  })

  it('apply each event once, to whichever is live', async () => {
    run()
    const ids = await append(20)
    await waitFor(() => applied.length === 20)
    for (const build of [2, 3]) {
      expect(await rebuild(db.pool, projection)).to.equal(build)
      ids.push(...(await append(5)))
      await waitFor(async () => (await builds()).some((one) => one.build === build && one.is_live))
      ids.push(...(await append(5)))
      await waitFor(() => applied.length >= ids.length)
    }
    expect(applied.map(([id]) => id)).to.deep.equal(ids)
    expect([...copies.get(3)!]).to.deep.equal(ids)
    await waitFor(() => copies.size === 1)
  })

  it('go live where the live one stands, however far ahead they are, and have all that was appended by then', async () => {
    const ids = await append(6)
    await db.pool.query(`update projections set checkpoint = $1`, [store.events[2]!.position])
    await rebuild(db.pool, projection)
    // Of two looks at the head the second is that of the switch: meanwhile something has come.
    let looks = 0
    const late: EventId[] = []
    let beforeLive: EventId[] = []
    const watched: Pick<MemoryEventStore, 'subscribe' | 'head'> = {
      subscribe: (options) => store.subscribe(options),
      async head(families) {
        if (++looks === 2) late.push(...(await append(1)))
        return store.head(families)
      },
    }
    const noting: Projection = {
      ...projection,
      async apply(sql, events, of) {
        if (of.is_live && beforeLive.length === 0) beforeLive = [...copies.get(of.build)!]
        await projection.apply(sql, events, of)
      },
    }
    // Nobody runs the live one: it is left as it stands.
    await db.pool.query(`insert into leases values ('projection/elsewhere/1', 'another', clock_timestamp() + interval '1 min')`)
    run(noting, watched)
    await waitFor(() => applied.length >= 4)
    expect(late).to.have.length(1)
    expect(beforeLive).to.include.members([...ids, ...late])
    expect(applied).to.deep.equal([...ids.slice(3), ...late].map((id) => [id, 2]))
  })

  it('write nothing more to the live copy while another takes its place', async () => {
    run()
    const [first] = await append(1)
    await waitFor(() => applied.length === 1)
    await rebuild(db.pool, projection)
    await Promise.all(running.splice(0).map((one) => one.stop()))
    let held: EventId | undefined
    const is_live = await goLive(db.pool, projection, 2, async (to) => {
      run()
      ;[held] = await append(1)
      // The live one: the other may wait for its turn to take the live one's place, which is another lock.
      const waiting = `select 1 from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and not granted`
      await waitFor(async () => (await db.pool.query(waiting)).rowCount === 1)
      expect([...copies.get(1)!]).to.deep.equal([first])
      await db.pool.query('update projections set checkpoint = $1 where build = 2', [to])
      return true
    })
    expect(is_live).to.equal(true)
    await waitFor(() => applied.some(([id]) => id === held))
    expect(applied).to.deep.equal([
      [first, 1],
      [held, 2],
    ])
  })

  it('inherit what the live one has set aside, since it is still to happen', async () => {
    let isPoison = true
    const choosy: Projection = {
      ...projection,
      async prepare(events, of) {
        if (isPoison && of.build === 1 && events.some((event) => event.stream === held)) throw new TypeError('poison')
        await projection.prepare?.(events, of)
      },
    }
    const held = aTenant()
    run(choosy)
    await store.append(held, someEvents(3), 'any')
    const others = await append(2)
    await waitFor(async () => (await listQuarantined(db.pool)).length === 1)
    await waitFor(() => applied.length === 2)
    await rebuild(db.pool, choosy)
    await waitFor(async () => (await builds()).length === 1 && (await builds())[0]?.build === 2)
    expect((await listQuarantined(db.pool))[0]).to.include({ build: 2, stream: held, revision: 0 })
    expect(copies.get(2)!.size).to.equal(5)
    expect(applied.map(([id]) => id)).to.deep.equal(others)
    isPoison = false
    expect(await retryQuarantined({ pool: db.pool, store, log: silentLog }, choosy, held)).to.deep.equal({ lifted: true })
    expect(applied).to.have.length(5)
  })

  it('that cannot be made are not begun', async () => {
    const broken: Projection = {
      ...projection,
      copies: { ...projection.copies!, make: async () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOSPC' })) },
    }
    expect(await rebuild(db.pool, broken).then(() => null, codeOf)).to.equal('ENOSPC')
    expect((await builds()).map(({ build }) => build)).to.deep.equal([1])
  })
})
