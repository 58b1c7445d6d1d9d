import { expect } from 'chai'
import type { Pool } from 'pg'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

const at = (position: number) => String(position).padStart(20, '0') as Checkpoint
const held = 'tenant-held' as StreamName
const free = 'tenant-free' as StreamName
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
      [at(5), at(99)],
    )
    await db.pool.query(
      `insert into quarantined_streams values ('shown', 2, $1, 0, gen_random_uuid(), $2, 'x'), ('shown', 3, $3, 0, gen_random_uuid(), $2, 'x')`,
      [held, at(3), free],
    )
  })
  const reached = (position: number, quarantined: StreamName[] = []) => ({
    build: 2,
    checkpoint: at(position),
    quarantined: new Set(quarantined),
  })

  it('is ended by a report in the process that runs the projection, without a query', async () => {
    const progress = createProjectionProgress()
    const waiter = createProjectionWaiter({ pool, progress })
    progress.report('shown', reached(7))
    expect(await waiter.waitFor('shown', at(7), aMinute, free)).to.equal(true)
    const waiting = waiter.waitFor('shown', at(8), aMinute, free)
    progress.report('shown', reached(8))
    expect(await waiting).to.equal(true)
    expect(queries).to.equal(0)
  })
  it('queries the database in any other process, where only the live build counts', async () => {
    const waiter = createProjectionWaiter({ pool, progress: createProjectionProgress() })
    expect(await waiter.waitFor('shown', at(5), aMinute, free)).to.equal(true)
    const waiting = waiter.waitFor('shown', at(6), aMinute)
    await waitFor(() => queries > 4)
    await db.pool.query(`update projections set checkpoint = $1 where build = 2`, [at(6)])
    expect(await waiting).to.equal(true)
  })
  it('queries the database again after this process has stopped running the projection', async () => {
    const progress = createProjectionProgress()
    const waiter = createProjectionWaiter({ pool, progress })
    progress.report('shown', reached(7))
    progress.forget('shown', 1)
    expect(progress.stateOf('shown')?.checkpoint).to.equal(at(7))
    progress.forget('shown', 2)
    expect(await waiter.waitFor('shown', at(7), 20)).to.equal(false)
    expect(queries).to.be.greaterThan(0)
  })
  it('fails at once for a stream that is quarantined in the live build', async () => {
    for (const isHere of [true, false]) {
      const progress = createProjectionProgress()
      if (isHere) progress.report('shown', reached(7, [held]))
      const waiter = createProjectionWaiter({ pool, progress })
      for (const position of [4, 6, 50]) expect(await waiter.waitFor('shown', at(position), aMinute, held)).to.equal(false)
    }
  })
  it('queries the database when a quarantine may have been lifted since the last report', async () => {
    const progress = createProjectionProgress()
    progress.report('shown', reached(5, [held]))
    await db.pool.query('truncate quarantined_streams')
    expect(await createProjectionWaiter({ pool, progress }).waitFor('shown', at(5), aMinute, held)).to.equal(true)
  })
  it('fails when the time is up, or the projection does not exist', async () => {
    const waiter = createProjectionWaiter({ pool, progress: createProjectionProgress() })
    expect(await waiter.waitFor('shown', at(6), 15)).to.equal(false)
    expect(await waiter.waitFor('unknown', at(1), 15)).to.equal(false)
    expect(await waiter.waitFor('shown', at(6), 0)).to.equal(false)
  })
  it('calls a listener for reports no more after it was removed', async () => {
    const progress = createProjectionProgress()
    let heard = 0
    const stop = progress.onReport('shown', () => heard++)
    progress.report('shown', reached(1))
    stop()
    progress.report('shown', reached(2))
    expect(heard).to.equal(1)
  })
})
