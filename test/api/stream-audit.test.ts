import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { csvRow } from '../../src/api/audit-streams.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

interface Line {
  index: number
  fault?: string
  metadata: Record<string, unknown>
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
      .slice(0, -1) // the last line is no event
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
        const author = {
          actor: 'system:test',
          tenant: other.tenant,
          time: new Date(clock).toISOString(),
          $correlationId: 'c',
          $causationId: null,
        } as const
        await api.deps.streams.append(`webhook-${created}`, decided, past.revision, past, author)
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
  it('returns 200 in the order of the indexes, and goes on after the last line, whatever the times of the events are', async () => {
    const other = await api.tenant()
    const seen: number[] = []
    let after = ''
    const tail = async () => {
      const response = await stream(`?family=webhook${after}`, other)
      const lines = response.text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      seen.push(...lines.slice(0, -1).map((line) => line.index))
      after = `&after=${lines.at(-1).after}`
    }
    let isWriting = true
    const writing = Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        const id = await api.webhook(other)
        for (let n = 0; n < 10; n++) {
          clock += writer % 2 === 0 ? 1_000 : -1_000 // the clocks of two processes differ
          await api.call('PATCH', `/v1/webhooks/${id}`, { as: other, body: { event: `a.b${n}` } })
        }
      }),
    ).finally(() => {
      isWriting = false
    })
    while (isWriting) await tail()
    await writing
    await tail()
    expect(seen).to.have.length(8 * 11)
    expect(seen).to.deep.equal([...seen].sort((a, b) => a - b))
  })
  it('returns 200 with a last line that says how many lines came before, and their hash', async () => {
    const { text } = await stream('?family=webhook')
    const end = text.lastIndexOf('\n', text.length - 2) + 1
    const { index } = JSON.parse(text.slice(0, end).trimEnd().split('\n').at(-1)!)
    const last = JSON.parse(text.slice(end))
    expect(last).to.deep.include({ end: true, lines: 4, sha256: createHash('sha256').update(text.slice(0, end)).digest('hex') })
    expect(last.after).to.be.at.least(index)
  })
  it('returns 200 with the facts about the request of each event', async () => {
    const line = (await linesOf('?type=WebhookChanged')).at(0)!
    expect(line.metadata).to.deep.include({ schema: 1, operation: 'changeWebhook', causation_id: null, reason: null })
    expect(line.metadata.auth).to.include({ credential: 'token', generation: 1 })
    expect(line.metadata.origin).to.have.property('address')
    expect(await linesOf(`?request=${line.metadata.request_id}`)).to.deep.equal([line])
    expect(await linesOf('?correlation=the-change')).to.deep.equal([line])
    expect((await linesOf(`?id=${webhook}`)).map(({ type }) => type)).to.have.length(4)
  })
  it('says of an event whose row was changed that it is altered, and shows it', async () => {
    const other = await api.tenant()
    const id = await api.webhook(other)
    expect(await linesOf('?family=webhook', other)).to.have.length(1)
    await api.db.pool.query(
      `update projection_audit_1.audit_events set data = replace(data, '"is_active":true', '"is_active":false') where stream = $1`,
      [`webhook-${id}`],
    )
    const [line] = await linesOf('?family=webhook', other)
    expect(line).to.include({ fault: 'altered', type: 'WebhookCreated' })
  })
  it('ends with the error of a token that was revoked on the way', async () => {
    const other = await api.tenant()
    const pool = api.deps.pool
    const reader = await api.sibling(other, ['read:audit'])
    await pool.query(
      `insert into projection_audit_1.audit_events
       select 1000000 + n, position, tenant, time, stream, revision, id, family, type, actor, correlation_id, request_id, schema, data, metadata, leaf
       from projection_audit_1.audit_events, generate_series(1, 60000) n where tenant = $1 and type = 'TenantRegistered'`,
      [other.tenant],
    )
    await pool.query('update projection_audit_1.log_state set size = 2000000')
    try {
      const response = await fetch(`${api.origin}/v1/audit`, { headers: { authorization: `Bearer ${reader.token}` } })
      const chunks = response.body!.getReader()
      let text = Buffer.from((await chunks.read()).value!).toString()
      await api.command(other.tenant, { type: 'RevokeClient', client_id: reader.clientId })
      const second = await api.call('GET', '/v1/audit', { as: reader })
      expect([401, 429]).to.include(second.status)
      const revokedAt = performance.now()
      for (let next = await chunks.read(); !next.done; next = await chunks.read()) {
        text += Buffer.from(next.value)
        if (performance.now() - revokedAt < 2_500) await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const last = JSON.parse(text.trimEnd().split('\n').at(-1)!)
      expect(last.error.code).to.equal('unauthorized')
      expect(last.after).to.be.greaterThan(0)
    } finally {
      await pool.query('delete from projection_audit_1.audit_events where index > 1000000')
      await pool.query('update projection_audit_1.log_state set size = (select count(*) from projection_audit_1.audit_events)')
    }
  })
  it('returns 429 for a second stream of one caller, and for a fifth of the process', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => api.tenant()))
    await api.db.pool.query(
      `insert into projection_audit_1.audit_events
       select 1000000 + row_number() over (), position, tenant, time, stream, revision, id, family, type, actor, correlation_id, request_id, schema, data, metadata, leaf
       from projection_audit_1.audit_events, generate_series(1, 10000) n where tenant = any ($1) and type = 'TenantRegistered'`,
      [clients.map(({ tenant }) => tenant)],
    )
    await api.db.pool.query('update projection_audit_1.log_state set size = 2000000')
    const stalled: Response[] = []
    try {
      for (const { token } of clients.slice(0, 4)) {
        const response = await fetch(`${api.origin}/v1/audit`, { headers: { authorization: `Bearer ${token}` } })
        expect(response.status).to.equal(200)
        stalled.push(response) // the test does not read this response
      }
      const refused = [await stream('', clients[0]), await stream('', clients[4])]
      expect(refused.map(({ status }) => status)).to.deep.equal([429, 429])
      expect(refused[0]?.text).to.include('stream_running')
      await stalled.pop()?.body?.cancel()
      await waitFor(async () => (await stream('?type=KeyCreated', clients[4])).status === 200)
    } finally {
      await Promise.all(stalled.map((response) => response.body?.cancel()))
      await api.db.pool.query('delete from projection_audit_1.audit_events where index > 1000000')
      await api.db.pool.query('update projection_audit_1.log_state set size = (select count(*) from projection_audit_1.audit_events)')
    }
  })
  it('returns 200 as CSV that no spreadsheet takes for a formula, and 406 for other types', async () => {
    const other = await api.tenant()
    await api.webhook(other, { description: '=cmd()' })
    const read = (accept: string) =>
      fetch(`${api.origin}/v1/audit?family=webhook`, { headers: { authorization: `Bearer ${other.token}`, accept } })
    const response = await read('text/csv')
    expect(response.headers.get('content-type')).to.match(/^text\/csv/)
    const rows = (await response.text()).split('\r\n')
    expect(rows[0]).to.match(/^index,event_id,time,/)
    expect(rows[1]).to.include('""description"":""=cmd()""') // this is part of the JSON in a cell
    expect(rows[2]).to.match(/^end,/)
    expect((await read('application/xml')).status).to.equal(406)
    expect(csvRow(['=1+1', '-1', '@x', '+1', 'a"b', null])).to.equal(`'=1+1,'-1,'@x,'+1,"a""b",\r\n`)
  })
  it('returns 422 for an invalid time, family or actor', async () => {
    for (const query of [
      '?actor=client:%00',
      '?actor=client:a%00b',
      '?since=yesterday',
      '?family=attempts',
      '?actor=me',
      '?limit=1',
      '?after=-1',
      '?id=x',
      '?since=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z',
    ])
      expect((await stream(query)).status, query).to.equal(422)
  })
})
