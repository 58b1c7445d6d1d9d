import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { readConfig } from '../../src/config/config.ts'
import type { Metadata } from '../../src/events/envelope.ts'
import { defaultTenant } from '../../src/events/ids.ts'
import { commandEntry, leafHash } from '../../src/events/leaf.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createLogSigner } from '../../src/lib/log-signer.ts'
import { verify } from '../../src/operator/verify.ts'
import { enginesFor } from '../support/engine-sets.ts'
import { runProgram } from '../support/programs.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

/*
 * Somebody with the password of the database changes what is stored. Each test alters the real Postgres, and expects that the service says so.
 * docs/audit.md says what is proven.
 */
describe('changes that somebody makes in the database', () => {
  const { service, receiver, services } = withService({ sharedDatabase: true })
  let api: Client
  before(async () => {
    api = await clientOf(service.url)
  })
  const subscribe = () => api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'order.*' })
  const change = (id: string) =>
    api.call<{ error: { code: string; message: string } }>('PATCH', `/v1/webhooks/${id}`, { description: `${Math.random()}` })
  const sql = (text: string, values: unknown[] = []) => services.db.pool.query(text, values)
  const metadataOf = async (stream: string): Promise<Metadata> => {
    const { rows } = await sql('select metadata from command_events where stream = $1 order by revision desc limit 1', [stream])
    return JSON.parse(rows[0].metadata)
  }
  const quarantined = async (stream: string): Promise<{ projection: string; error: string }[]> =>
    (await sql('select projection, error from quarantined_streams where stream = $1 order by projection', [stream])).rows
  /** Appends an event and notifies the service of it. Without the notice, the service would read the event some seconds later. */
  const append = async (stream: string, expected: number, type: string, data: object, metadata: object) => {
    await sql(
      'select append_events($1, null, array[1], array[$2::int], array[1], array[1], array[0], array[gen_random_uuid()], $3, $4, $5)',
      [stream, expected, type, JSON.stringify(data), JSON.stringify(metadata)],
    )
    await sql(`notify kolbak, 'somebody events'`)
  }

  it('the audit log begins with LogStarted, and from this event on every command event has a MAC', async () => {
    const { rows } = await sql(`select stream, type, metadata::jsonb ? 'mac' as has_mac from command_events order by position`)
    expect(rows[0]).to.deep.include({ stream: 'log-00000000000000000000000000', type: 'LogStarted' })
    expect(rows.filter((row) => !row.has_mac)).to.deep.equal([])
    const { id } = await subscribe()
    const { commits, mac, app } = await metadataOf(`webhook-${id}`)
    expect(Object.keys(commits ?? {})).to.deep.equal(['callback_url', 'origin'])
    expect(mac).to.match(/^[\w-]{43}$/)
    expect(app).to.match(/^\d+\.\d+\.\d+/)
  })
  it('a routed message names its producer, and the request in which it was posted', async () => {
    await subscribe()
    const posted = await api.call('POST', '/v1/events', { id: 'evt_by', event: 'order.created', payload: {} })
    const routed = await waitFor(
      async () => (await sql(`select data from day_events where type = 'MessageRouted' and data like '%"evt_by"%'`)).rows[0],
    )
    expect(JSON.parse(routed.data).producer).to.deep.equal({ actor: 'client:admin', request_id: posted.headers.get('kolbak-request-id') })
  })
  it('a forged deactivation in the name of a customer is never applied', async () => {
    const { id } = await subscribe()
    const stream = `webhook-${id}`
    const metadata = { ...(await metadataOf(stream)), actor: 'client:the-customer-himself' }
    await append(stream, 0, 'WebhookDeactivated', { id, reason: 'requested' }, metadata)
    const rows = await waitFor(async () => {
      const quarantinedRows = await quarantined(stream)
      return ['webhooks', 'webhook_versions'].every((name) => quarantinedRows.some(({ projection }) => projection === name))
        ? quarantinedRows
        : null
    })
    for (const { error } of rows)
      expect(error).to.equal(`event_forged: ${stream}@1 has a MAC that does not fit: it is not what Kolbak has written`)
    expect(await api.get<WebhookResponse>(`/v1/webhooks/${id}`)).to.include({ is_active: true })
    const refused = await change(id)
    expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    expect(refused.body.error.message).to.include(`${stream}@1 is altered`)
  })
  it('a forged erasure of a tenant destroys no key', async () => {
    const { data } = await api.post<{ data: { id: string } }>('/v1/tenants', { name: 'Acme' })
    const stream = `tenant-${data.id}`
    await append(stream, 0, 'TenantErasureAsked', { id: data.id }, await metadataOf(stream))
    await waitFor(async () => (await quarantined(stream)).some(({ projection }) => projection === 'erasure_manager'))
    expect((await sql('select from data_keys where owner = $1 and wrapped is not null', [data.id])).rowCount).to.equal(2)
  })
  it('an event without a MAC is never applied either', async () => {
    const { id } = await subscribe()
    const stream = `webhook-${id}`
    const { mac: _, ...metadata } = await metadataOf(stream)
    await append(stream, 0, 'WebhookDeleted', { id }, metadata)
    await waitFor(async () => (await quarantined(stream)).some(({ projection }) => projection === 'webhooks'))
    expect((await quarantined(stream))[0]?.error).to.equal(`event_forged: ${stream}@1 has no MAC: Kolbak has not written it`)
    expect(await api.get<WebhookResponse>(`/v1/webhooks/${id}`)).to.include({ id })
  })
  it('a stream without its last event is found by the next command on it', async () => {
    const { id } = await subscribe()
    expect((await change(id)).status).to.equal(200)
    await waitFor(async () => (await sql('select from audit_events where stream = $1', [`webhook-${id}`])).rowCount === 2)
    await sql('delete from command_events where stream = $1 and revision = 1', [`webhook-${id}`])
    const refused = await change(id)
    expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    expect(refused.body.error.message).to.include(`webhook-${id}@1 is missing`)
  })
  it('a deleted stream is found in the same way', async () => {
    const { id } = await subscribe()
    await waitFor(async () => (await sql('select from audit_events where stream = $1', [`webhook-${id}`])).rowCount === 1)
    await sql('delete from command_events where stream = $1', [`webhook-${id}`])
    expect((await change(id)).body.error.message).to.include(`webhook-${id}@0 is missing`)
  })
  it('rights that somebody gives to a client, a key or a tenant in the read model are not granted', async () => {
    const { data: tenant } = await api.post<{ data: { id: string } }>('/v1/tenants', { name: ulid() })
    const { data } = await api.post<{ data: { client_id: string; client_secret: string } }>(`/v1/tenants/${tenant.id}/clients`, {
      name: 'shop',
      scopes: ['read:keys', 'write:keys', 'read:webhooks', 'write:webhooks'],
    })
    const client = await clientOf(service.url, { id: data.client_id, secret: data.client_secret })
    const { body: key } = await client.call<{ data: { id: string; key: string } }>('POST', '/v1/keys', {
      name: ulid(),
      scopes: ['read:webhooks'],
    })
    const statusByKey = async () => (await fetch(`${service.url}/v1/webhooks`, { headers: { 'x-api-key': key.data.key } })).status
    const statusByToken = async () => (await client.call('GET', '/v1/keys')).status
    const alterations = [
      ['clients', 'client_id', data.client_id, `scopes = scopes || '["admin"]'`, statusByToken],
      ['clients', 'client_id', data.client_id, `generation = generation + 1, revoked = false`, statusByToken],
      ['api_keys', 'id', key.data.id, `scopes = scopes || '["write:webhooks"]'`, statusByKey],
      ['tenants', 'id', tenant.id, `limits = '{"webhooks":1000000}'`, statusByKey],
    ] as const
    for (const [table, column, id, alteration, status] of alterations) {
      await waitFor(async () => (await status()) === 200)
      const [before] = (await sql(`select * from ${table} where ${column} = $1`, [id])).rows
      await sql(`update ${table} set ${alteration} where ${column} = $1`, [id])
      await waitFor(async () => (await status()) === 401, { what: `${table} with ${alteration} to be refused` })
      await waitFor(() =>
        service.logLines.some((line) => line.msg === 'credentials.row_altered' && line.table === table && line.key === id),
      )
      const { scopes, generation, limits } = before
      if (table === 'clients')
        await sql('update clients set scopes = $2, generation = $3 where client_id = $1', [id, JSON.stringify(scopes), generation])
      else if (table === 'tenants') await sql('update tenants set limits = $2 where id = $1', [id, JSON.stringify(limits)])
      else await sql('update api_keys set scopes = $2 where id = $1', [id, JSON.stringify(scopes)])
    }
    await waitFor(async () => (await statusByKey()) === 200)
  })
  it('an altered row does not become genuine by the next change of it', async () => {
    const { data: tenant } = await api.post<{ data: { id: string } }>('/v1/tenants', { name: ulid() })
    const path = `/v1/tenants/${tenant.id}/clients`
    const { data } = await api.post<{ data: { client_id: string } }>(path, { name: 'shop', scopes: ['read:events'] })
    await sql(`update clients set scopes = scopes || '["admin"]' where client_id = $1`, [data.client_id])
    const { body } = await api.call<{ data: { client_secret: string } }>('POST', `${path}/${data.client_id}/secret/rotate`, {})
    await waitFor(async () => (await sql('select generation from clients where client_id = $1', [data.client_id])).rows[0].generation === 2)
    const { status } = await api.call('POST', '/v1/auth', {
      grant_type: 'client_credentials',
      client_id: data.client_id,
      client_secret: body.data.client_secret,
    })
    expect(status).to.equal(401)
  })
  it('rights that somebody gives to a client in the read model are found by the next rebuild', async () => {
    const { data } = await api.post<{ data: { id: string } }>('/v1/tenants', { name: 'a customer' })
    const issued = await api.post<{ data: { client_id: string } }>(`/v1/tenants/${data.id}/clients`, {
      name: 'shop',
      scopes: ['read:events'],
    })
    const { client_id } = issued.data
    await sql(`update clients set scopes = scopes || '["admin"]' where client_id = $1`, [client_id])
    const rebuilt = await runProgram('operator/operate.ts', ['rebuild', 'tenants', '--despite-faults'], {
      ...services.variables({ KOLBAK_DATA_DIR: services.dataDir }),
      ...(await enginesFor(services.db.url)),
    })
    expect(rebuilt.code, rebuilt.err).to.equal(0)
    const line = await waitFor(() => service.logLines.find(({ msg, key }) => msg === 'projection.differs' && key === client_id))
    expect(line).to.deep.include({ projection: 'tenants', table: 'clients', columns: ['scopes'] })
    await waitFor(async () => (await sql('select scopes from clients where client_id = $1', [client_id])).rows[0].scopes.length === 1)
  })
  it('a past state that somebody altered is shown neither alone nor in a list', async () => {
    const { id } = await subscribe()
    const time = encodeURIComponent(new Date().toISOString())
    const [alone, list] = [`/v1/webhooks/${id}?as_of=${time}`, `/v1/webhooks?ids=${id}&as_of=${time}`]
    expect((await api.get<{ data: object[] }>(list)).data).to.have.length(1)
    await sql(`update command_events set data = replace(data, 'order.*', '*') where stream = $1`, [`webhook-${id}`])
    for (const path of [alone, list]) {
      const { status, body } = await api.call<{ error: { code: string } }>('GET', path)
      expect(`${path}: ${status} ${body.error.code}`).to.equal(`${path}: 503 stream_faulty`)
    }
  })
  describe('a forged attempt', () => {
    /** Subscribes a path whose receiver fails, and waits until the first attempt of a delivery has failed. Returns the stored event. */
    const failedDelivery = async () => {
      const path = `/fails-${ulid()}`
      const event = `forged.${ulid().toLowerCase()}`
      receiver.setResponse(path, 500)
      const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event })
      await api.post('/v1/events', { id: ulid(), event, payload: {} })
      const failed = await waitFor(
        async () =>
          (await sql(`select * from day_events where type = 'DeliveryFailed' and stream like $1`, [`attempts-${webhook.id}-%`])).rows[0],
      )
      const { delivery } = JSON.parse(failed.data)
      const row = async () => (await sql('select attempt from scheduled_deliveries where delivery = $1', [delivery])).rows[0]
      await waitFor(async () => (await row())?.attempt === 2)
      return { webhook, path, delivery, stream: failed.stream as string, stored: { ...failed, data: JSON.parse(failed.data) }, row }
    }
    type Failed = Awaited<ReturnType<typeof failedDelivery>>
    /** Appends an attempt, as the service itself does it. @param isInHistory whether the history reads it from the event store */
    const forge = async (
      { stream, stored, delivery }: Failed,
      { type, data, id = randomUUID(), isInHistory = false }: { type: string; data: object; id?: string; isInHistory?: boolean },
    ) => {
      await sql(
        `select append_events($1, array[$2::date], array[1], array[-2], array[1], array[1], array[0], array[$3::uuid], $4, $5, $6, array[$7::uuid], array[$8::timestamptz])`,
        [
          ...[stream, stored.day, id, type, JSON.stringify({ ...stored.data, ...data }), stored.metadata],
          ...(isInHistory ? [delivery, stored.data.accepted_at] : [null, null]),
        ],
      )
      await sql(`notify kolbak, 'somebody events'`)
    }
    const refusedBy = (stream: string, projection: string) =>
      waitFor(async () => (await quarantined(stream)).find((row) => row.projection === projection)?.error, {
        what: `${projection} to refuse ${stream}`,
      })
    const faultsAt = async (stream: string) => {
      const config = readConfig(services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...(await enginesFor(services.db.url)) }))
      const { faults } = await verify(config, silentLog)
      return faults.filter(({ where }) => where.startsWith(stream)).map(({ where, fault }) => `${where} ${fault}`)
    }

    it('that says a delivery has succeeded does not end its retries', async () => {
      const failed = await failedDelivery()
      const { stream, delivery, path, row } = failed
      await forge(failed, { type: 'DeliverySucceeded', data: { code: 200, reason: null, attempt: 2 } })
      expect(await refusedBy(stream, 'deliveries')).to.equal(`event_forged: ${stream}@1 has no MAC: Kolbak has not written it`)
      expect(await row()).to.deep.equal({ attempt: 2 })
      await forge(failed, { type: 'DeliverySucceeded', data: { code: 200, reason: null }, isInHistory: true })
      // The history reads the second event from the event store. It checks the MAC, so neither the API nor the dispatcher believes the event.
      const shown = await api.get<{ data: { status: string; attempts: { response_code: number }[] } }>(`/v1/deliveries/${delivery}`)
      expect(shown.data).to.deep.include({ status: 'retrying' })
      expect(shown.data.attempts.map(({ response_code }) => response_code)).to.deep.equal([500])
      const listed = await api.get<{ data: { status: string }[] }>(`/v1/webhooks/${failed.webhook.id}/deliveries`)
      expect(listed.data.map(({ status }) => status)).to.deep.equal(['retrying'])
      expect(service.logLines.filter((line) => line.msg === 'history.event_forged' && line.delivery === delivery)).to.have.length(1)
      await sql('update scheduled_deliveries set due_at = now() where delivery = $1', [delivery])
      await sql(`notify kolbak, 'somebody schedule'`)
      await waitFor(() => receiver.received(path).length === 2)
      expect(await faultsAt(stream)).to.deep.equal([`${stream}@1 forged (mac)`, `${stream}@2 forged (mac)`])
    })
    it('that says a receiver is gone deactivates no webhook', async () => {
      const failed = await failedDelivery()
      const { stream, webhook } = failed
      const id = `${randomUUID().slice(0, 14)}8${randomUUID().slice(15)}`
      await forge(failed, { type: 'DeliveryDeadLettered', data: { code: 410, reason: 'http_410' }, id })
      for (const projection of ['deliveries', 'endpoint_manager'])
        expect(await refusedBy(stream, projection)).to.include(`${stream}@1 has a MAC that does not fit`)
      expect(await api.get<WebhookResponse>(`/v1/webhooks/${webhook.id}`)).to.include({ is_active: true })
      expect(await faultsAt(stream)).to.deep.equal([`${stream}@1 altered (mac)`])
    })
    it('that says a delivery is replayed sends no request', async () => {
      const failed = await failedDelivery()
      const { stream, path, row } = failed
      await forge(failed, { type: 'DeliveryReplayed', data: { chain: 2, attempt: 0 } })
      expect(await refusedBy(stream, 'deliveries')).to.include('event_forged')
      expect(await row()).to.deep.equal({ attempt: 2 })
      expect(receiver.received(path).length).to.equal(1)
      expect(await faultsAt(stream)).to.deep.equal([`${stream}@1 forged (mac)`])
    })
  })
  for (const [title, alteration] of [
    ['data', `data = replace(data, 'order.*', '*')`],
    ['author', `metadata = replace(metadata, 'client:admin', 'client:other')`],
    ['id', 'id = gen_random_uuid()'],
    ['stream', `stream = regexp_replace(stream, '.$', case when right(stream, 1) = 'Z' then 'Y' else 'Z' end)`],
  ] as const)
    it(`an event with another ${title} is refused by the next command on it`, async () => {
      const { id } = await subscribe()
      await sql(`update command_events set ${alteration} where stream = $1`, [`webhook-${id}`])
      const refused = await change(title.startsWith('stream') ? `${id.slice(0, -1)}${id.endsWith('Z') ? 'Y' : 'Z'}` : id)
      expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    })
})

