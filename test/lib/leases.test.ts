import { expect } from 'chai'
import type { Pool } from 'pg'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

describe('leases', () => {
  let db: TestDatabase
  const keepers: LeaseKeeper[] = []
  let errors: unknown[] = []
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  afterEach(async () => {
    for (const keeper of keepers.splice(0)) await keeper.close()
    errors = []
    await db.pool.query('delete from leases')
  })
  const keeperOf = (owner: string, leaseMs = 5_000, pool: Pick<Pool, 'query'> = db.pool): LeaseKeeper => {
    const keeper = createLeaseKeeper({ pool: pool as Pool, owner, leaseMs, onError: (error) => errors.push(error) })
    keepers.push(keeper)
    return keeper
  }
  /** Returns a pool whose queries fail after `cut`, as if the process had lost its database. */
  const cuttable = () => {
    let isCut = false
    return {
      cut() {
        isCut = true
      },
      mend() {
        isCut = false
      },
      pool: {
        query: (async (...args: Parameters<Pool['query']>) => {
          if (isCut) throw new Error('no connection')
          return db.pool.query(...args)
        }) as unknown as Pool['query'],
      },
    }
  }

  it('belong to one process at a time', async () => {
    const [a, b] = [keeperOf('a'), keeperOf('b')]
    const [first, second] = await Promise.all([a.take('x'), b.take('x')])
    expect([first, second].filter((lease) => lease !== null)).to.have.length(1)
    const other = await (first === null ? b : a).take('y')
    expect(other?.isHeld()).to.equal(true)
  })
  it('are free again after their release', async () => {
    const [a, b] = [keeperOf('a'), keeperOf('b')]
    const ownLease = await a.take('x')
    expect(await b.take('x')).to.equal(null)
    await ownLease?.release()
    expect(ownLease?.isHeld()).to.equal(false)
    expect(ownLease?.lost.aborted).to.equal(true)
    expect((await b.take('x'))?.isHeld()).to.equal(true)
  })
  it('are renewed for as long as their process lives', async () => {
    const [a, b] = [keeperOf('a', 1_000), keeperOf('b', 1_000)]
    const ownLease = await a.take('x')
    const end = performance.now() + 3_000
    await waitFor(async () => {
      expect(await b.take('x')).to.equal(null)
      return performance.now() > end
    })
    expect(ownLease?.isHeld()).to.equal(true)
    expect(errors).to.deep.equal([])
  })
  it('end for their owner, by its own clock, before they end in Postgres, if they cannot be renewed', async () => {
    const leaseMs = 400
    const { pool, cut } = cuttable()
    const a = keeperOf('a', leaseMs, pool)
    const ownLease = (await a.take('x'))!
    cut()
    const b = keeperOf('b', leaseMs)
    // The former owner notices the loss before another process can take over the lease.
    const otherLease = await waitFor(async () => {
      const lease = await b.take('x')
      if (lease !== null) expect(ownLease.isHeld()).to.equal(false)
      return lease
    })
    await waitFor(() => ownLease.lost.aborted)
    expect(otherLease.isHeld()).to.equal(true)
    expect(errors.length).to.be.greaterThan(0)
  })
  it('are taken over from a dead process as soon as they end', async () => {
    await db.pool.query(`insert into leases (name, owner, until) values ('x', 'dead', clock_timestamp() + interval '1 hour')`)
    const b = keeperOf('b')
    expect(await b.take('x')).to.equal(null)
    await db.pool.query('update leases set until = clock_timestamp()')
    expect((await b.take('x'))?.isHeld()).to.equal(true)
  })
  it('are lost when another process has taken them over', async () => {
    const a = keeperOf('a', 200)
    const ownLease = (await a.take('x'))!
    await db.pool.query(`update leases set owner = 'b', until = clock_timestamp() + interval '1 hour' where name = 'x'`)
    await waitFor(() => ownLease.lost.aborted)
    expect(ownLease.isHeld()).to.equal(false)
    expect(await a.take('x')).to.equal(null)
  })
  it('can be taken again at once by a process that lost them by its own clock', async () => {
    const { pool, cut, mend } = cuttable()
    const a = keeperOf('a', 2_000, pool)
    const former = (await a.take('x'))!
    cut()
    await waitFor(() => former.lost.aborted)
    mend()
    const secondLease = (await a.take('x'))!
    expect(secondLease.isHeld()).to.equal(true)
    expect(former.isHeld()).to.equal(false)
  })
  it('are kept when they are taken again during their release', async () => {
    const a = keeperOf('a', 60_000)
    const b = keeperOf('b')
    let former = (await a.take('x'))!
    for (let i = 0; i < 20; i++) {
      const [secondLease] = await Promise.all(i % 2 === 0 ? [a.take('x'), former.release()] : [former.release().then(() => a.take('x'))])
      expect(former.isHeld()).to.equal(false)
      expect(secondLease?.isHeld()).to.equal(true)
      expect(await b.take('x')).to.equal(null)
      await former.release()
      expect(await b.take('x')).to.equal(null)
      former = secondLease!
    }
  })
  it('are released when their keeper closes', async () => {
    const a = keeperOf('a', 60_000)
    const ownLease = await a.take('x')
    await a.close()
    expect(ownLease?.lost.aborted).to.equal(true)
    expect((await keeperOf('b').take('x'))?.isHeld()).to.equal(true)
    expect(await a.take('y')).to.equal(null)
  })
})
