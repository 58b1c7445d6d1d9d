import { spawnSync } from 'node:child_process'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../src/adapters/postgres/embedded.ts'
import { silentLog } from '../../src/lib/log.ts'
import { freshDatabase } from '../support/database.ts'
import { embeddedPostgres } from '../support/embedded-postgres.ts'
import { admin, endService, givenKeys, type RunningService, spawnService, startService, temporaryFolder } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'

/** Runs a start that is to fail, and answers what it said. */
const failedStart = async (dataDir: string, variables: Record<string, string>) => {
  const { errors, exited } = spawnService(dataDir, variables)
  const code = await exited
  return { code, said: errors.join('\n') }
}
/** Records a migration as a Kolbak of another version would. */
const recordMigration = async (url: string, name: string) => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(
    'create table if not exists schema_migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)',
  )
  await client.query('insert into schema_migrations (name, run_on) values ($1, now())', [name])
  await client.end()
}
/** Whether a process has ended. One that its parent does not reap keeps its id as a zombie (state Z). */
const hasEnded = (pid: number): boolean =>
  /^Z|^$/.test(
    spawnSync('ps', ['-o', 'stat=', '-p', String(pid)])
      .stdout.toString()
      .trim(),
  )
const own = { KOLBAK_ADMIN_CLIENT_ID: '', KOLBAK_ADMIN_CLIENT_SECRET: '' }