/**
 * Finds a row once the projection has applied all attempts. Only these are in a batch when the service stops. It may take ten seconds for events that
 * the projection only passes over.
 */
const isApplied = `select from projections where name = 'deliveries' and is_live and checkpoint::bigint >= (select max(position) from day_events)`

describe('kolbak audit verify', () => {
  const { service, receiver, services } = withService({ sharedDatabase: true, variables: { KOLBAK_LOG_HEAD_SECONDS: '1' } })
  const sql = (text: string, values: unknown[] = []) => services.db.pool.query(text, values)
  const environment = async () => services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...(await enginesFor(services.db.url)) })
  const verifyNow = async (heads: readonly string[] = []) => verify(readConfig(await environment()), silentLog, { heads })
  const faultsNow = async () => (await verifyNow()).faults.map(({ where, fault }) => `${where} ${fault}`)
  const renamed = () => `${streams[0]?.slice(0, -1)}${streams[0]?.endsWith('Z') ? 'Y' : 'Z'}`
  /** The tables that a test may change. They are restored after each test. */
  const restoredTables = [
    'command_events',
    'projection_audit_1.audit_events',
    'projection_audit_1.log_state',
    'projection_audit_1.log_nodes',
    'log_heads',
  ]
  let webhooks: string[]
  let streams: string[]
  let size: number
  before(async () => {
    const api = await clientOf(service.url)
    webhooks = []
    for (let i = 0; i < 3; i++) {
      const { id } = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'order.*' })
      await api.patch(`/v1/webhooks/${id}`, { description: `number ${i}` })
      webhooks.push(id)
    }
    await api.call('DELETE', `/v1/webhooks/${webhooks[2]}`)
    for (let n = 0; n < 5; n++) await api.post('/v1/events', { id: `evt_${n}`, event: 'order.created', payload: {} })
    await waitFor(async () => (await sql(`select from day_events where type = 'DeliverySucceeded'`)).rowCount === 10)
    await waitFor(async () => (await sql(isApplied)).rowCount === 1)
    streams = webhooks.map((id) => `webhook-${id}`)
    const stored = Number((await sql('select count(*) as n from command_events')).rows[0].n)
    size = await waitFor(async () => {
      const last = (await sql('select max(size)::int as size from log_heads')).rows[0].size
      return last >= stored ? last : null
    })
    await service.kill('SIGTERM')
    for (const table of [...restoredTables, 'data_keys']) await sql(`create table "saved ${table}" as table ${table}`)
  })
  afterEach(async () => {
    for (const table of restoredTables) await sql(`truncate ${table}; insert into ${table} select * from "saved ${table}"`)
  })

  it('finds nothing in a log that nobody has touched', async () => {
    const { faults, events, withMac, heads, batches } = await verifyNow()
    expect(faults).to.deep.equal([])
    expect(events).to.equal(size + 1) // BatchSealed came when the service stopped
    expect(withMac).to.equal(events)
    expect(heads).to.be.greaterThan(0)
    expect(batches).to.deep.equal({ sealed: 1, checked: 1, expired: 0, moved: 0 })
  })
  for (const [title, alter, expected] of [
    [
      'the data of an event are altered',
      () => sql(`update command_events set data = replace(data, 'order.*', '*') where stream = $1 and revision = 0`, [streams[0]]),
      () => [`${streams[0]}@0 altered (mac), altered (leaf 4)`, `head ${size} root differs`],
    ],
    [
      'the author of the last event of a stream is altered',
      () =>
        sql(`update command_events set metadata = replace(metadata, 'client:admin', 'client:other') where stream = $1 and revision = 1`, [
          streams[1],
        ]),
      () => [`${streams[1]}@1 altered (mac), altered (leaf 7)`, `head ${size} root differs`],
    ],
    [
      'the last event of a stream is deleted',
      () => sql(`delete from command_events where type = 'WebhookDeleted'`),
      () => [`head ${size} root differs`, `${streams[2]}@2 missing (leaf ${size - 1})`],
    ],
    [
      'a stream is deleted',
      () => sql('delete from command_events where stream = $1', [streams[0]]),
      () => [`head ${size} the event store has ${size - 1} events`, `${streams[0]}@0 missing (leaf 4)`, `${streams[0]}@1 missing (leaf 5)`],
    ],
    [
      'an event is put at a position that is free',
      () =>
        sql(
          `insert into command_events (position, id, revision, stream, type, data, metadata)
           select 900000, gen_random_uuid(), 2, stream, 'WebhookDeactivated', '{"id":"x","reason":"requested"}', metadata from command_events where stream = $1 and revision = 1`,
          [streams[0]],
        ),
      () => [`${streams[0]}@2 inserted (mac)`],
    ],
    [
      'two events change places',
      () =>
        sql(
          `update command_events set position = -position where stream = $1;
           update command_events a set position = (select -b.position from command_events b where b.stream = a.stream and b.revision = 1 - a.revision) where stream = $1`.replaceAll(
            '$1',
            `'${streams[0]}'`,
          ),
        ),
      () => [`head ${size} root differs`, `${streams[0]}@0 missing, out of order`],
    ],
    [
      'a stream gets another name',
      () => sql(`update command_events set stream = $2 where stream = $1`, [streams[0], renamed()]),
      () => [`${renamed()}@0 inserted (mac)`, `${streams[0]}@0 missing (leaf 4)`, `head ${size} root differs`],
    ],
    [
      'a member is written twice',
      () =>
        sql(`update command_events set data = replace(data, '"event":', '"event":"*","event":') where stream = $1 and revision = 0`, [
          streams[0],
        ]),
      () => [`${streams[0]}@0 not as written (bytes)`],
    ],
    [
      'an event and its leaf are altered alike',
      async () => {
        await sql(`update command_events set data = replace(data, 'order.*', '*') where stream = $1 and revision = 0`, [streams[0]])
        const { rows } = await sql(
          'select stream, revision, id, type, data, metadata from command_events where stream = $1 and revision = 0',
          [streams[0]],
        )
        const [row] = rows
        const leaf = leafHash(commandEntry({ ...row, data: JSON.parse(row.data), metadata: JSON.parse(row.metadata) }))
        await sql('update projection_audit_1.audit_events set leaf = $2 where stream = $1 and revision = 0', [streams[0], leaf])
      },
      () => [`${streams[0]}@0 altered (mac)`, `head ${size} root differs`],
    ],
    [
      'everything after an event is cut off, with its leaves and heads, so that only the anchor file shows it',
      async () => {
        await sql('delete from command_events where position > (select position from command_events where stream = $1 and revision = 0)', [
          streams[1],
        ])
        await sql(
          'delete from projection_audit_1.audit_events where index > (select index from projection_audit_1.audit_events where stream = $1 and revision = 0)',
          [streams[1]],
        )
        await sql('truncate log_heads')
      },
      () => [`head ${size} the event store has 7 events`],
    ],
    [
      'the id of an event is altered',
      () => sql('update command_events set id = gen_random_uuid() where stream = $1 and revision = 1', [streams[0]]),
      () => [`${streams[0]}@1 altered (mac), altered (leaf 5)`, `head ${size} root differs`],
    ],
  ] as const)
    it(`finds that ${title}`, async () => {
      await alter()
      expect(await faultsNow()).to.include.members(expected())
    })
  for (const [title, alter, expected, faultsOfAttempts] of [
    [
      'finds that a sealed attempt is deleted',
      `delete from day_events where id = (select id from day_events where type = 'DeliverySucceeded' order by position limit 1)`,
      (sealed: number) => [`batch 0 ${sealed - 1} events, sealed ${sealed}, root differs`],
      [],
    ],
    [
      'finds that the response of an attempt is altered',
      `update day_events set data = replace(data, '"code":200', '"code":500')`,
      () => ['batch 0 root differs'],
      Array<string>(10).fill('altered (mac)'),
    ],
    [
      'finds that an attempt is put at a position that is taken',
      `insert into day_events (position, id, revision, day, stream, type, data, metadata)
       select position, gen_random_uuid(), 1000, day, stream, type, data, metadata from day_events where type = 'DeliverySucceeded' order by position limit 1`,
      (sealed: number) => [`batch 0 ${sealed + 1} events, sealed ${sealed}, root differs`],
      ['forged (mac)'],
    ],
    [
      'does not find that the time at which a row was stored is altered, because no proof contains it',
      `update day_events set stored_at = now() - interval '1 year'`,
      () => [],
      [],
    ],
  ] as const)
    it(title, async () => {
      await sql('create table if not exists saved_days as table day_events')
      const { count } = (await sql('select count(*)::integer as count from day_events')).rows[0]
      try {
        await sql(alter)
        const { faults } = await verifyNow()
        const [ofAttempts, others] = [true, false].map((isOfAttempt) =>
          faults.filter(({ where }) => where.startsWith('attempts-') === isOfAttempt),
        )
        expect(ofAttempts?.map(({ fault }) => fault)).to.deep.equal(faultsOfAttempts)
        expect(others?.map(({ where, fault }) => `${where} ${fault}`)).to.deep.equal(expected(count))
      } finally {
        await sql('truncate day_events; insert into day_events select * from saved_days')
      }
    })
  it('says what was altered, inserted and deleted, and which differences follow from it', async () => {
    const [altered, inserted, shortened] = [`${streams[0]}@0`, `${streams[1]}@2`, `${streams[2]}@2`]
    await sql(`update command_events set data = replace(data, 'order.*', '*') where stream = $1 and revision = 0`, [streams[0]])
    await sql(
      `insert into command_events (position, id, revision, stream, type, data, metadata)
       select 900000, gen_random_uuid(), 2, stream, 'WebhookDeactivated', '{"reason":"requested"}', metadata from command_events where stream = $1 and revision = 1`,
      [streams[1]],
    )
    await sql(`delete from command_events where type = 'WebhookDeleted'`)
    await sql('create table if not exists saved_days as table day_events')
    await sql(
      `update day_events set data = replace(data, '"code":200', '"code":500') where id = (select id from day_events where type = 'DeliverySucceeded' order by position limit 1)`,
    )
    try {
      const { faults, copyAgreesUpTo } = await verifyNow()
      const at = (where: string) => faults.find((fault) => fault.where === where)
      expect(at(altered)?.changes).to.deep.equal([{ field: 'data.event', was: 'order.*', is: '*' }])
      expect(at(altered)?.event).to.include({ type: 'WebhookCreated', actor: 'client:admin' })
      expect(at(inserted)?.fault).to.equal('inserted (mac)')
      expect(at(inserted)?.notes).to.include(`Its MAC is that of ${streams[1]}@1 (WebhookChanged).`)
      expect(at(shortened)?.event).to.include({ type: 'WebhookDeleted', actor: 'client:admin' })
      expect(at(`head ${size}`)?.follows_from).to.include.members([altered, shortened])
      expect(copyAgreesUpTo).to.equal(size)
      const attempt = faults.find(({ where }) => where.startsWith('attempts-'))
      expect(attempt?.notes?.[0]).to.match(/^Delivery \S+, message evt_\d, webhook \S+, chain 1, attempt 1\.$/)
      expect(attempt?.notes?.[1]).to.equal('The stored event says: DeliverySucceeded, response 500.')
      expect(at('batch 0')?.follows_from).to.deep.equal([attempt?.where])
      const { out } = await runProgram('cli/kolbak.ts', ['audit', 'verify'], await environment())
      expect(out).to.include('\n    data.event is *, was order.*\n')
      expect(out).to.match(/: 4 faults, and \d+ differences that follow from them\.\n$/)
    } finally {
      await sql('truncate day_events; insert into day_events select * from saved_days')
    }
  })
  it('refuses a head that another key has signed, and accepts a kept head of this log', async () => {
    const { note } = (await sql('select note from log_heads order by size desc limit 1')).rows[0]
    expect((await verifyNow([note])).faults).to.deep.equal([])
    const other = createLogSigner(randomBytes(32), note.split('\n')[0]).sign({ size, root: randomBytes(32) })
    expect(await verifyNow([other]).catch((error) => error.code)).to.equal('not_a_head')
  })
  it('finds that a row of a read model is altered, added or deleted', async () => {
    const readModels = async () => (await verify(readConfig(await environment()), silentLog, { readModels: true })).faults
    expect(await readModels()).to.deep.equal([])
    const tables = ['projection_tenants_1.clients', 'projection_webhooks_1.webhook_subscriptions']
    for (const table of tables) await sql(`create table "kept ${table}" as table ${table}`)
    try {
      await sql(`update projection_tenants_1.clients set scopes = '["admin"]' where client_id = 'admin'`)
      await sql('update projection_webhooks_1.webhook_subscriptions set is_active = false where id = $1', [webhooks[0]])
      await sql('delete from projection_webhooks_1.webhook_subscriptions where id = $1', [webhooks[1]])
      expect((await readModels()).map(({ where, fault }) => `${where} ${fault}`)).to.deep.equal([
        'read model clients differs at admin: scopes',
        `read model webhook_subscriptions differs at ${webhooks[0]}: is_active`,
        `read model webhook_subscriptions differs at ${webhooks[1]}: the row is not in both`,
      ])
      expect((await sql(`select from pg_namespace where nspname ~ '^projection_.*\\d{6}'`)).rowCount).to.equal(0)
    } finally {
      for (const table of tables)
        await sql(`delete from ${table}; insert into ${table} select * from "kept ${table}"; drop table "kept ${table}"`)
    }
  })
  it('exits with 0 without faults, with 1 if it found faults, and with 2 if it could not check', async () => {
    const run = async (variables: Record<string, string> = {}) =>
      runProgram('cli/kolbak.ts', ['audit', 'verify'], { ...(await environment()), ...variables })
    const clean = await run()
    expect(clean.code, clean.err).to.equal(0)
    expect(clean.out).to.match(/^\d+ events, \d+ heads? and 1 of 1 batch checked: no fault\.$/m)
    await sql(`update command_events set data = replace(data, 'order.*', '*') where stream = $1 and revision = 0`, [streams[0]])
    const faulty = await run()
    expect(faulty.code).to.equal(1)
    expect(faulty.out.split('\n')[0]).to.equal(`${streams[0]}@0 altered (mac), altered (leaf 4)`)
    const blind = await run({ KOLBAK_MASTER_KEY: Buffer.alloc(32, 9).toString('base64') })
    expect(blind.code).to.equal(2)
    expect(blind.err).to.include('wrong_master_key')
  })
  it('an event that somebody inserts after the last one does not take the position of the next genuine event', async () => {
    const { rows } = await sql('select last_value::int as last from event_positions')
    await sql(
      `insert into command_events (position, id, revision, stream, type, data, metadata)
       select $2, gen_random_uuid(), 2, stream, 'WebhookDeactivated', '{}', metadata from command_events where stream = $1 and revision = 1`,
      [streams[0], rows[0].last + 1],
    )
    await verifyNow()
    expect((await sql('select last_value::int as last from event_positions')).rows).to.deep.equal([{ last: rows[0].last + 1 }])
  })
  it('a rebuild from faulty events is refused, unless the operator wants it despite the faults', async () => {
    const rebuild = async (...options: string[]) =>
      runProgram('operator/operate.ts', ['rebuild', 'webhooks', ...options], await environment())
    await sql(`update command_events set data = replace(data, 'order.*', '*') where stream = $1 and revision = 0`, [streams[0]])
    const refused = await rebuild()
    expect(refused.code, refused.err).to.equal(1)
    expect(refused.err).to.include(`${streams[0]}@0 altered (mac), altered (leaf 4)`).and.include('(events_faulty)')
    expect((await sql(`select from projections where name = 'webhooks'`)).rowCount).to.equal(1)
    const ordered = await rebuild('--despite-faults')
    expect(JSON.parse(ordered.out), ordered.err).to.deep.equal({ build: 2 })
    await sql(`delete from projections where name = 'webhooks' and not is_live`)
    await sql('drop schema if exists projection_webhooks_2 cascade')
  })
  it('names a data key of a tenant that is missing, and one that is gone without an erasure', async () => {
    const whereKey = `where owner = '${defaultTenant}' and purpose = 'seal'`
    const faultsAfter = async (change: string) => {
      await sql(change)
      return (await verifyNow()).faults.filter(({ where }) => where.startsWith('data key')).map(({ where, fault }) => `${where} ${fault}`)
    }
    try {
      expect(await faultsAfter(`update data_keys set wrapped = null ${whereKey}`)).to.deep.equal([
        `data key of ${defaultTenant} erased_without_record`,
      ])
      expect(await faultsAfter(`delete from data_keys ${whereKey}`)).to.deep.equal([`data key of ${defaultTenant} key_missing`])
    } finally {
      await sql('delete from data_keys; insert into data_keys overriding system value select * from "saved data_keys"')
    }
  })
  it('fails if a key of the log is deleted, and the service refuses to start', async () => {
    await sql(`delete from data_keys where owner = 'service' and purpose = 'event-mac'`)
    try {
      const { code, stderr } = await services.failToStart({ KOLBAK_DATA_DIR: services.dataDir })
      expect(stderr).to.include('log_key_missing')
      expect(code).to.equal(78)
      expect(await verifyNow().catch((error) => error.code)).to.equal('log_key_missing')
    } finally {
      await sql('delete from data_keys; insert into data_keys overriding system value select * from "saved data_keys"')
    }
  })
  it('finds no fault after a loss of events is declared, before which the service refuses to start', async () => {
    await sql('delete from command_events where position > (select position from command_events where stream = $1 and revision = 0)', [
      streams[1],
    ])
    await sql('truncate log_heads')
    await sql(
      `drop view audit_events; drop view log_state; drop view log_nodes; drop schema projection_audit_1 cascade; delete from projections where name = 'audit'`,
    )
    await sql(`update projections set checkpoint = null where checkpoint > (select lpad(max(position)::text, 20, '0') from command_events)`)
    const { code, stderr } = await services.failToStart({ KOLBAK_DATA_DIR: services.dataDir })
    expect(stderr).to.match(
      /The audit log ends at 7, but a head of \d+ was given out at .*: events are missing.*declare-loss.*\(log_forked\)/,
    )
    expect(code).to.equal(78)
    const declared = await runProgram('cli/kolbak.ts', ['audit', 'declare-loss', '--reason', 'A disk broke.'], await environment())
    expect(declared.code, declared.err).to.equal(0)
    await service.restart()
    const api = await clientOf(service.url)
    const response = await fetch(`${service.url}/v1/audit?family=log`, { headers: { authorization: `Bearer ${api.token}` } })
    expect(await response.text())
      .to.include('"type":"LossDeclared"')
      .and.to.include('A disk broke.')
      .and.to.match(/"OperatorActed".*"command":"audit declare-loss","arguments":\{"reason":"A disk broke\."\}.*"outcome":"done"/)
    await waitFor(async () => (await sql('select from log_heads where not is_ended')).rowCount === 1)
    expect(await faultsNow()).to.deep.equal([])
  })
})

