import { expect } from 'chai'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { load } from '../support/load.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import {
  type Client,
  clientOf,
  endService,
  type RunningService,
  startService,
  temporaryFolder,
  type WebhookAnswer,
} from '../support/service.ts'
import { waitFor } from '../support/wait-for.ts'

describe('two processes of every role', function () {
  this.timeout(120_000)
  let db: TestDatabase
  let folders: string[]
  let services: RunningService[]
  let receiver: Receiver

  const start = async (variables: Record<string, string> = {}) => {
    const folder = await temporaryFolder()
    folders.push(folder)
    const service = await startService(folder, {
      DATABASE_URL: db.url,
      KOLBAK_MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
      KOLBAK_JWT_SECRET: Buffer.alloc(32, 2).toString('base64'),
      KOLBAK_LEASE_MS: '3000',
      KOLBAK_CLAIM_MS: '5000',
      KOLBAK_REQUEST_TIMEOUT_MS: '1000',
      KOLBAK_CONNECT_TIMEOUT_MS: '500',
      KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3',
      ...variables,
    })
    services.push(service)
    return service
  }
  beforeEach(async () => {
    folders = []
    services = []
    ;[db, receiver] = await Promise.all([freshDatabase(), startReceiver()])
  })
  afterEach(async () => {
    await Promise.all(services.map((service, i) => endService(service, folders[i]!)))
    await receiver.close()
    await db.drop()
  })
  const ids = (path: string) => receiver.received(path).map((request) => String(request.headers['webhook-id']))
  const subscribe = (api: Client, path: string) =>
    api.post<WebhookAnswer>('/v1/webhooks', { callback_url: receiver.url(path), event: 'load.*' })

  it('share the work without doing it twice, and go on when one of each dies', async () => {
    const roles = ['projector', 'projector', 'api', 'api', 'dispatcher', 'dispatcher']
    const all = await Promise.all(roles.map((role) => start({ KOLBAK_ROLES: role })))
    const of = (role: string) => all.filter((_, i) => roles[i] === role)
    const [one, two] = of('api')
    const api = await waitFor(() => clientOf(one!.url))
    await subscribe(api, '/many')
    const loads = [one, two].map((service, i) => load(service!.url, `Bearer ${api.token}`, { perSecond: 40, from: i * 100_000 }))
    await waitFor(() => loads.every((l) => l.accepted.length > 80), { ms: 40_000 })
    const posted = () => loads.flatMap((l) => l.accepted)
    const early = posted()
    await waitFor(() => early.every((id) => ids('/many').includes(id)), { ms: 40_000, what: 'the first to arrive' })
    expect(ids('/many')).to.have.length(new Set(ids('/many')).size)
    // One of each role: those who are left have all to do.
    await Promise.all(['projector', 'dispatcher', 'api'].map((role) => of(role)[1]!.kill('SIGKILL')))
    const before = loads[0]!.accepted.length
    await waitFor(() => loads[0]!.accepted.length > before + 80, { ms: 40_000 })
    await Promise.all(loads.map((l) => l.stop()))
    await waitFor(() => posted().every((id) => ids('/many').includes(id)), { ms: 60_000, what: 'all to arrive' })
    const last = loads[0]!.accepted.at(-1)
    const isDone = async () =>
      (await api.get<{ data: { status: string }[] }>(`/v1/events/${last}/deliveries`)).data[0]?.status === 'success'
    await waitFor(isDone, { ms: 40_000, what: 'the history to go on' })
  })
})
