import { expect } from 'chai'
import { createAccessLog } from '../../src/api/access-log.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import { defaultTenant } from '../../src/events/ids.ts'
import type { StreamName } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { findClient } from '../../src/projections/clients.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { capturingLog } from '../support/capturing-log.ts'
import { fixtureKeyring } from '../support/event-fixtures.ts'
import { waitFor } from '../support/wait-for.ts'

interface Line {
  index: number
  type: string
  time: string
  actor: { kind: string; id: string }
  metadata: { operation: string; request_id: string }
  data: { count: number; status: number; code: string; client_id: string; url: string; lines: number; origin: { address: string } }
}

describe('GET /v1/audit?family=access', () => {
  let api: TestApi
  let owner: TestClient
  let operator: TestClient
  let auditor: TestClient
  let close: () => Promise<void>
  before(async () => {
    api = await startApi({
      replace: ({ store, keyring, log, pool }) => {
        const tenantOf = async (id: Parameters<typeof findClient>[1]) => (await findClient(pool, id))?.tenant ?? null
        const access = createAccessLog({ store, keyring, log, tenantOf, isReady: () => true, flushMs: 10, countMs: 50 })
        close = access.close
        return { access }
      },
    })
    ;[owner, operator] = [await api.tenant(), await api.operator()]
    auditor = await api.sibling(operator, ['audit', 'read:audit'])
  })
  after(async () => {
    await close()
    await api.stop()
  })
  const accesses = async (as: TestClient, filter = '', headers = {}): Promise<Line[]> => {
    const { status, text } = await api.call('GET', `/v1/audit?family=access${filter}`, { as, headers })
    expect(status, text).to.equal(200)
    const lines = text.split('\n').slice(0, -1)
    expect(JSON.parse(lines.pop() ?? '{}')).to.include({ end: true, lines: lines.length })
    return lines.map((line) => JSON.parse(line))
  }
  /** Waits for the lines of a type that pass the check. */
  const linesOf = (as: TestClient, type: string, isComplete: (lines: Line[]) => boolean = (lines) => lines.length > 0) =>
    waitFor(async () => {
      const lines = await accesses(as, `&type=${type}`)
      return isComplete(lines) ? lines : null
    })

  it('shows a denied request with its caller, its operation and its number', async () => {
    const reader = await api.sibling(owner, ['read:events'])
    const refused = await api.call('GET', '/v1/webhooks', { as: reader })
    for (let i = 0; i < 2; i++) await api.call('GET', '/v1/webhooks', { as: reader })
    const lines = await linesOf(owner, 'AccessDenied', (all) => all.reduce((sum, { data }) => sum + data.count, 0) === 3)
    expect(lines[0]?.actor).to.include({ kind: 'client', id: reader.clientId })
    expect(lines[0]?.data).to.include({ status: 403, code: 'insufficient_scope' }).and.have.nested.property('origin.address', '127.0.0.1')
    expect(lines[0]?.metadata).to.include({ operation: 'listWebhooks', request_id: refused.headers.get('kolbak-request-id') })
  })
  it('shows a change that If-Match prevented', async () => {
    const webhook = await api.webhook(owner)
    const path = `/v1/webhooks/${webhook}`
    expect((await api.call('PATCH', path, { as: owner, body: {}, headers: { 'if-match': '"7"' } })).status).to.equal(412)
    await linesOf(owner, 'AccessDenied', (lines) => lines.some(({ data }) => data.status === 412))
  })
  it('shows a failed login to the tenant of the client, and those of unknown clients and credentials to the tenant `default`', async () => {
    const login = (client_id: string) =>
      api.call('POST', '/v1/auth', { body: { grant_type: 'client_credentials', client_id, client_secret: 'x' } })
    expect((await login(owner.clientId)).status).to.equal(401)
    await login('client_nobody')
    await api.call('GET', '/v1/webhooks', { as: { token: 'wrong' } })
    const [own] = await linesOf(owner, 'TokenRefused')
    expect(own?.data).to.include({ client_id: owner.clientId, code: 'invalid_client', count: 1 })
    const [unknown] = await linesOf(auditor, 'TokenRefused')
    expect(unknown?.data).to.include({ client_id: 'client_nobody' })
    await linesOf(auditor, 'AccessDenied', (lines) => lines.some(({ data }) => data.code === 'unauthorized'))
  })
  it('shows each read of the audit log and of the past, also those of the auditor of the service', async () => {
    const audited = await api.call('GET', '/v1/audit?family=webhook', { as: owner })
    const last = JSON.parse(audited.text.trimEnd().split('\n').at(-1)!)
    expect(last.lines).to.be.greaterThan(0)
    const headers = { 'kolbak-tenant': owner.tenant }
    const webhooks = await api.call('GET', '/v1/webhooks', { as: auditor, headers })
    const lines = await linesOf(owner, 'AuditRead', (all) => all.some(({ actor }) => actor.id === auditor.clientId))
    const read = new Map(lines.map(({ data }) => [data.url, data.lines]))
    expect(read.get('/v1/audit?family=webhook'), 'the lines of the stream').to.equal(last.lines)
    expect(read.get('/v1/webhooks'), 'the webhooks of the list').to.equal(JSON.parse(webhooks.text).data.length)
    await api.call('GET', `/v1/webhooks?as_of=${new Date().toISOString()}`, { as: owner })
    await linesOf(owner, 'AuditRead', (all) => all.some(({ data }) => data.url.includes('as_of')))
    expect((await accesses(auditor, '', headers)).length).to.be.greaterThan(2)
  })
  it('continues after an index, filters, and returns CSV', async () => {
    const all = await accesses(owner)
    expect(all.map(({ index }) => index)).to.deep.equal(all.map(({ index }) => index).sort((a, b) => a - b))
    const second = all[1]!
    expect((await accesses(owner, `&after=${all[0]!.index}`))[0]).to.deep.equal(second)
    expect((await accesses(owner, `&since=${second.time}&type=TokenRefused`)).every(({ type }) => type === 'TokenRefused')).to.equal(true)
    expect(await accesses(owner, `&id=${defaultTenant}`)).to.deep.equal([])
    const headers = { authorization: `Bearer ${owner.token}`, accept: 'text/csv' }
    const csv = await (await fetch(`${api.origin}/v1/audit?family=access`, { headers })).text()
    expect(csv).to.include('AccessDenied').and.include('\r\nend,')
  })
})

