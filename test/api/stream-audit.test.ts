import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

interface Line {
  event_id: string
  time: string
  family: string
  id: string
  revision: number
  type: string
  actor: { kind: string; id: string; name: string | null }
  correlation_id: string
  data: Record<string, unknown>
}

describe('GET /v1/audit', () => {
  let api: TestApi
  let auditor: TestClient
  let key: { id: string; key: string }
  let webhook: string
  let clock = Date.parse('2026-03-31T00:00:00.000Z')
  before(async () => {
    api = await startApi({ replace: () => ({ now: () => clock }) })
    auditor = await api.tenant()
    key = await api.key(auditor)
    clock += 60_000
    webhook = await api.webhook(key, { description: 'of the shop' })
    clock += 60_000
    await api.call('PATCH', `/v1/webhooks/${webhook}`, {
      as: auditor,
      body: { event: 'order.*' },
      headers: { 'x-request-id': 'the-change' },
    })
    const rotated = await api.call('POST', `/v1/webhooks/${webhook}/secret/rotate`, { as: key })
    api.secrets.add(rotated.get('secret'))
    clock += 60_000
    await api.call('DELETE', `/v1/webhooks/${webhook}`, { as: key })
    await api.call('DELETE', `/v1/keys/${key.id}`, { as: auditor })
  })
  after(() => api.stop())
  const stream = (query = '', as: TestClient = auditor) => api.call('GET', `/v1/audit${query}`, { as })
  const linesOf = async (query = '', as: TestClient = auditor): Promise<Line[]> => {
    const response = await stream(query, as)
    expect(response.status, response.text).to.equal(200)
    expect(response.headers.get('content-type')).to.equal('application/x-ndjson')
    return response.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line)
  }

  it('returns 200 with every event of the tenant, oldest first, one per line', async () => {
    const lines = await linesOf('?since=2026-03-31T00:00:00Z&until=2026-04-01T00:00:00Z')
    expect(lines.map((line) => [line.type, line.family, line.id, line.revision])).to.deep.equal([
      ['KeyCreated', 'key', key.id, 0],
      ['WebhookCreated', 'webhook', webhook, 0],
      ['WebhookChanged', 'webhook', webhook, 1],
      ['WebhookSecretRotated', 'webhook', webhook, 2],
      ['WebhookDeleted', 'webhook', webhook, 3],
      ['KeyDeleted', 'key', key.id, 1],
    ])
    expect(lines[2]).to.deep.include({
      time: '2026-03-31T00:02:00.000Z',
      correlation_id: 'the-change',
      data: { id: webhook, event: 'order.*' },
    })
    expect(lines[1]?.data).to.include({ description: 'of the shop', key_id: key.id })
  })
  it('returns 200 with the names of the actors, including deleted keys', async () => {
    const lines = await linesOf('?family=webhook')
    expect(lines.map(({ actor }) => [actor.kind, actor.id, actor.name])).to.deep.equal([
      ['key', key.id, 'Key of the test'],
      ['client', auditor.clientId, 'test'],
      ['key', key.id, 'Key of the test'],
      ['key', key.id, 'Key of the test'],
    ])
  })
  it('returns 200 without secrets, key values and HMACs', async () => {
    const { text } = await stream()
    for (const secret of api.secrets) if (!secret.includes('in-the-url')) expect(text).to.not.include(secret)
    expect(text).to.not.include('sealed:')
    const sealed = (await linesOf()).flatMap(({ type, data }) =>
      Object.entries(data)
        .filter(([, value]) => value === '[sealed]')
        .map(([field]) => `${type}.${field}`),
    )
    expect([...new Set(sealed)].sort()).to.deep.equal([
      'ClientIssued.secret_hmac',
      'KeyCreated.key',
      'WebhookCreated.secret',
      'WebhookSecretRotated.secret',
    ])
  })
  it('returns 200 filtered by family, actor and time', async () => {
    expect((await linesOf('?family=tenant')).map((line) => line.type)).to.deep.equal(['TenantRegistered', 'ClientIssued'])
    expect((await linesOf(`?actor=key:${key.id}`)).map((line) => line.type)).to.deep.equal([
      'WebhookCreated',
      'WebhookSecretRotated',
      'WebhookDeleted',
    ])
    const day = '2026-03-31T00:0'
    expect((await linesOf(`?since=${day}1:00Z&until=${day}2:00Z`)).map((line) => line.type)).to.deep.equal(['WebhookCreated'])
    expect(await linesOf('?since=2100-01-01T00:00:00Z')).to.deep.equal([])
  })
  it('returns 200 with a change that was acknowledged just before', async () => {
    const other = await api.tenant()
    for (let i = 0; i < 5; i++) {
      const created = await api.webhook(other)
      expect((await linesOf('?family=webhook', other)).at(-1)?.id).to.equal(created)
    }
  })
  it('returns 200 with more events than one batch, each once and in order', async () => {
    const other = await api.tenant()
    const created = await api.webhook(other)
    for (let i = 0; i < 1_100; i += 100)
      await api.deps.streams.read(`webhook-${created}`).then(async (past) => {
        const decided = Array.from({ length: 100 }, (_, k) => ({
          id: crypto.randomUUID() as never,
          type: 'WebhookChanged',
          data: { id: created, event: `e.${i + k}` },
        }))
        const by = {
          actor: 'system:test',
          tenant: other.tenant,
          time: new Date(clock).toISOString(),
          $correlationId: 'c',
          $causationId: null,
        } as const
        await api.deps.streams.append(`webhook-${created}`, decided, past.revision, past, by)
      })
    const lines = await linesOf('?family=webhook', other)
    expect(lines.map((line) => line.revision)).to.deep.equal(Array.from({ length: 1_101 }, (_, i) => i))
  })
  it('returns 200 without events of other tenants', async () => {
    const other = await api.tenant()
    const text = (await stream('', other)).text
    expect(text).to.not.include(auditor.tenant).and.not.include(webhook)
    expect(await linesOf(`?actor=key:${key.id}`, other)).to.deep.equal([])
  })
  it('returns 403 without read:audit, and 401 to a key', async () => {
    const reader = await api.sibling(auditor, ['read:webhooks', 'read:keys', 'read:events'])
    expect((await stream('', reader)).status).to.equal(403)
    expect((await api.call('GET', '/v1/audit', { as: await api.key(auditor) })).status).to.equal(401)
  })
  it('returns 422 for an invalid time, family or actor', async () => {
    for (const query of ['?actor=client:%00', '?actor=client:a%00b', '?since=yesterday', '?family=attempts', '?actor=me', '?limit=1'])
      expect((await stream(query)).status, query).to.equal(422)
  })
})
