import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import type { OperationsReport } from '../../src/api/responses.ts'
import { silentLog } from '../../src/lib/log.ts'
import { embeddedPostgres } from '../support/embedded-postgres.ts'
import { startLoad } from '../support/load.ts'
import { type Ended, inherited, runProgram } from '../support/programs.ts'
import { type RunningService, removeFolder, temporaryFolder } from '../support/service.ts'
import { type Client, clientOf, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

interface EventResponse {
  readonly data: { readonly id: string; readonly deliveries: Record<string, number> }
}

describe('a backup', () => {
  const services = withServices({ each: true })
  const { start, receiver } = services
  let folder: string
  /** The data folder of the restored service. */
  let other: string
  beforeEach(async () => {
    folder = await temporaryFolder()
    other = await temporaryFolder()
  })
  afterEach(async () => {
    await removeFolder(folder)
    await removeFolder(other)
  })

  const operate = (dataDir: string, ...args: string[]): Promise<Ended> =>
    runProgram('operator/operate.ts', args, { KOLBAK_DATA_DIR: dataDir })
  /** Returns all that the API shows of these events and of the webhook. */
  const historyOf = async (api: Client, webhook: WebhookResponse, ids: readonly string[]) => ({
    webhook: await api.get(`/v1/webhooks/${webhook.id}`),
    versions: await api.get(`/v1/webhooks/${webhook.id}/history`),
    keys: await api.get('/v1/keys'),
    events: await Promise.all(
      ids.map(async (id) => [await api.get(`/v1/events/${id}`), (await api.get<Page<object>>(`/v1/events/${id}/deliveries`)).data]),
    ),
  })
  const successesOf = async (api: Client, id: string) => (await api.get<EventResponse>(`/v1/events/${id}`)).data.deliveries.success ?? 0

  it('that was made under load restores every event with its history, on another machine', async () => {
    const first = await start()
    const api = await clientOf(first.url)
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'load.*' })
    await api.post('/v1/keys', { name: 'shop', scopes: ['read:webhooks'] })
    const early = Array.from({ length: 30 }, (_, n) => `evt_early_${n}`)
    for (const id of early) await api.post('/v1/events', { id, event: 'load.early', payload: { id, price: 12.5 } })
    await waitFor(async () => (await Promise.all(early.map((id) => successesOf(api, id)))).every((count) => count === 1))
    const before = await historyOf(api, webhook, early)

    const load = startLoad(first.url, `Bearer ${api.token}`, { perSecond: 100 })
    await waitFor(() => load.accepted.length > 100)
    const acceptedBefore = [...load.accepted]
    const file = join(folder, 'kolbak.backup')
    const { code, out, err } = await operate(services.dataDir, 'backup', file)
    expect(code, err).to.equal(0)
    expect(err).to.include(`keep a copy of ${join(services.dataDir, 'keys.json')} in another place`)
    expect(JSON.parse(out)).to.include({ file, format: 1 })
    const { mode, size } = await stat(file)
    expect(mode & 0o777).to.equal(0o600)
    const { rows } = JSON.parse(out) as { rows: number }
    const { last_backup: last } = (await api.get<{ data: OperationsReport }>('/v1/operations')).data
    expect(last).to.include({ bytes: size, rows, made_at: JSON.parse(out).made_at })
    expect(last?.age_seconds).to.be.within(0, 60)
    const accepted = load.accepted.length
    await waitFor(() => load.accepted.length > accepted + 50, { what: 'the service to continue' })
    await first.kill('SIGKILL')
    await load.stop()

    const restored = await operate(other, 'restore', file)
    expect(restored.code, restored.err).to.equal(0)
    expect(restored.err).to.include(`put the keys.json of the service that was backed up at ${join(other, 'keys.json')}`)
    expect(restored.err).to.include('The restore is not in the audit log: ')
    await copyFile(join(services.dataDir, 'keys.json'), join(other, 'keys.json'))
    const second: RunningService = await start({ KOLBAK_DATA_DIR: other })
    const restoredApi = await clientOf(second.url)
    expect(await historyOf(restoredApi, webhook, early)).to.deep.equal(before)
    // All events that were accepted before the backup are restored and delivered.
    await waitFor(async () => (await Promise.all(acceptedBefore.map((id) => successesOf(restoredApi, id)))).every((count) => count === 1), {
      what: 'all events of the backup to be delivered',
    })
    await restoredApi.post('/v1/events', { id: 'evt_late', event: 'load.late', payload: {} })
    await waitFor(() => receiver.ids('/hook').includes('evt_late'))
    await second.kill('SIGTERM')
  })

  it('has the name of its file only when it is complete, and overwrites no file', async () => {
    const service = await start()
    await service.kill('SIGTERM')
    const file = join(folder, 'kolbak.backup')
    expect((await operate(services.dataDir, 'backup', file)).code, 'of a service that is stopped').to.equal(0)
    const secondBackup = await operate(services.dataDir, 'backup', file)
    expect(secondBackup.code).to.equal(1)
    expect(secondBackup.err).to.match(/^operate: \S+ exists already, and a backup overwrites nothing: name a new file\. \(file_exists\)\n$/)
    const elsewhere = await operate(services.dataDir, 'backup', join(folder, 'none', 'kolbak.backup'))
    expect(elsewhere.err).to.include('does not exist. (file_unusable')
    expect(await readdir(folder)).to.deep.equal(['kolbak.backup'])
  })

  it('goes through a pipe', async () => {
    const service = await start()
    const file = join(folder, 'kolbak.backup')
    const { out, code } = await runProgram('operator/operate.ts', ['backup', '-'], { KOLBAK_DATA_DIR: services.dataDir }, 'latin1')
    expect(code).to.equal(0)
    await service.kill('SIGTERM')
    await writeFile(file, out, 'latin1')
    const restored = await operate(other, 'restore', file)
    expect(restored.code, restored.err).to.equal(0)
  })

  it('leaves nothing behind when its restore is killed', async () => {
    const service = await start()
    const file = join(folder, 'kolbak.backup')
    expect((await operate(services.dataDir, 'backup', file)).code).to.equal(0)
    await service.kill('SIGTERM')
    const path = join(import.meta.dirname, '../../src/operator/operate.ts')
    const env = { ...inherited, KOLBAK_DATA_DIR: other }
    const restoring = spawn(process.execPath, [path, 'restore', '-'], { env, stdio: ['pipe', 'ignore', 'ignore'] })
    const bytes = await readFile(file)
    restoring.stdin.write(bytes.subarray(0, bytes.length / 2))
    const { url } = await waitFor(() => embeddedPostgres(other).catch(() => null), { what: 'Postgres to be started' })
    const pool = createPool({ url, name: 'test', max: 1, log: silentLog })
    try {
      const isRestoring = `select from pg_stat_activity where application_name = 'kolbak restore' and backend_xid is not null`
      await waitFor(async () => (await pool.query(isRestoring).catch(() => ({ rowCount: 0 }))).rowCount === 1, {
        what: 'the restore to write',
      })
      restoring.kill('SIGKILL')
      await once(restoring, 'exit')
    } finally {
      await pool.end()
    }
    const whole = await operate(other, 'restore', file)
    expect(whole.code, whole.err).to.equal(0)
  })

  it('is not restored into a service that has data, or when a part of the backup is missing', async () => {
    const service = await start()
    const file = join(folder, 'kolbak.backup')
    expect((await operate(services.dataDir, 'backup', file)).code).to.equal(0)
    expect((await operate(services.dataDir, 'restore', file)).err).to.include('(data_dir_in_use)')
    await service.kill('SIGTERM')
    const secondRestore = await operate(services.dataDir, 'restore', file)
    expect(secondRestore.code).to.equal(1)
    expect(secondRestore.err).to.match(/The database holds data already .*KOLBAK_DATA_DIR to a new folder\. \(database_not_empty\)/)

    await writeFile(join(folder, 'cut'), (await readFile(file)).subarray(0, -20))
    const cut = await operate(other, 'restore', join(folder, 'cut'))
    expect(cut.code).to.equal(1)
    expect(cut.err).to.match(/The backup is damaged or incomplete .*nothing of it was restored\. \(backup_damaged\)/)
    expect((await operate(other, 'restore', join(folder, 'none'))).err).to.include('none does not exist. (file_unusable')
    // With the keys in their place, the restore is in the audit log.
    await copyFile(join(services.dataDir, 'keys.json'), join(other, 'keys.json'))
    const whole = await operate(other, 'restore', file)
    expect(whole.code, whole.err).to.equal(0)
    expect(whole.err).not.to.include('not in the audit log')
    const second = await start({ KOLBAK_DATA_DIR: other })
    const { token } = await clientOf(second.url)
    const response = await fetch(`${second.url}/v1/audit?type=OperatorActed`, { headers: { authorization: `Bearer ${token}` } })
    const { data } = JSON.parse((await response.text()).split('\n')[0]!)
    expect(data).to.deep.include({ command: 'operate restore', outcome: 'done', code: null })
    expect(data.arguments).to.deep.include({ file: 'kolbak.backup' })
  })
})
