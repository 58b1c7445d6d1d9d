import { expect } from 'chai'
import { createPostgresEventStore, type PostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { Sql } from '../../src/lib/sql.ts'
import { installProjections, listBuilds, rebuild } from '../../src/projections/builds.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { listQuarantined, retryQuarantined, skipQuarantined } from '../../src/projections/quarantine.ts'
import { type RunningProjection, startProjection } from '../../src/projections/runner.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anEvent, aTenant } from '../support/event-store-events.ts'
import { wholeShare } from '../support/lease-shares.ts'
import { machineTimeOf } from '../support/patience.ts'
import { waitFor } from '../support/wait-for.ts'

const aMinute = 60_000

/** A projection that records its events in order. `onApply` can make it fail for some events. */
const recordingProjection = (more: Partial<Projection> & { onApply?(event: RecordedEvent): void; mark?: string } = {}): Projection => {
  const { onApply = () => {}, mark = '', ...rest } = more
  return {
    name: 'kept',
    version: 1,
    families: ['tenant'],
    tables: 'create table kept (position text primary key, stream text not null, revision integer not null, mark text not null)',
    views: ['kept'],
    async apply(sql: Sql, events) {
      for (const event of events) {
        onApply(event)
        await sql`insert into kept (position, stream, revision, mark) values (${event.position}, ${event.stream}, ${event.revision}, ${mark})`
      }
    },
    ...rest,
  }
}
const withCode = (code: string) => Object.assign(new Error(`an error of code ${code}`), { code })

describe('the projection runner', () => {
  let db: TestDatabase
  let store: PostgresEventStore
  let leases: LeaseKeeper
  let running: RunningProjection[]
  const progress = createProjectionProgress()

  beforeEach(async () => {
    db = await freshDatabase()
    store = createPostgresEventStore({ pool: db.pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 })
    leases = createLeaseKeeper({ pool: db.pool, owner: 'one', leaseMs: 60_000, onError: () => {} })
    running = []
  })
  afterEach(async () => {
    await Promise.all(running.map((runner) => runner.stop()))
    await leases.close()
    await store.close()
    await db.drop()
  })
  const run = async (projection: Projection, keeper = leases) => {
    await installProjections(db.pool, [projection])
    const runner = startProjection(
      { store, pool: db.pool, shares: wholeShare(db.pool, keeper), progress, log: silentLog, refreshMs: 50, batchSize: 10 },
      projection,
    )
    running.push(runner)
    return runner
  }
  const append = async (stream: StreamName, count: number): Promise<Checkpoint> => {
    let position = '' as Checkpoint
    for (let i = 0; i < count; i++) position = (await store.append(stream, [anEvent()], 'any')).position
    return position
  }
  const revisions = async (stream: StreamName) =>
    (await db.pool.query<{ revision: number }>('select revision from kept where stream = $1 order by position', [stream])).rows.map(
      (r) => r.revision,
    )
  const reached = (position: Checkpoint) =>
    waitFor(async () => ((await listBuilds(db.pool, 'kept')).find((b) => b.is_live)?.checkpoint ?? '') >= position, {
      what: 'the checkpoint',
    })
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i)

  it('applies gathered events at once when an event comes while a caller waits', async () => {
    await run(recordingProjection({ gathering: { ms: aMinute, urgentMs: 0, isUrgent: () => false } }))
    const position = await append(aTenant(), 1)
    const waiting = createProjectionWaiter({ pool: db.pool, progress }).waitFor('kept', position, aMinute)
    await waitFor(() => progress.isAwaited('kept'))
    await append(aTenant(), 1)
    expect(await waiting).to.equal(true)
    expect(progress.isAwaited('kept')).to.equal(false)
  })
  it('applies every event of the families once, in order, across batches and restarts', async () => {
    const [a, b] = [aTenant(), aTenant()]
    const first = await run(recordingProjection())
    await Promise.all([append(a, 25), append(b, 25)])
    await waitFor(async () => (await revisions(a)).length === 25)
    await first.stop()
    await append(a, 7)
    await run(recordingProjection())
    await waitFor(async () => (await revisions(a)).length === 32)
    expect(await revisions(a)).to.deep.equal(upTo(32))
    expect(await revisions(b)).to.deep.equal(upTo(25))
  })
  it('writes rows and checkpoint together or not at all: a batch that fails leaves nothing, and is applied again', async () => {
    const stream = aTenant()
    let failures = 2
    await append(stream, 5)
    await run(
      recordingProjection({
        onApply: ({ revision }) => {
          if (revision === 3 && failures-- > 0) throw withCode('40001')
        },
      }),
    )
    await waitFor(async () => (await revisions(stream)).length === 5)
    expect(failures).to.equal(-1)
    expect(await listQuarantined(db.pool)).to.deep.equal([])
  })
  it('retries for ever when the engine fails', async () => {
    const stream = aTenant()
    let failures = 5
    const runner = await run(
      recordingProjection({
        onApply: () => {
          if (failures-- > 0) throw withCode('57P01')
        },
      }),
    )
    await append(stream, 1)
    await waitFor(() => runner.status().state === 'failed')
    await waitFor(async () => (await revisions(stream)).length === 1)
    await waitFor(() => runner.status().state === 'running')
    expect(await listQuarantined(db.pool)).to.deep.equal([])
  })

  describe('when an event is faulty', () => {
    const [goodStream, badStream] = [aTenant(), aTenant()]
    let choke: boolean
    let tries: number
    const choking = () =>
      recordingProjection({
        onApply: ({ stream, revision }) => {
          if (!choke || stream !== badStream || revision !== 1) return
          tries++
          throw new Error('this one is poison\u0000')
        },
      })
    beforeEach(async () => {
      choke = true
      tries = 0
      const runner = await run(choking())
      await append(goodStream, 2)
      await append(badStream, 4)
      await reached(await append(goodStream, 3))
      await waitFor(() => runner.status().quarantined === 1)
    })
    it('quarantines its stream visibly after three tries, and continues with all others', async () => {
      expect(tries).to.be.at.least(3)
      expect(await revisions(goodStream)).to.deep.equal(upTo(5))
      expect(await revisions(badStream)).to.deep.equal([0])
      const [quarantinedStream] = await listQuarantined(db.pool)
      expect(quarantinedStream).to.deep.include({ projection: 'kept', stream: badStream, revision: 1, error: 'error: this one is poison' })
    })
    it('keeps later events of the stream waiting, even after a restart', async () => {
      await Promise.all(running.splice(0).map((runner) => runner.stop()))
      await run(choking())
      await append(badStream, 2)
      await reached(await append(goodStream, 1))
      expect(await revisions(badStream)).to.deep.equal([0])
    })
    it('applies all events when an operator retries after the cause was fixed', async () => {
      choke = false
      expect(await retryQuarantined({ pool: db.pool, store, log: silentLog }, choking(), badStream)).to.deep.equal({ lifted: true })
      await append(badStream, 1)
      await waitFor(async () => (await revisions(badStream)).length === 5)
      expect(await revisions(badStream)).to.deep.equal(upTo(5))
      expect(await listQuarantined(db.pool)).to.deep.equal([])
    })
    it('keeps the quarantine when the cause is still there', async () => {
      const result = await retryQuarantined({ pool: db.pool, store, log: silentLog }, choking(), badStream)
      expect(result).to.deep.include({ lifted: false, revision: 1 })
      expect(await listQuarantined(db.pool)).to.have.length(1)
    })
    it('continues without the event when an operator skips it', async () => {
      expect(await skipQuarantined({ pool: db.pool, store, log: silentLog }, choking(), badStream)).to.deep.equal({ lifted: true })
      await append(badStream, 1)
      await waitFor(async () => (await revisions(badStream)).length === 4)
      expect(await revisions(badStream)).to.deep.equal([0, 2, 3, 4])
    })
    it('makes a wait for that stream fail at once, and lets other waits succeed', async () => {
      const waiter = createProjectionWaiter({ pool: db.pool, progress })
      const position = await append(badStream, 1)
      const tookMs = await machineTimeOf(async () => expect(await waiter.waitFor('kept', position, aMinute, badStream)).to.equal(false))
      expect(tookMs).to.be.lessThan(5_000)
      expect(await waiter.waitFor('kept', await append(goodStream, 1), aMinute, goodStream)).to.equal(true)
    })
  })

  it('quarantines an event that another store refuses in prepare', async () => {
    const [goodStream, badStream] = [aTenant(), aTenant()]
    await run(
      recordingProjection({
        async prepare(events) {
          if (events.some((event) => event.stream === badStream)) throw new TypeError('it has no such field')
        },
      }),
    )
    await append(badStream, 1)
    await append(goodStream, 3)
    await waitFor(async () => (await revisions(goodStream)).length === 3)
    expect((await listQuarantined(db.pool)).map((q) => q.stream)).to.deep.equal([badStream])
  })
  it('runs in one process at a time; another process takes over when that process ends or dies', async () => {
    const stream = aTenant()
    const other = createLeaseKeeper({ pool: db.pool, owner: 'two', leaseMs: 60_000, onError: () => {} })
    const first = await run(recordingProjection({ mark: 'first' }))
    await append(stream, 1)
    await waitFor(async () => (await revisions(stream)).length === 1)
    const second = await run(recordingProjection({ mark: 'second' }), other)
    await append(stream, 10)
    await waitFor(async () => (await revisions(stream)).length === 11)
    expect(second.status().state).to.equal('waiting')
    await first.stop()
    await append(stream, 1)
    await waitFor(async () => (await revisions(stream)).length === 12)
    const { rows } = await db.pool.query<{ mark: string }>('select mark from kept order by position')
    expect(rows.map((r) => r.mark)).to.deep.equal([...Array(11).fill('first'), 'second'])
    running = running.filter((runner) => runner !== second)
    await second.stop()
    await other.close()
  })
  it('writes nothing when another process has moved the checkpoint', async () => {
    const stream = aTenant()
    let hasMoved = false
    await run(
      recordingProjection({
        async prepare() {
          if (hasMoved) return
          // The update simulates another runner that took over while this one was frozen, and has applied the events up to here.
          await db.pool.query("update projections set checkpoint = $1 where name = 'kept'", [await store.head(['tenant'])])
          hasMoved = true
        },
      }),
    )
    await append(stream, 1)
    await waitFor(() => hasMoved)
    await append(stream, 1)
    await waitFor(async () => (await revisions(stream)).length === 1)
    expect(await revisions(stream)).to.deep.equal([1])
  })

  it('builds a new version beside the old one, and switches readers when it has caught up', async () => {
    const stream = aTenant()
    await append(stream, 30)
    const old = await run(recordingProjection({ mark: 'old' }))
    await waitFor(async () => (await revisions(stream)).length === 30)
    await old.stop()
    running = []
    let release = () => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    await run(
      recordingProjection({
        version: 2,
        mark: 'new',
        async prepare() {
          await released
        },
      }),
    )
    const marks = async () => [...new Set((await db.pool.query<{ mark: string }>('select mark from kept')).rows.map((r) => r.mark))]
    await waitFor(async () => (await listBuilds(db.pool, 'kept')).length === 2)
    expect(await marks()).to.deep.equal(['old'])
    release()
    await waitFor(async () => (await marks())[0] === 'new')
    expect(await revisions(stream)).to.deep.equal(upTo(30))
    await waitFor(async () => (await listBuilds(db.pool, 'kept')).length === 1)
  })
  it('is rebuilt without failing a read, and no read shows less than before', async () => {
    const stream = aTenant()
    const projection = recordingProjection()
    await append(stream, 40)
    await run(projection)
    await waitFor(async () => (await revisions(stream)).length === 40)
    let reading = true
    let least = Number.POSITIVE_INFINITY
    const reader = (async () => {
      let reads = 0
      for (; reading; reads++) least = Math.min(least, (await revisions(stream)).length)
      return reads
    })()
    const build = await rebuild(db.pool, projection)
    await waitFor(async () => (await listBuilds(db.pool, 'kept')).some((b) => b.build === build && b.is_live))
    await append(stream, 1)
    await waitFor(async () => (await revisions(stream)).length === 41)
    reading = false
    expect(await reader).to.be.greaterThan(5)
    expect(least).to.equal(40)
  })

  it('gives a process manager only the events that concern it', async () => {
    const stream = aTenant()
    const batchSizes: number[] = []
    await run({
      name: 'manager',
      version: 1,
      families: ['tenant'],
      concerns: ({ revision }) => revision % 10 === 9,
      async prepare(events) {
        batchSizes.push(...events.map(({ revision }) => revision))
      },
      async apply() {},
    })
    await append(stream, 30)
    await waitFor(() => batchSizes.length === 3)
    expect(batchSizes).to.deep.equal([9, 19, 29])
  })

  describe('waiting for a position', () => {
    it('ends when the position is reached, in this process and in another', async () => {
      await run(recordingProjection())
      const localWaiter = createProjectionWaiter({ pool: db.pool, progress })
      const elsewhere = createProjectionWaiter({ pool: db.pool, progress: createProjectionProgress() })
      const position = await append(aTenant(), 1)
      expect(await Promise.all([localWaiter, elsewhere].map((waiter) => waiter.waitFor('kept', position, aMinute)))).to.deep.equal([
        true,
        true,
      ])
    })
    it('returns false when the time is up', async () => {
      await installProjections(db.pool, [recordingProjection()])
      expect(
        await createProjectionWaiter({ pool: db.pool, progress: createProjectionProgress() }).waitFor(
          'kept',
          '9'.repeat(19) as Checkpoint,
          30,
        ),
      ).to.equal(false)
    })
  })
})
