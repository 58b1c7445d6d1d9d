import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import type { EventId, KeyId } from '../../src/events/ids.ts'
import { keyStream } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { openMacs } from '../support/genuine.ts'
import { runProgram } from '../support/programs.ts'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

interface Act {
  readonly event_id: string
  readonly type: string
  readonly actor: { readonly id: string }
  readonly data: object
  readonly metadata: { readonly causation_id: string | null }
  readonly fault?: string
}

describe('the operator commands beside a running service', () => {
  const { service, receiver, services } = withService({ sharedDatabase: true })
  let api: Client
  before(async () => {
    api = await clientOf(service.url)
  })
  const operate = (...args: string[]) => runProgram('operator/operate.ts', args, services.variables({ KOLBAK_DATA_DIR: services.dataDir }))
  const resultOf = async <T>(...args: string[]): Promise<T> => {
    const { out, err, code } = await operate(...args)
    expect(code, err).to.equal(0)
    return JSON.parse(out) as T
  }

  it('show a quarantined stream, keep the quarantine while the cause remains, and skip the event', async () => {
    const id = ulid() as KeyId
    const store = createPostgresEventStore({ pool: services.db.pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 })
    const tenant = '00000000000000000000000000'
    // The value of the key is not sealed, as if a writer were faulty. No read model can apply the event.
    const data = { id, tenant, key: 'INTHECLEAR00', name: 'x', description: null, scopes: ['read:webhooks'] }
    const metadata = {
      schema: 1,
      actor: 'system:test',
      tenant,
      time: new Date().toISOString(),
      $correlationId: 'x',
      $causationId: null,
    } as const
    const event = { id: randomUUID() as EventId, type: 'KeyCreated', data, metadata, stream: keyStream(id), revision: 0 }
    await store.append(keyStream(id), [(await openMacs(services.db.pool))(event)], 'none')
    await store.close()

    const [quarantinedStream] = await waitFor(async () => {
      const all = await resultOf<{ projection: string; stream: string }[]>('quarantined')
      return all.length > 0 ? all : null
    })
    expect(quarantinedStream).to.include({ projection: 'api_keys', stream: keyStream(id), revision: 0 })
    const { checks } = (await api.get<{ data: { checks: { name: string; ok: boolean; message: string }[] } }>('/health/ready')).data
    const ofKeys = checks.find(({ name }) => name === 'projection api_keys')
    expect(ofKeys).to.include({ ok: true })
    expect(ofKeys?.message).to.include(' 1 streams quarantined')
    expect(checks.map(({ name }) => name)).to.include.members(['dispatcher', 'projection webhooks', 'projection deliveries'])
    // Events of all other streams are still applied.
    await api.post('/v1/keys', { name: 'another', scopes: ['read:webhooks'] })
    expect(await resultOf('retry', 'api_keys', keyStream(id))).to.include({ lifted: false, revision: 0 })
    expect(await resultOf('skip', 'api_keys', keyStream(id))).to.deep.equal({ lifted: true })
    expect(await resultOf('quarantined')).to.deep.equal([])
  })
  it('rebuild a read model while the API reads it', async () => {
    const before = await api.get<{ pagination: { total: number } }>('/v1/keys')
    await resultOf('rebuild', 'tenants')
    await waitFor(() => service.logLines.some((line) => line.msg === 'projection.switched' && line.projection === 'tenants'))
    expect((await api.get<{ pagination: { total: number } }>('/v1/keys')).pagination.total).to.equal(before.pagination.total)
  })
  it('rebuild the delivery history while the API reads it and deliveries continue', async () => {
    const { id } = await api.post<{ id: string }>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'rebuilt.*' })
    const history = async () => (await api.get<{ data: object[] }>(`/v1/webhooks/${id}/deliveries?status=success&limit=100`)).data
    const post = () => api.post('/v1/events', { event: 'rebuilt.event', payload: {} })
    for (let i = 0; i < 5; i++) await post()
    await waitFor(async () => (await history()).length === 5)
    const before = await history()
    expect(await resultOf('rebuild', 'deliveries')).to.deep.equal({ build: 2 })
    const isSwitched = () => service.logLines.some((line) => line.msg === 'projection.switched' && line.projection === 'deliveries')
    while (!isSwitched()) expect(await history()).to.deep.equal(before)
    await waitFor(() => service.logLines.some((line) => line.msg === 'projection.dropped' && line.projection === 'deliveries'))
    expect(await history()).to.deep.equal(before)
    await post()
    await waitFor(async () => (await history()).length === 6)
    expect(receiver.received('/hook')).to.have.length(6)
  })
  it('are in the audit log with the account that ran them, before and after they have an effect', async () => {
    const name = ulid()
    const stream = keyStream(ulid() as KeyId)
    expect((await operate('skip', 'api_keys', stream)).err).to.include('not_quarantined')
    expect((await operate('rebuild', name)).err).to.include('unknown_projection')
    const { build } = await resultOf<{ build: number }>('rebuild', 'tenants')
    expect(build).to.be.a('number')
    const text = await (await fetch(`${service.url}/v1/audit`, { headers: { authorization: `Bearer ${api.token}` } })).text()
    const lines: Act[] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const acts = lines.filter(({ type }) => type === 'OperatorActed')
    const shown = acts.map(({ actor, data }) => ({ ...data, actor: actor.id })).slice(-6)
    const by = { operator: { user: process.env.SUDO_USER ?? userInfo().username, host: hostname() }, actor: 'operator', code: null }
    const [skip, wrong, rebuild] = [
      { ...by, command: 'operate skip', arguments: { projection: 'api_keys', stream } },
      { ...by, command: 'operate rebuild', arguments: { projection: name } },
      { ...by, command: 'operate rebuild', arguments: { projection: 'tenants' } },
    ]
    expect(shown).to.deep.equal([
      { ...skip, outcome: 'begun' },
      { ...skip, outcome: 'failed', code: 'not_quarantined' },
      { ...wrong, outcome: 'begun' },
      { ...wrong, outcome: 'failed', code: 'unknown_projection' },
      { ...rebuild, outcome: 'begun' },
      { ...rebuild, outcome: 'done' },
    ])
    const [begun, done] = [acts.at(-2)!, acts.at(-1)!]
    expect(done.metadata.causation_id).to.equal(begun.event_id)
    expect(done.fault).to.equal(undefined)
    const stored = await services.db.pool.query(`select data from command_events where type = 'OperatorActed'`)
    for (const { data } of stored.rows) expect(data).not.to.include(JSON.stringify(hostname()))
    // A command that only reads is no event.
    await resultOf('backlog')
    const { rows } = await services.db.pool.query(`select count(*)::int as count from command_events where type = 'OperatorActed'`)
    expect(rows[0].count).to.equal(acts.length)
  })
  it('print one sentence when they cannot be carried out', async () => {
    expect((await operate('rebuild', 'nothing')).err).to.match(/There is no projection nothing: tenants, .*unknown_projection/)
    expect((await operate('rebuild', 'endpoint_manager')).err).to.include('not_rebuildable')
    expect((await operate('retry', 'webhooks', 'webhook-none')).err).to.include('not_quarantined')
  })
})
