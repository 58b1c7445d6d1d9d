import { expect } from 'chai'
import type { Pool } from 'pg'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

const checkpointAt = (position: number) => String(position).padStart(20, '0') as Checkpoint
const quarantined = 'tenant-quarantined' as StreamName
const quarantinedInNewBuild = 'tenant-new-build' as StreamName
const aMinute = 60_000

describe('waiting for a projection', () => {
  let db: TestDatabase
  let queries: number
  let pool: Pool
  before(async () => {
    db = await freshDatabase()
    pool = new Proxy(db.pool, {
      get(target, name) {
        if (name === 'query') queries++
        return Reflect.get(target, name).bind(target)
      },
    })
  })
  after(() => db.drop())
  beforeEach(async () => {
    queries = 0
    await db.pool.query('truncate projections, quarantined_streams')
    await db.pool.query(
      `insert into projections (name, build, version, checkpoint, is_live) values ('shown', 2, 1, $1, true), ('shown', 3, 1, $2, false)`,
      [checkpointAt(5), checkpointAt(99)],
    )
    await db.pool.query(
      `insert into quarantined_streams values ('shown', 2, $1, 0, gen_random_uuid(), $2, 'x'), ('shown', 3, $3, 0, gen_random_uuid(), $2, 'x')`,
      [quarantined, checkpointAt(3), quarantinedInNewBuild],
    )
  })
  const reached = (position: number, streams: StreamName[] = []) => ({
    build: 2,
    checkpoint: checkpointAt(position),
    quarantined: new Set(streams),
  })

  it('ends at a report of the projection without a query, if this process runs the projection', async () => {
    const progress = createProjectionProgress()
    const waiter = createProjectionWaiter({ pool, progress })
    progress.report('shown', reached(7))
    expect(await waiter.waitFor('shown', checkpointAt(7), aMinute, quarantinedInNewBuild)).to.equal(true)
    const waiting = waiter.waitFor('shown', checkpointAt(8), aMinute, quarantinedInNewBuild)
    progress.report('shown', reached(8))
    expect(await waiting).to.equal(true)
    expect(queries).to.equal(0)
  })
  it('queries the live build in the database, if another process runs the projection', async () => {
    const waiter = createProjectionWaiter({ pool, progress: createProjectionProgress() })
    expect(await waiter.waitFor('shown', checkpointAt(5), aMinute, quarantinedInNewBuild)).to.equal(true)
    const waiting = waiter.waitFor('shown', checkpointAt(6), aMinute)
    await waitFor(() => queries > 4)
    await db.pool.query(`update projections set checkpoint = $1 where build = 2`, [checkpointAt(6)])
    expect(await waiting).to.equal(true)
  })
  it('queries the database again after this process has stopped running the projection', async () => {
    const progress = createProjectionProgress()
    const waiter = createProjectionWaiter({ pool, progress })
    progress.report('shown', reached(7))
    progress.forget('shown', 1)
    expect(progress.stateOf('shown')?.checkpoint).to.equal(checkpointAt(7))
    progress.forget('shown', 2)
    expect(await waiter.waitFor('shown', checkpointAt(7), 20)).to.equal(false)
    expect(queries).to.be.greaterThan(0)
  })
  it('fails at once for a stream that is quarantined in the live build', async () => {
    for (const runsInThisProcess of [true, false]) {
      const progress = createProjectionProgress()
      if (runsInThisProcess) progress.report('shown', reached(7, [quarantined]))
      const waiter = createProjectionWaiter({ pool, progress })
      for (const position of [4, 6, 50]) expect(await waiter.waitFor('shown', checkpointAt(position), aMinute, quarantined)).to.equal(false)
    }
  })
  it('queries the database when a quarantine may have been lifted since the last report', async () => {
    const progress = createProjectionProgress()
    progress.report('shown', reached(5, [quarantined]))
    await db.pool.query('truncate quarantined_streams')
    expect(await createProjectionWaiter({ pool, progress }).waitFor('shown', checkpointAt(5), aMinute, quarantined)).to.equal(true)
  })
  it('fails when the time is up, or the projection does not exist', async () => {
    const waiter = createProjectionWaiter({ pool, progress: createProjectionProgress() })
    expect(await waiter.waitFor('shown', checkpointAt(6), 15)).to.equal(false)
    expect(await waiter.waitFor('unknown', checkpointAt(1), 15)).to.equal(false)
    expect(await waiter.waitFor('shown', checkpointAt(6), 0)).to.equal(false)
  })
  it('does not call a listener for reports that was removed', async () => {
    const progress = createProjectionProgress()
    let reportCount = 0
    const stop = progress.onReport('shown', () => reportCount++)
    progress.report('shown', reached(1))
    stop()
    progress.report('shown', reached(2))
    expect(reportCount).to.equal(1)
  })
})
