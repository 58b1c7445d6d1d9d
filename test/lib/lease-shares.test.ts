import { expect } from 'chai'
import { createLeaseShares, shareOf } from '../../src/lib/lease-shares.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

describe('shares of leases', () => {
  let db: TestDatabase
  let live: Member[]
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  beforeEach(() => {
    live = []
  })
  afterEach(async () => {
    await Promise.all([...live].map((member) => member.stop()))
    await db.pool.query('delete from leases')
  })
  const names = Array.from({ length: 9 }, (_, i) => `part/${i}`)
  interface Member {
    readonly leases: LeaseKeeper
    /** The names whose work runs in this process. */
    readonly held: Set<string>
    stop(): Promise<void>
  }
  let starts: string[] = []
  /** Adds a process that competes for the names. */
  const join = (owner: string): Member => {
    const leases = createLeaseKeeper({ pool: db.pool, owner, leaseMs: 3_000, onError() {} })
    const stopping = new AbortController()
    const shares = createLeaseShares({ pool: db.pool, leases, processes: () => live.length, balanceMs: 20, onError() {} })
    const held = new Set<string>()
    const kept = names.map((name) =>
      shares.keep(
        name,
        async ({ lost }) => {
          held.add(name)
          starts.push(`${owner} ${name}`)
          await new Promise<void>((resolve) => {
            if (lost.aborted) resolve()
            else lost.addEventListener('abort', () => resolve(), { once: true })
          })
          held.delete(name)
        },
        {
          signal: stopping.signal,
          onError(error) {
            throw error
          },
        },
      ),
    )
    const member: Member = {
      leases,
      held,
      async stop() {
        live = live.filter((other) => other !== member)
        stopping.abort()
        await Promise.all(kept)
        await leases.close()
      },
    }
    live.push(member)
    return member
  }
  const sizes = () => live.map(({ held }) => held.size).sort()
  const untilDivided = (expected: readonly number[]) =>
    waitFor(() => String(sizes()) === String(expected), { what: `shares of ${expected.join(', ')}` })

  it('are as even as possible, and change only for those that have too many', async () => {
    join('a')
    await untilDivided([9])
    join('b')
    await untilDivided([4, 5])
    join('c')
    await untilDivided([3, 3, 3])
    starts = []
    const last = join('d')
    await untilDivided([2, 2, 2, 3])
    expect(starts, 'what moved').to.have.length(2)
    starts = []
    await last.stop()
    await untilDivided([3, 3, 3])
    expect(starts, 'what moved').to.have.length(2)
  })
  it('are not more than one for a process when there are more processes than leases', async () => {
    for (let i = 0; i < 11; i++) join(`p${String(i).padStart(2, '0')}`)
    await untilDivided([0, 0, ...Array<number>(9).fill(1)])
  })
  it('are taken over from a process that has died, as soon as its leases end', async () => {
    await db.pool.query(`insert into leases select name, 'dead', clock_timestamp() + interval '1 s' from unnest($1::text[]) as name`, [
      names.slice(0, 5),
    ])
    join('a')
    await untilDivided([4])
    await untilDivided([9])
  })
  it('differ by one at most, and those with the greatest ids give up what is too many', () => {
    const share = (owner: string, kept: number, others: Record<string, number>) =>
      shareOf({ total: 9, processes: 4, owner, kept, others: new Map(Object.entries(others)) })
    expect(share('a', 3, { b: 3, c: 3 })).to.equal(3)
    expect(share('b', 3, { a: 3, c: 3 })).to.equal(2)
    expect(share('c', 3, { a: 3, b: 3 })).to.equal(2)
    expect(share('d', 0, { a: 3, b: 3, c: 3 })).to.equal(2)
    expect(share('d', 2, { a: 2, b: 2, c: 2 }), 'one of the nine is free').to.equal(3)
    expect(shareOf({ total: 3, processes: 0, owner: 'a', kept: 0, others: new Map() })).to.equal(3)
  })
})
