import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { recordMigration } from '../support/migrations.ts'
import { clientOf } from '../support/service-client.ts'
import { withServices } from '../support/with-services.ts'

describe('a service with DATABASE_URL', () => {
  const services = withServices({ each: true, sharedDatabase: true })
  const { start } = services

  it('uses that database, with the keys of its variables', async () => {
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