describe('the audit log of a service that is killed again and again', () => {
  const { service, receiver, services } = withService({
    sharedDatabase: true,
    variables: { KOLBAK_LOG_HEAD_SECONDS: '1', KOLBAK_LOG_BATCH_SECONDS: '1' },
  })
  it('has no fault, and every attempt is in one batch', async () => {
    const countOf = async (table: string) => Number((await services.db.pool.query(`select count(*) as n from ${table}`)).rows[0].n)
    let posted = 0
    const { id } = await (await clientOf(service.url)).post<WebhookResponse>('/v1/webhooks', {
      callback_url: receiver.url('/hook'),
      event: 'order.*',
    })
    for (let round = 0; round < 3; round++) {
      const api = await clientOf(service.url)
      const sealedBefore = await countOf(`command_events where type = 'BatchSealed'`)
      for (let n = 0; n < 20; n++) await api.post('/v1/events', { id: `evt_${posted++}`, event: 'order.created', payload: {} })
      await api.patch(`/v1/webhooks/${id}`, { description: `round ${round}` })
      await waitFor(async () => (await countOf(`command_events where type = 'BatchSealed'`)) > sealedBefore)
      await service.kill('SIGKILL')
      await service.restart()
    }
    await waitFor(async () => (await countOf(`day_events where type = 'DeliverySucceeded'`)) >= posted)
    await waitFor(async () => (await services.db.pool.query(isApplied)).rowCount === 1)
    await service.kill('SIGTERM')
    const config = readConfig(services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...(await enginesFor(services.db.url)) }))
    const { faults, batches } = await verify(config, silentLog, { batches: Number.POSITIVE_INFINITY })
    expect(faults).to.deep.equal([])
    expect(batches.checked).to.equal(batches.sealed)
    const sealed = await services.db.pool.query(
      `select sum((data::jsonb->>'count')::int)::int as n from command_events where type = 'BatchSealed'`,
    )
    expect(sealed.rows[0].n).to.equal(await countOf('day_events'))
  })
})
