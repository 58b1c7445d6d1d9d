import { expect } from 'chai'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('the migrations of Postgres', () => {
  let db: TestDatabase
  beforeEach(async () => {
    db = await freshDatabase()
  })
  afterEach(() => db.drop())

  const recordedNames = async (): Promise<string[]> => {
    const { rows } = await db.pool.query<{ name: string }>('select name from schema_migrations order by id')
    return rows.map((row) => row.name)
  }
  const refusal = () =>
    migrate(db.url).then(
      () => null,
      (error: Error) => error,
    )
  const startOver = () => db.pool.query('drop schema public cascade; drop schema delivery_history cascade; create schema public')

  it('each run once, in the order of their numbers', async () => {
    const names = await recordedNames()
    expect(await migrate(db.url)).to.deep.equal([])
    await startOver()
    expect(await migrate(db.url)).to.deep.equal(names)
    expect(names).to.deep.equal([...names].sort())
  })

  it('run once when two processes start together', async () => {
    const names = await recordedNames()
    await startOver()
    const [first, second] = await Promise.all([migrate(db.url), migrate(db.url)])
    expect([...first, ...second]).to.deep.equal(names)
  })

  for (const [what, names] of [
    ['all migrations', ['0001_foundation', '0002_event_store', '0003_message_bus', '0004_delivery_log', '0005_dispatch', '0006_key_usage']],
    ['the first migration alone', ['0001_foundation']],
  ] as const)
    it(`refuse a database that has ${what} of version 0.1.0, and leave it unchanged`, async () => {
      await startOver()
      await db.pool.query('create table schema_migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)')
      await db.pool.query('insert into schema_migrations (name, run_on) select name, now() from unnest($1::text[]) as name', [names])
      const error = await refusal()
      expect(codeOf(error)).to.equal('database_of_older_version')
      expect(error?.message).to.match(/Kolbak 0\.1\.0.*DATABASE_URL.*KOLBAK_DATA_DIR/)
      expect(await recordedNames()).to.deep.equal(names)
      const { rows } = await db.pool.query(`select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`)
      expect(rows).to.deep.equal([{ relname: 'schema_migrations' }])
    })

  it('refuse a database that has a migration of a newer version, and leave it unchanged', async () => {
    await db.pool.query(`insert into schema_migrations (name, run_on) values ('9001_of_the_future', now())`)
    const names = await recordedNames()
    const error = await refusal()
    expect(codeOf(error)).to.equal('database_of_newer_version')
    expect(error?.message).to.include('9001_of_the_future').and.to.include('backup')
    expect(await recordedNames()).to.deep.equal(names)
  })
})
