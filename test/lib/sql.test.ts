import { expect } from 'chai'
import { sqlOn, transaction } from '../../src/lib/sql.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

describe('tagged SQL', () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
    await db.pool.query('create table things (id int primary key, name text)')
  })
  beforeEach(() => db.pool.query('truncate things'))
  after(() => db.drop())
  const count = async () => (await sqlOn(db.pool)<{ n: bigint }>`select count(*) as n from things`)[0]?.n
  const failureOf = async (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'nothing failed',
      (error: Error) => error.message,
    )

  it('sends values as parameters, in their order', async () => {
    const sql = sqlOn(db.pool)
    const evil = `'); drop table things; --`
    await sql`insert into things (id, name) values (${1}, ${evil})`
    expect(await sql`select id, name from things where id = ${1} and name = ${evil}`).to.deep.equal([{ id: 1, name: evil }])
    expect(await sql`select 1 as one`).to.deep.equal([{ one: 1 }])
  })

  describe('a transaction', () => {
    it('is committed when its work is done, and returns the result of the work', async () => {
      const result = await transaction(db.pool, async (client) => {
        await client.query(`insert into things values (1, 'a')`)
        expect(await count()).to.equal(0n)
        return 'done'
      })
      expect(result).to.equal('done')
      expect(await count()).to.equal(1n)
    })
    it('is rolled back when its work fails, and throws the error of the work', async () => {
      const failing = transaction(db.pool, async (client) => {
        await client.query(`insert into things values (1, 'a')`)
        throw new Error('no further')
      })
      expect(await failureOf(failing)).to.equal('no further')
      expect(await count()).to.equal(0n)
    })
    it('fails when Postgres rolls back at the commit because the work has caught an error', async () => {
      const failing = transaction(db.pool, async (client) => {
        await client.query(`insert into things values (1, 'a')`)
        await client.query('select 1/0').catch(() => undefined)
      })
      expect(await failureOf(failing)).to.contain('rolled back at its commit')
      expect(await count()).to.equal(0n)
    })
    it('fails, and does not end the process, when Postgres ends its connection between two statements; the pool still works', async () => {
      const failing = transaction(db.pool, async (client) => {
        const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
        const ended = new Promise<void>((resolve) => client.once('end', resolve))
        await db.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid])
        await ended
        await client.query('select 1')
      })
      expect(await failureOf(failing)).to.match(/connection error|terminat/i)
      await Promise.all(Array.from({ length: 30 }, count))
    })
    it('fails, and does not end the process, when Postgres ends its connection after the last statement', async () => {
      await failureOf(
        transaction(db.pool, async (client) => {
          const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
          await db.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid])
        }),
      )
      await waitFor(async () => (await Promise.all(Array.from({ length: 30 }, count))).every((n) => n === 0n))
    })
    it('returns its connection to the pool, whether it succeeded or failed', async () => {
      for (let i = 0; i < db.pool.options.max + 5; i++) {
        await transaction(db.pool, async () => i)
        await failureOf(transaction(db.pool, () => Promise.reject(new Error('x'))))
      }
      expect(db.pool.waitingCount).to.equal(0)
      expect(db.pool.idleCount).to.equal(db.pool.totalCount)
    })
  })
})
