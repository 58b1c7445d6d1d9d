import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { load } from '../support/load.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { clientOf, endService, type RunningService, startService, temporaryFolder } from '../support/service.ts'
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
  /** Load before, during and after the fault; then everything that got a 202 has arrived, and the service is well without a restart. */
  const survives = async (fault: () => Promise<void>) => {
    const api = await clientOf(service.url)
    await api.post('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'load.*' })
    const posting = load(service.url, `Bearer ${api.token}`, { perSecond: 150 })
    await waitFor(() => posting.accepted.length > 150)
    await fault()
    const before = posting.accepted.length
    await waitFor(() => posting.accepted.length > before + 150, { ms: 30_000, what: 'events to be accepted again' })
    await posting.stop()
    const ids = () => receiver.received('/hook').map((request) => String(request.headers['webhook-id']))
    await waitFor(() => posting.accepted.every((id) => ids().includes(id)), { ms: 30_000, what: 'all accepted events to arrive' })
    await waitFor(async () => (await fetch(`${service.url}/health/ready`)).status === 200, { what: 'the service to be ready' })
    expect([...posting.answers.keys()].filter((answer) => answer !== 202 && answer !== 503)).to.deep.equal([])
    expect(service.child.exitCode).to.equal(null)
  }

  it('loses nothing when all of its connections are ended, again and again', async () => {
    await survives(async () => {
      const ours = "from pg_stat_activity where application_name like 'kolbak %' and application_name <> 'kolbak owner'"
      for (let i = 0; i < 3; i++)
        await onDatabase(async (client) => {
          await waitFor(async () => ((await client.query(`select ${ours}`)).rowCount ?? 0) > 2, { what: 'it to have connected' })
          await client.query(`select pg_terminate_backend(pid) ${ours}`)
        })
    })
  })
  it('starts it again when it is killed, and loses nothing', async () => {
    await survives(async () => {
      const { pid } = await postmaster()
      process.kill(pid, 'SIGKILL')
      await waitFor(() => service.facts.some((fact) => fact.msg === 'postgres.back'), { ms: 30_000, what: 'Postgres to be back' })
    })
  })
})
