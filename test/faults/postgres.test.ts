import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { endService, type RunningService, startService, temporaryFolder } from '../support/service.ts'
import { survives } from '../support/survives.ts'
import { waitFor } from '../support/wait-for.ts'

describe('Postgres failing under load', function () {
  this.timeout(120_000)
  let dataDir: string
  let service: RunningService
  let receiver: Receiver
  beforeEach(async () => {
    dataDir = await temporaryFolder()
    ;[service, receiver] = await Promise.all([startService(dataDir, { KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3' }), startReceiver()])
  })
  afterEach(async () => {
    await receiver.close()
    await endService(service, dataDir)
  })
  const postmaster = async () => {
    const lines = (await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')
    return { pid: Number(lines[0]), port: Number(lines[3]) }
  }
  const onDatabase = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const password = (await readFile(join(dataDir, 'postgres-password'), 'utf8')).trim()
    const client = new pg.Client(`postgres://kolbak:${password}@127.0.0.1:${(await postmaster()).port}/kolbak`)
    await client.connect()
    try {
      return await work(client)
    } finally {
      await client.end()
    }
  }
  it('loses nothing when all of its connections are ended, again and again', async () => {
    await survives(service, receiver, async () => {
      const ours = "from pg_stat_activity where application_name like 'kolbak %' and application_name <> 'kolbak owner'"
      for (let i = 0; i < 3; i++)
        await onDatabase(async (client) => {
          await waitFor(async () => ((await client.query(`select ${ours}`)).rowCount ?? 0) > 2, { what: 'it to have connected' })
          await client.query(`select pg_terminate_backend(pid) ${ours}`)
        })
    })
  })
  it('starts it again when it is killed, and loses nothing', async () => {
    await survives(service, receiver, async () => {
      const { pid } = await postmaster()
      process.kill(pid, 'SIGKILL')
      await waitFor(() => service.facts.some((fact) => fact.msg === 'postgres.back'), { ms: 30_000, what: 'Postgres to be back' })
    })
  })
})
