import { env } from 'node:process'
import { expect } from 'chai'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { checkServer, checkSessions } from '../../src/adapters/postgres/server-checks.ts'
import { connect } from '../../src/adapters/postgres/session.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { silentLog } from '../../src/lib/log.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

/** Settings with which Kolbak would lose data, or one of its statements would fail. */
const harmful = {
  synchronous_commit: 'off',
  statement_timeout: '1s',
  lock_timeout: '1s',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '1s',
  TimeZone: 'Asia/Kolkata',
  DateStyle: 'SQL, DMY',
  bytea_output: 'escape',
  default_transaction_isolation: 'serializable',
  search_path: 'elsewhere',
}
const expected = {
  synchronous_commit: 'on',
  statement_timeout: '30s',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '30s',
  idle_session_timeout: '0',
  TimeZone: 'UTC',
  DateStyle: 'ISO, MDY',
  bytea_output: 'hex',
  default_transaction_isolation: 'read committed',
  search_path: 'public',
}

describe('a session of Postgres', () => {
  let db: TestDatabase
  beforeEach(async () => {
    db = await freshDatabase()
  })
  afterEach(() => db.drop())

  const settingsOf = async (url: string) => {
    const pool = createPool({ url, name: 'sessions', max: 1, log: silentLog })
    try {
      const names = Object.keys(harmful)
      const { rows } = await pool.query<{ name: string; value: string }>(
        'select name, current_setting(name) as value from unnest($1::text[]) as name',
        [names],
      )
      return Object.fromEntries(rows.map(({ name, value }) => [name, value]))
    } finally {
      await pool.end()
    }
  }
  const options = encodeURIComponent(
    Object.entries(harmful)
      .map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)
      .join(' '),
  )

  it('has the settings of Kolbak despite the options of the URL', async () => {
    expect(await settingsOf(`${db.url}${db.url.includes('?') ? '&' : '?'}options=${options}`)).to.deep.equal(expected)
  })
  it('has the settings of Kolbak despite other parameters of the URL', async () => {
    const url = new URL(db.url)
    for (const name of ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']) url.searchParams.set(name, '1000')
    url.searchParams.set('client_encoding', 'LATIN1')
    expect(await settingsOf(url.href)).to.deep.equal(expected)
  })
  it('has the settings of Kolbak despite settings of the database and the role', async () => {
    const [{ database, role }] = (await db.pool.query('select current_database() as database, current_user as role')).rows
    for (const [name, value] of Object.entries(harmful)) {
      const literal = name === 'search_path' || name === 'DateStyle' ? value : `'${value}'`
      await db.pool.query(`alter database ${database} set ${name} = ${literal}`)
      await db.pool.query(`alter role ${role} in database ${database} set ${name} = ${literal}`)
    }
    expect(await settingsOf(db.url)).to.deep.equal(expected)
    expect(await migrate(db.url), 'a migration has no time limits either').to.deep.equal([])
  })
  it('has the settings of Kolbak despite PGOPTIONS', async () => {
    env.PGOPTIONS = '-c synchronous_commit=off'
    try {
      const url = new URL(db.url)
      url.search = ''
      expect(await settingsOf(url.href)).to.deep.equal(expected)
    } finally {
      delete env.PGOPTIONS
    }
  })
  it('reaches the embedded Postgres despite the variables of libpq', async () => {
    const variables = { PGSSLMODE: 'require', PGOPTIONS: '-c no_such_setting=1', PGCLIENT_ENCODING: 'nonsense', PGREPLICATION: 'database' }
    Object.assign(env, variables)
    try {
      expect(await settingsOf(db.url)).to.deep.equal(expected)
    } finally {
      for (const name of Object.keys(variables)) delete env[name]
    }
  })
})

describe('the check of a database at the start', () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())

  const refusal = (work: Promise<unknown>) =>
    work.then(
      () => null,
      (error: Error) => error,
    )

  it('names the settings of the server with which acknowledged messages can be lost', async () => {
    const risks = await checkServer(db.url) // the Postgres of the tests has these risky settings, because they make it fast
    expect(risks).to.have.length(2)
    expect(risks[0]).to.match(/fsync=off.*lose accepted messages/)
    expect(risks[1]).to.include('full_page_writes=off')
  })
  it('refuses a database whose encoding is not UTF8', async () => {
    const name = `latin_${process.pid}`
    await db.pool.query(`create database ${name} encoding 'LATIN1' locale 'C' template template0`)
    try {
      const error = await refusal(checkServer(Object.assign(new URL(db.url), { pathname: `/${name}` }).href))
      expect(codeOf(error)).to.equal('database_unfit')
      expect(error?.message).to.include('LATIN1')
    } finally {
      await db.pool.query(`drop database ${name} with (force)`)
    }
  })
  it('refuses a pooler that gives each transaction another session', async () => {
    const sessions = [
      await connect(db.url, { name: 'a', statementTimeoutMs: 0 }),
      await connect(db.url, { name: 'b', statementTimeoutMs: 0 }),
    ]
    /** The free sessions of a pooler in transaction mode. A connection has a session only until its transaction ends. */
    const freeSessions = [...sessions]
    const pooled = () => {
      let heldSession: (typeof sessions)[number] | undefined
      return {
        async query(text: string) {
          const session = heldSession ?? freeSessions.shift()!
          const result = await session.query(text)
          heldSession = /^begin/.test(text) || (heldSession !== undefined && !/^rollback/.test(text)) ? session : undefined
          if (heldSession === undefined) freeSessions.unshift(session)
          return result
        },
      } as unknown as Pick<(typeof sessions)[number], 'query'>
    }
    try {
      const error = await refusal(checkSessions(pooled(), pooled()))
      expect(codeOf(error)).to.equal('database_unfit')
      expect(error?.message).to.include('session mode')
      await checkSessions(sessions[0]!, sessions[1]!)
    } finally {
      for (const session of sessions) await session.end()
    }
  })
})
