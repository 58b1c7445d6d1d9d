import { spawnSync } from 'node:child_process'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { sharedBuffersFor, startEmbeddedPostgres } from '../../src/adapters/postgres/embedded.ts'
import { silentLog } from '../../src/lib/log.ts'
import { embeddedPostgres } from '../support/embedded-postgres.ts'
import { recordMigration } from '../support/migrations.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

/** Returns whether a process has ended. A dead process keeps its id as a zombie (state Z) until its parent has read its exit code. */
const hasEnded = (pid: number): boolean =>
  /^Z|^$/.test(
    spawnSync('ps', ['-o', 'stat=', '-p', String(pid)])
      .stdout.toString()
      .trim(),
  )

describe('a service with its own Postgres', () => {
  const services = withServices({ each: true })
  const { start } = services

  it('ignores the variables of libpq, which are meant for other databases', async () => {
    const service = await start({ PGSSLMODE: 'require', PGOPTIONS: '-c no_such_setting=1', PGHOST: 'elsewhere', KOLBAK_PROCESSES: '2' })
    await clientOf(service.url)
  })

  it('gives Postgres buffers by the memory of the machine', () => {
    const gibibytes = [1, 8, 16, 24, 64, 512]
    expect(gibibytes.map((size) => sharedBuffersFor(size * 2 ** 30))).to.deep.equal([32, 32, 32, 48, 128, 128])
  })

  it('takes over the Postgres that a kill -9 has left running', async () => {
    const first = await start()
    await first.kill('SIGKILL')
    const second = await start()
    expect(second.logLines.find((line) => line.msg === 'postgres.started')).to.include({ tookOver: true })
    expect((await fetch(`${second.url}/health/ready`)).status).to.be.oneOf([200, 503])
    await waitFor(async () => (await fetch(`${second.url}/health/ready`)).status === 200)
  })

  it('starts after both it and Postgres were killed, even if the pid file names another process', async () => {
    const first = await start()
    const pidFile = join(services.dataDir, 'postgres', 'postmaster.pid')
    const lines = (await readFile(pidFile, 'utf8')).split('\n')
    await first.kill('SIGKILL')
    process.kill(Number(lines[0]), 'SIGKILL')
    await waitFor(() => hasEnded(Number(lines[0])))
    await writeFile(pidFile, [String(process.pid), ...lines.slice(1)].join('\n'))
    const second = await start()
    expect(second.logLines.find((line) => line.msg === 'postgres.started')).to.include({ tookOver: false })
    await clientOf(second.url)
  })

  it('completes a first start that was killed while it initialised Postgres', async () => {
    const { child, exited } = await services.spawn()
    await waitFor(async () => (await readdir(services.dataDir)).some((name) => name.startsWith('postgres.new-')))
    child.kill('SIGKILL')
    await exited
    const second = await start()
    await clientOf(second.url)
  })

  it('refuses a data folder that another Kolbak uses, and prints what to do', async () => {
    await start()
    const { code, stderr } = await services.failToStart()
    expect(code).to.equal(78)
    expect(stderr).to.match(/Another Kolbak runs on .*KOLBAK_DATA_DIR/)
  })

  it('refuses the data folder of version 0.1.0 with one sentence, even if it has several processes', async () => {
    const postgres = await startEmbeddedPostgres({ dataDir: services.dataDir, log: silentLog })
    await recordMigration(postgres.url, '0001_foundation')
    await postgres.stop()
    const { code, stderr } = await services.failToStart({ KOLBAK_PROCESSES: '2' })
    expect(code).to.equal(78)
    expect(stderr).to.match(/^kolbak: The database was made by Kolbak 0\.1\.0.*KOLBAK_DATA_DIR.*\(database_of_older_version\)$/)
  })

  it('stops its Postgres when it stops', async () => {
    const first = await start()
    const { pid } = await embeddedPostgres(services.dataDir)
    expect(pid).to.be.greaterThan(0)
    expect(await first.kill('SIGTERM')).to.equal(0)
    expect(await stat(join(services.dataDir, 'postgres', 'postmaster.pid')).catch(() => null)).to.equal(null)
  })
})
