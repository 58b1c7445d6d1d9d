import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { recordMigration } from '../support/migrations.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('a service with DATABASE_URL', () => {
  const services = withServices({ each: true, sharedDatabase: true })
  const { start } = services

  it('uses that database, and the keys in its variables', async () => {
    const first = await start()
    await clientOf(first.url)
    expect(await stat(join(services.dataDir, 'postgres')).catch(() => null)).to.equal(null)
    await first.kill('SIGTERM')
    const wrong = await services.failToStart({
      KOLBAK_MASTER_KEY: Buffer.alloc(32, 9).toString('base64'),
    })
    expect(wrong.code).to.equal(78)
    expect(wrong.stderr).to.include('KOLBAK_MASTER_KEY is not the key')
  })

  it('names each missing key and each faulty variable in one sentence', async () => {
    const { code, stderr } = await services.failToStart({
      DATABASE_URL: 'postgres://127.0.0.1:1/none',
      PORT: 'many',
      KOLBAK_RETENTION: '3',
      KOLBAK_ALLOWED_SUBNETS: 'localhost',
    })
    expect(code).to.equal(78)
    for (const name of ['PORT', 'KOLBAK_RETENTION', 'KOLBAK_ALLOWED_SUBNETS']) expect(stderr).to.include(name)
    const keysMissing = await services.failToStart({ KOLBAK_MASTER_KEY: '', KOLBAK_JWT_SECRET: '' })
    expect(keysMissing.stderr).to.include('KOLBAK_MASTER_KEY').and.to.include('KOLBAK_JWT_SECRET')
  })

  it('overrides options of the URL that would weaken its guarantees, and warns of a server that is not durable', async () => {
    const url = new URL(services.db.url)
    url.searchParams.set('options', '-c synchronous_commit=off -c timezone=Asia/Kolkata -c statement_timeout=1s')
    const service = await start({ DATABASE_URL: url.href })
    // A connection that has just begun gets its settings a moment later.
    await waitFor(async () => {
      const { rows } = await services.db.pool.query<{ unset: string }>(
        `select count(*)::text as unset from pg_stat_activity where datname = current_database() and application_name not like 'kolbak %'`,
      )
      return rows[0]?.unset === '0'
    })
    const warning = service.logLines.find((line) => line.msg === 'postgres.not_durable')
    expect(JSON.stringify(warning?.risks)).to.include('fsync=off')
    const api = await clientOf(service.url)
    expect((await api.call('POST', '/v1/events', { event: 'a.b', payload: {} })).status).to.equal(202)
  })

  for (const [what, url, sentence] of [
    [
      'a name instead of a URL',
      'foo',
      /^kolbak: DATABASE_URL must be the URL of a database, such as postgres:\/\/\S+, with other characters/,
    ],
    ['the URL of another program', 'mysql://root@localhost/kolbak', /^kolbak: DATABASE_URL must be the URL of a database/],
    ['a URL with several hosts', 'postgres://u:p@one:5432,two:5432/kolbak', /^kolbak: DATABASE_URL must be the URL of a database/],
    [
      'a URL with a misspelt sslmode',
      'postgres://u:p@127.0.0.1/kolbak?sslmode=requre',
      /^kolbak: DATABASE_URL must have one of these values/,
    ],
    ['a URL with a missing file', 'postgres://u:p@127.0.0.1/k?sslrootcert=/none.pem', /^kolbak: DATABASE_URL does not lead.*none\.pem/],
  ] as const)
    it(`refuses ${what} with one sentence`, async () => {
      const { code, stderr } = await services.failToStart({ DATABASE_URL: url })
      expect(stderr).to.match(sentence).and.not.include('..')
      expect(code).to.equal(78)
    })
  for (const [what, parameters, sentence] of [
    [
      'options that Postgres does not know',
      { options: '-c no_such_setting=1' },
      /unrecognized configuration parameter "no_such_setting"\. /,
    ],
    ['TLS that the server does not support', { sslmode: 'require' }, /does not support SSL connections\. /],
  ] as const)
    it(`refuses a URL with ${what} with one sentence`, async () => {
      const url = new URL(services.db.url)
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
      const { code, stderr } = await services.failToStart({ DATABASE_URL: url.href })
      expect(stderr).to.match(sentence)
      expect(code).to.equal(78)
    })

  it('refuses a database that a newer version has changed, with one sentence even if it has several processes', async () => {
    await recordMigration(services.db.url, '9001_of_the_future')
    for (const processes of ['1', '2']) {
      const { code, stderr } = await services.failToStart({ KOLBAK_PROCESSES: processes })
      expect(code).to.equal(78)
      expect(stderr).to.match(/^kolbak: The database was changed by a newer version of Kolbak.*\(database_of_newer_version\)$/)
    }
  })

  it('refuses to start with another engine than at the last start', async () => {
    const client = new pg.Client({ connectionString: services.db.url })
    await client.connect()
    await client.query("insert into engines (port, identity) values ('event_store', 'eventstoredb-x')")
    await client.end()
    const { code, stderr } = await services.failToStart()
    expect(code).to.equal(78)
    expect(stderr).to.include('event store was eventstoredb-x the last time')
  })
})