describe('starting', () => {
  let dataDir: string
  let service: RunningService | undefined
  const start = async (variables: Record<string, string> = {}) => {
    service = await startService(dataDir, variables)
    return service
  }
  beforeEach(async () => {
    dataDir = await temporaryFolder()
    service = undefined
  })
  afterEach(() => endService(service, dataDir))

  it('makes keys, the tenant and its admin client at the first start only, says so, and keeps secrets in files of its own', async () => {
    const first = await start(own)
    const said = first.facts.map((fact) => fact.msg)
    expect(said).to.include.members(['keys.generated', 'tenant.registered', 'admin_client.issued'])
    for (const file of ['keys.json', 'admin-client.json', 'postgres-password'])
      expect((await stat(join(dataDir, file))).mode & 0o777, file).to.equal(0o600)
    const made = JSON.parse(await readFile(join(dataDir, 'admin-client.json'), 'utf8')) as { client_id: string; client_secret: string }
    const keys = JSON.parse(await readFile(join(dataDir, 'keys.json'), 'utf8')) as Record<string, string>
    const log = JSON.stringify(first.facts)
    for (const secret of [made.client_secret, ...Object.values(keys)]) expect(log).to.not.include(secret)

    const { token } = await clientOf(first.url, { id: made.client_id, secret: made.client_secret })
    expect(await first.kill('SIGTERM')).to.equal(0)

    const second = await start(own)
    expect(second.facts.map((fact) => fact.msg)).to.not.include.members(['keys.generated'])
    const answer = await fetch(`${second.url}/v1/webhooks`, { headers: { authorization: `Bearer ${token}` } })
    expect(answer.status, 'a token of before the restart').to.equal(200)
  })

  it('rotates an admin client that is given again with another secret: the former secret and its tokens end', async () => {
    const first = await start()
    const before = await clientOf(first.url)
    expect((await before.call('GET', '/v1/keys')).status).to.equal(200)
    await first.kill('SIGTERM')
    const other = 'another-secret-of-the-tests-that-is-long-enough'
    const second = await start({ KOLBAK_ADMIN_CLIENT_SECRET: other })
    await clientOf(second.url, { id: admin.id, secret: other })
    const denied = await fetch(`${second.url}/v1/auth`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ grant_type: 'client_credentials', client_id: admin.id, client_secret: admin.secret }),
    })
    expect(denied.status).to.equal(401)
  })

  it('takes over the Postgres that a kill -9 has left running', async () => {
    const first = await start()
    await first.kill('SIGKILL')
    const second = await start()
    expect(second.facts.find((fact) => fact.msg === 'postgres.started')).to.include({ tookOver: true })
    expect((await fetch(`${second.url}/health/ready`)).status).to.be.oneOf([200, 503])
    await waitFor(async () => (await fetch(`${second.url}/health/ready`)).status === 200)
  })

  it('starts when Postgres was killed with it, and with a pid file that names another process', async () => {
    const first = await start()
    const pidFile = join(dataDir, 'postgres', 'postmaster.pid')
    const lines = (await readFile(pidFile, 'utf8')).split('\n')
    await first.kill('SIGKILL')
    process.kill(Number(lines[0]), 'SIGKILL')
    await waitFor(() => hasEnded(Number(lines[0])))
    await writeFile(pidFile, [String(process.pid), ...lines.slice(1)].join('\n'))
    const second = await start()
    expect(second.facts.find((fact) => fact.msg === 'postgres.started')).to.include({ tookOver: false })
    await clientOf(second.url)
  })

  it('completes a first start that was cut off while Postgres was being initialised', async () => {
    const { child, exited } = spawnService(dataDir)
    await waitFor(async () => (await readdir(dataDir)).some((name) => name.startsWith('postgres.new-')))
    child.kill('SIGKILL')
    await exited
    const second = await start()
    await clientOf(second.url)
  })

  it('refuses a data folder that another Kolbak has, and says what to do', async () => {
    await start()
    const { code, said } = await failedStart(dataDir, {})
    expect(code).to.equal(78)
    expect(said).to.match(/Another Kolbak runs on .*KOLBAK_DATA_DIR/)
  })

  it('refuses the data folder of version 0.1.0 with one sentence, also when it has several processes', async () => {
    const postgres = await startEmbeddedPostgres({ dataDir, log: silentLog })
    await recordMigration(postgres.url, '0001_foundation')
    await postgres.stop()
    const { code, said } = await failedStart(dataDir, { KOLBAK_PROCESSES: '2' })
    expect(code).to.equal(78)
    expect(said).to.match(/^kolbak: The database was made by Kolbak 0\.1\.0.*KOLBAK_DATA_DIR.*\(database_of_older_version\)$/)
  })

  it('stops its Postgres with itself', async () => {
    const first = await start()
    const { pid } = await embeddedPostgres(dataDir)
    expect(pid).to.be.greaterThan(0)
    expect(await first.kill('SIGTERM')).to.equal(0)
    expect(await stat(join(dataDir, 'postgres', 'postmaster.pid')).catch(() => null)).to.equal(null)
  })

  describe('on a Postgres that is given', () => {
    it('uses it, with the keys that are given', async () => {
      const db = await freshDatabase()
      try {
        const first = await start({ DATABASE_URL: db.url, ...givenKeys })
        await clientOf(first.url)
        expect(await stat(join(dataDir, 'postgres')).catch(() => null)).to.equal(null)
        await first.kill('SIGTERM')
        const wrong = await failedStart(dataDir, {
          DATABASE_URL: db.url,
          ...givenKeys,
          KOLBAK_MASTER_KEY: Buffer.alloc(32, 9).toString('base64'),
        })
        expect(wrong.code).to.equal(78)
        expect(wrong.said).to.include('KOLBAK_MASTER_KEY is not the key')
      } finally {
        await db.drop()
      }
    })
    it('names the keys that are missing, and every other faulty variable, in one sentence each', async () => {
      const { code, said } = await failedStart(dataDir, {
        DATABASE_URL: 'postgres://127.0.0.1:1/none',
        PORT: 'many',
        KOLBAK_RETENTION: '3',
        KOLBAK_ALLOWED_SUBNETS: 'localhost',
      })
      expect(code).to.equal(78)
      for (const name of ['PORT', 'KOLBAK_RETENTION', 'KOLBAK_ALLOWED_SUBNETS']) expect(said).to.include(name)
      const keysMissing = await failedStart(dataDir, { DATABASE_URL: 'postgres://127.0.0.1:1/none' })
      expect(keysMissing.said).to.include('KOLBAK_MASTER_KEY').and.to.include('KOLBAK_JWT_SECRET')
    })
    it('refuses a database that a newer version has changed, with one sentence, also when it has several processes', async () => {
      const db = await freshDatabase()
      try {
        await recordMigration(db.url, '9001_of_the_future')
        for (const processes of ['1', '2']) {
          const { code, said } = await failedStart(dataDir, { DATABASE_URL: db.url, ...givenKeys, KOLBAK_PROCESSES: processes })
          expect(code).to.equal(78)
          expect(said).to.match(/^kolbak: The database was changed by a newer version of Kolbak.*\(database_of_newer_version\)$/)
        }
      } finally {
        await db.drop()
      }
    })
    it('refuses to take another adapter for the one of last time', async () => {
      const db = await freshDatabase()
      try {
        const client = new pg.Client({ connectionString: db.url })
        await client.connect()
        await client.query("insert into engines (port, identity) values ('event_store', 'eventstoredb-x')")
        await client.end()
        const { code, said } = await failedStart(dataDir, { DATABASE_URL: db.url, ...givenKeys })
        expect(code).to.equal(78)
        expect(said).to.include('event store was eventstoredb-x the last time')
      } finally {
        await db.drop()
      }
    })
  })
})