describe('the access log', () => {
  type Options = Parameters<typeof createAccessLog>[0]
  const start = (append: (stream: StreamName, events: readonly NewEvent[]) => Promise<void>, over: Partial<Options> = {}) =>
    createAccessLog({
      store: { append: append as unknown as EventStore['append'] },
      ...{ keyring: fixtureKeyring, log: capturingLog(), tenantOf: async () => null, isReady: () => true, flushMs: 5, ...over },
    })
  const read = (n: number): Parameters<ReturnType<typeof start>['note']>[0] => ({
    ...{ tenant: defaultTenant, actor: 'client:a', correlation_id: 'c', what: { type: 'AuditRead', url: `/${n}` } },
    facts: { request_id: String(n), operation: 'streamAudit', origin: { address: '127.0.0.1', agent: null } },
  })

  it('keeps at most 1,000 events a minute, and counts the others', async () => {
    const stored: NewEvent[] = []
    const access = start(async (_, events) => void stored.push(...events))
    for (let n = 0; n < 1_007; n++) access.note(read(n))
    await access.close()
    expect(stored.filter(({ type }) => type === 'AuditRead').length).to.equal(1_000)
    expect(stored.find(({ type }) => type === 'AccessesOmitted')?.data).to.include({ count: 7 })
  })
  it('appends the same events again after the store has failed', async () => {
    const tries: string[][] = []
    const access = start(async (_, events) => {
      tries.push(events.map(({ id }) => id))
      if (tries.length < 3) throw new Error('away')
    })
    access.note(read(1))
    await waitFor(() => tries.length >= 3)
    await access.close()
    expect(new Set(tries.flat()).size).to.equal(1)
    expect(tries.length).to.equal(3)
  })
  it('appends nothing while a process lives that would not seal the events', async () => {
    const stored: NewEvent[] = []
    let isReady = false
    const access = start(async (_, events) => void stored.push(...events), { isReady: () => isReady })
    access.note(read(1))
    await access.close()
    expect(stored).to.deep.equal([])
    isReady = true
    await access.close()
    expect(stored.length).to.equal(1)
  })
})
