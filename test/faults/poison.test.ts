import { randomBytes, randomUUID } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import type { Pool } from 'pg'
import { type PostgresEventStore, postgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { defaultTenant, type EventId, type TenantId, type WebhookId } from '../../src/events/ids.ts'
import { decodeRecord, encodeRecord } from '../../src/events/message-record.ts'
import { attemptsStream, routingStream, type StreamName, tenantStream, webhookStream } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import {
  type Client,
  clientOf,
  type DeliveryAnswer,
  endService,
  givenKeys,
  type Page,
  type RunningService,
  startService,
  temporaryFolder,
  type WebhookAnswer,
} from '../support/service.ts'
import { waitFor } from '../support/wait-for.ts'

const partitions = 4
/** Quick retries and time-outs; otherwise the service as a user starts it. */
const quick = {
  KOLBAK_PARTITIONS: String(partitions),
  KOLBAK_RETRY_DELAYS: '0.2',
  KOLBAK_REQUEST_TIMEOUT_MS: '600',
  KOLBAK_CONNECT_TIMEOUT_MS: '500',
  KOLBAK_CLAIM_MS: '5000',
}

/** A good record, to be spoilt. */
const good = (change: { tenant?: TenantId; id?: string; event?: string } = {}) => {
  const { tenant = defaultTenant, id = `poison_${randomUUID()}`, event = 'poison.record' } = change
  return encodeRecord({
    tenant,
    acceptedAt: new Date().toISOString(),
    correlationId: 'poison',
    messages: [{ id: id as never, event, eventTime: null, source: null, fingerprint: 'f'.repeat(64), payload: randomBytes(100) }],
  })
}
interface Head {
  [field: string]: unknown
  messages: unknown[][]
}
const framed = (head: string, rest: Buffer = randomBytes(100)): Buffer => {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(Buffer.byteLength(head))
  return Buffer.concat([size, Buffer.from(head), rest])
}
/** The record with another head. */
const spoilt = (spoil: (head: Head) => unknown): Buffer => {
  const bytes = good()
  const head = JSON.parse(bytes.toString('utf8', 4, 4 + bytes.readUInt32BE(0))) as Head
  return framed(JSON.stringify(spoil(head) ?? head))
}
const withFirst = (index: number, value: unknown) =>
  spoilt((head) => {
    head.messages[0]![index] = value
  })
const withField = (name: string, value: unknown) => spoilt((head) => ({ ...head, [name]: value }))

const noRecords: Record<string, Buffer> = {
  'no bytes': Buffer.alloc(0),
  'three bytes': Buffer.from([0, 0, 1]),
  'NUL bytes': Buffer.alloc(64),
  'a head of NUL bytes': framed('\0\0\0\0'),
  'random bytes': randomBytes(200),
  'a length beyond the end': Buffer.concat([Buffer.from([255, 255, 255, 255]), randomBytes(20)]),
  'broken UTF-8': Buffer.concat([Buffer.from([0, 0, 0, 4]), Buffer.from([0xff, 0xfe, 0xc3, 0x28])]),
  'half a record': good().subarray(0, 90),
  'a record without its last byte': good().subarray(0, -1),
  'JSON that is no object': framed('null'),
  'JSON that is a list': framed('[]'),
  'JSON of 100,000 levels': framed('['.repeat(100_000) + ']'.repeat(100_000)),
  'a schema of the future': withField('schema', 2),
  'a schema that is no number': withField('schema', { a: 1 }),
  'no tenant': withField('tenant', undefined),
  'a tenant that is none': withField('tenant', '../../etc'),
  'a time that is none': withField('accepted_at', 'yesterday'),
  'a time in other words': withField('accepted_at', 'Jan 1 2026'),
  'a time of another year count': withField('accepted_at', '+012026-01-01T00:00:00.000Z'),
  'a correlation id that is no text': withField('correlation_id', { a: 1 }),
  'a target that can be none': withField('target', 'x'),
  'no messages': withField('messages', []),
  'messages that are none': withField('messages', [null, 1]),
  'messages that are no list': withField('messages', { length: 1 }),
  'an id that is no text': withFirst(0, 7),
  'an id that would end a header': withFirst(0, 'a\r\nx-evil: 1'),
  'an id that no header can hold': withFirst(0, '☃'),
  'no event': withFirst(1, null),
  'an event that is a number': withFirst(1, 5),
  'an event that Postgres cannot store': withFirst(1, 'poison.\0'),
  'a source that is no text': withFirst(3, {}),
  'no fingerprint': withFirst(4, null),
  'a negative size': withFirst(5, -1),
  'a size that is a text': withFirst(5, '100'),
  'a size that is no whole number': withFirst(5, 99.5),
}

describe('a record of the bus', () => {
  it('is read as what it is, or not at all, whatever its bytes', () => {
    const junk = fc.oneof(fc.jsonValue(), fc.constantFrom(null, -1, 1.5, 1e9, '', '\0', '\ud800', 'a\r\nb', [], {}))
    const check = (bytes: Buffer) => {
      let record: ReturnType<typeof decodeRecord>
      try {
        record = decodeRecord(bytes)
      } catch (error) {
        expect(error).to.be.instanceOf(Error)
        return
      }
      expect(record.tenant).to.match(/^[0-9A-Z]{26}$/)
      expect(new Date(record.acceptedAt).toISOString()).to.equal(record.acceptedAt)
      expect(record.correlationId).to.be.a('string')
      expect(record.messages).to.not.be.empty
      for (const { id, event, eventTime, source, fingerprint, payload } of record.messages) {
        expect(id).to.match(/^[!-~]{1,255}$/)
        for (const text of [event, fingerprint]) expect(text).to.be.a('string')
        for (const text of [eventTime, source]) if (text !== null) expect(text).to.be.a('string')
        expect(payload).to.be.instanceOf(Buffer)
      }
    }
    const field = fc.constantFrom('schema', 'tenant', 'accepted_at', 'correlation_id', 'target', 'messages')
    fc.assert(fc.property(field, junk, (name, value) => check(withField(name, value))))
    fc.assert(fc.property(fc.nat({ max: 5 }), junk, (index, value) => check(withFirst(index, value))))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => check(Buffer.from(bytes))))
    const bytes = good()
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
        const changed = Buffer.from(bytes)
        changed[at] = value
        check(changed)
      }),
    )
    check(bytes)
    expect(decodeRecord(bytes).messages).to.have.length(1)
  })
})

describe('poison', function () {
  this.timeout(90_000)
  let db: TestDatabase
  let dataDir: string
  let service: RunningService
  let api: Client
  let receiver: Receiver
  let pool: Pool
  let store: PostgresEventStore
  let events = 0

  const start = async () => {
    service = await startService(dataDir, { DATABASE_URL: db.url, ...givenKeys, ...quick })
    api = await clientOf(service.url)
  }
  before(async () => {
    ;[db, dataDir, receiver] = await Promise.all([freshDatabase(), temporaryFolder(), startReceiver()])
    await start()
    pool = createPool({ url: db.url, name: 'poison', max: 2, log: silentLog })
    store = postgresEventStore({ pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 * 30 })
  })
  after(async () => {
    await store.close()
    await pool.end()
    await Promise.all([receiver.close(), endService(service, dataDir)])
    await db.drop()
  })

  const subscribe = (at: string, event: string, of = api) =>
    of.post<WebhookAnswer>('/v1/webhooks', { callback_url: at.startsWith('/') ? receiver.url(at) : at, event })
  const post = async (event: string, of = api): Promise<string> => {
    const id = `evt_${++events}`
    await of.post('/v1/events', { id, event, payload: { n: events } })
    return id
  }
  const ids = (path: string) => receiver.received(path).map((request) => request.body.id)
  const deliveriesOf = async (id: string, of = api) => (await of.get<Page<DeliveryAnswer>>(`/v1/events/${id}/deliveries?limit=100`)).data
  const figure = async (name: string) => {
    const answer = await fetch(`${service.url}/metrics`, { headers: { authorization: `Bearer ${api.token}` } })
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await answer.text())?.[1])
  }
  const checks = async () =>
    (await api.get<{ data: { checks: { name: string; ok: boolean; message: string }[] } }>('/health/ready')).data.checks
  const quarantined = async () =>
    (await pool.query<{ projection: string; stream: string; error: string }>('select projection, stream, error from quarantined_streams'))
      .rows
  /** All projections have what is in the store, but for what is set aside; and the process is ready. */
  const goesOn = async () => {
    const path = `/goes-on-${++events}`
    await subscribe(path, `goes.on${events}`)
    const id = await post(`goes.on${events}`)
    await waitFor(() => ids(path).includes(id), { what: 'an event after the poison' })
    await waitFor(async () => (await deliveriesOf(id))[0]?.status === 'success', { what: 'the history of an event after the poison' })
    expect((await checks()).filter(({ ok }) => !ok)).to.deep.equal([])
  }
  const metadata = (tenant: TenantId) => ({
    schema: 1,
    actor: 'system:test' as const,
    tenant,
    time: new Date().toISOString(),
    $correlationId: 'poison',
    $causationId: null,
  })
  const append = (stream: StreamName, type: string, data: object) =>
    store.append(stream, [{ id: randomUUID() as EventId, type, data, metadata: metadata(defaultTenant) }], 'any')

  it('on the bus, that is no record, is set aside in a table, the log and a metric; what stands before and behind it is delivered', async () => {
    await subscribe('/bus', 'bus.*')
    const day = new Date().toISOString().slice(0, 10)
    const put = (partition: number, bytes: Buffer) =>
      pool.query('select produce_messages($1, array[$2::date], array[1], array[$3::int], $4)', [partition, day, bytes.length, bytes])
    // Where this is tried again, something of the first try is there.
    await pool.query('delete from unreadable_records')
    const [counted, logged, arrived] = [await figure('kolbak_records_unreadable_total'), service.facts.length, ids('/bus').length]
    const posted: string[] = []
    let partition = 0
    for (const bytes of Object.values(noRecords)) {
      posted.push(await post('bus.between'))
      await put(partition++ % partitions, bytes)
    }
    for (let i = 0; i < 2 * partitions; i++) posted.push(await post('bus.behind'))
    await waitFor(() => posted.every((id) => ids('/bus').includes(id)), { ms: 20_000, what: 'all good events' })
    const expected = Object.keys(noRecords).length
    await waitFor(async () => (await figure('kolbak_records_unread')) === 0, { ms: 20_000, what: 'nothing unread' })
    const { rows } = await pool.query<{ error: string }>('select error from unreadable_records')
    expect(rows).to.have.length(expected)
    expect(rows.every(({ error }) => error.length > 10)).to.equal(true)
    expect(await figure('kolbak_records_unreadable_total')).to.equal(counted + expected)
    const said = service.facts.slice(logged).filter((fact) => fact.msg === 'record.unreadable')
    expect(said).to.have.length(expected)
    expect(said[0]).to.include.keys('partition', 'offset', 'error')
    expect(new Set(ids('/bus').slice(arrived))).to.deep.equal(new Set(posted))
    await goesOn()
  })

  it('on the bus, sealed by nobody, ends as a dead letter that the API shows', async () => {
    const webhook = await subscribe('/unsealed', 'unsealed.*')
    const id = `unsealed_${++events}`
    const bytes = good({ id, event: 'unsealed.now' })
    await pool.query('select produce_messages(0, array[current_date], array[1], array[$1::int], $2)', [bytes.length, bytes])
    const dead = await waitFor(async () => {
      const { data } = await api.get<Page<DeliveryAnswer>>(`/v1/dead-letters?webhook=${webhook.id}`)
      return data[0]
    })
    expect(dead).to.include({ event_id: id, last_reason: 'payload_unreadable', status: 'failed' })
    expect(receiver.received('/unsealed')).to.deep.equal([])
    await goesOn()
  })

  describe('of receivers', () => {
    const ok = 'HTTP/1.1 200 OK\r\n'
    const later = (value: string) => `HTTP/1.1 503 Later\r\nretry-after: ${value}\r\ncontent-length: 0\r\n\r\n`
    const giant = 'x'.repeat(1 << 20)
    /** What they answer, in Latin-1, and what becomes of it. */
    const answers: Record<string, readonly [answer: string, outcome: string]> = {
      'NUL bytes': ['\0'.repeat(1_000), 'invalid_response'],
      'broken UTF-8': ['\xff\xfe\xc3\x28\r\n\r\n', 'invalid_response'],
      'an empty line': ['\r\n\r\n', '*'],
      'a status line without a number': ['HTTP/1.1 OK\r\n\r\n', 'invalid_response'],
      'a status of two digits': ['HTTP/1.1 20 OK\r\n\r\n', 'invalid_response'],
      'a status of four digits': ['HTTP/1.1 2000 OK\r\n\r\n', 'invalid_response'],
      'status 000': ['HTTP/1.1 000 None\r\ncontent-length: 0\r\n\r\n', '*'],
      'status 099': ['HTTP/1.1 099 None\r\ncontent-length: 2\r\n\r\nok', '*'],
      'status 999': ['HTTP/1.1 999 Denied\r\ncontent-length: 0\r\n\r\n', 'http_999'],
      'a reason of NUL and broken bytes': ['HTTP/1.1 500 \xff\xfe\r\ncontent-length: 0\r\n\r\n', 'http_500'],
      'another protocol': ['SIP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n', 'invalid_response'],
      'a change of protocol': ['HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', '*'],
      'no end of provisional answers': ['HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n'.repeat(2_000), '*'],
      'a header with a NUL byte': [`${ok}x: a\0b\r\n\r\n`, 'invalid_response'],
      'headers of broken UTF-8': [`HTTP/1.1 500 x\r\nx-\xff: \xff\xfe\xc3\x28\r\nretry-after: \xff\xfe\r\ncontent-length: 0\r\n\r\n`, '*'],
      'a header of a megabyte': [`${ok}x: ${giant}\r\n\r\n`, 'invalid_response'],
      'a header that never ends': [`${ok}x: `, 'timeout'],
      'ten thousand headers': [`${ok}${'header: value\r\n'.repeat(10_000)}\r\n`, 'invalid_response'],
      'a status line of a megabyte': [`HTTP/1.1 500 ${giant}\r\n\r\n`, 'http_500'],
      'a header named __proto__': [`HTTP/1.1 500 x\r\n__proto__: a\r\n__proto__: b\r\ncontent-length: 0\r\n\r\n`, 'http_500'],
      'headers of every object': [
        `HTTP/1.1 500 x\r\nconstructor: a\r\ntoString: b\r\nvalueof: c\r\nhasownproperty: d\r\nthen: e\r\ncontent-length: 0\r\n\r\n`,
        'http_500',
      ],
      'trailers named like that': [
        'HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\ntrailer: constructor\r\n\r\n1\r\na\r\n0\r\n__proto__: a\r\nconstructor: b\r\n\r\n',
        'http_500',
      ],
      'a folded header': [`${ok}x: a\r\n b\r\ncontent-length: 0\r\n\r\n`, 'invalid_response'],
      'two lengths': [`${ok}content-length: 1\r\ncontent-length: 2\r\n\r\nab`, 'invalid_response'],
      'a length and chunks': [`${ok}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`, 'invalid_response'],
      'a negative length': [`${ok}content-length: -1\r\n\r\n`, 'invalid_response'],
      'chunks of no size': ['HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', 'http_500'],
      'a body of NUL bytes and half characters': [`HTTP/1.1 500 x\r\ncontent-length: 5\r\n\r\n\0\xff\xc3\x28\xed`, 'http_500'],
      'a body that is not what its headers say': [
        'HTTP/1.1 500 x\r\ncontent-encoding: gzip\r\ncontent-type: \xff\r\ncontent-length: 4\r\n\r\nrubb',
        'http_500',
      ],
      'a second answer': [`HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n${ok}content-length: 0\r\n\r\n`, '*'],
      'Retry-After without a value': [later(''), 'http_503'],
      'Retry-After of a thousand digits': [later('9'.repeat(1_000)), 'http_503'],
      'Retry-After before now': [later('-5'), 'http_503'],
      'Retry-After in words': [later('in a while'), 'http_503'],
      'Retry-After on no day': [later('Mon, 99 Foo 9999 99:99:99 GMT'), 'http_503'],
      'Retry-After of bytes': [later('\xff\xfe\xc3'), 'http_503'],
      'Retry-After twice': [later('x\r\nretry-after: 0'), 'http_503'],
      'Retry-After as a number of another kind': [later('1e9'), 'http_503'],
    }
    let rubbish: Server
    const sockets = new Set<Socket>()
    before(async () => {
      const all = Object.values(answers)
      rubbish = createServer((socket) => {
        sockets.add(socket)
        socket.on('error', () => undefined)
        let request = ''
        socket.on('data', (chunk) => {
          request += chunk.toString('latin1')
          // The request's body ends with its only two closing braces.
          if (!request.endsWith('}}')) return
          const index = Number(/^POST \/(\d+) /.exec(request)?.[1])
          request = ''
          const [answer = ''] = all[index] ?? []
          socket.write(Buffer.from(answer, 'latin1'))
        })
      })
      await new Promise<void>((resolve) => {
        rubbish.listen(0, '127.0.0.1', resolve)
      })
    })
    after(() => {
      for (const socket of sockets) socket.destroy()
      rubbish.close()
    })

    it('is a failed attempt that the history shows, in bounded time; the others get theirs', async () => {
      const { port } = rubbish.address() as AddressInfo
      const names = Object.keys(answers)
      const what = new Map<string, string>()
      for (const [i, name] of names.entries()) what.set((await subscribe(`http://127.0.0.1:${port}/${i}`, 'rubbish')).id, name)
      const beside = await subscribe('/beside', 'rubbish')
      const id = await post('rubbish')
      const found = await waitFor(
        async () => {
          const all = await deliveriesOf(id)
          const isOver = ({ attempts, webhook_id }: DeliveryAnswer) => webhook_id === beside.id || attempts.length > 0
          return all.length === names.length + 1 && all.every(isOver) ? all : undefined
        },
        { ms: 30_000, what: 'an attempt at every receiver' },
      )
      for (const delivery of found) {
        const name = what.get(delivery.webhook_id)
        if (name === undefined) continue
        const [, outcome = ''] = answers[name] ?? []
        const [attempt] = delivery.attempts
        expect(attempt?.status, name).to.equal('failed')
        if (outcome === '*') expect(attempt?.reason, name).to.be.a('string')
        else expect(attempt?.reason, name).to.equal(outcome)
        expect(attempt?.duration_ms, name).to.be.lessThan(5_000)
      }
      expect(ids('/beside')).to.deep.equal([id])
      const asked = found.find((delivery) => what.get(delivery.webhook_id) === 'Retry-After of a thousand digits')
      const wait = Date.parse(asked?.next_attempt_at ?? '') - Date.now()
      expect(wait, 'a day at the most').to.be.within(86_000_000, 86_400_000)
      for (const [webhook] of what) await api.call('DELETE', `/v1/webhooks/${webhook}`)
      await goesOn()
    })
  })

  it('of a tenant whose key is gone, or who is suspended, waits or is refused, visibly; other tenants go on', async () => {
    const tenantOf = async (name: string) => {
      const { data } = await api.post<{ data: { id: TenantId } }>('/v1/tenants', { name })
      const issued = await api.post<{ data: { client_id: string; client_secret: string } }>(`/v1/tenants/${data.id}/clients`, {
        name: 'client',
        scopes: ['read:events', 'write:events', 'read:webhooks', 'write:webhooks'],
      })
      const credentials = { id: issued.data.client_id, secret: issued.data.client_secret }
      return { id: data.id, client: () => clientOf(service.url, credentials) }
    }
    const [erased, suspended] = [await tenantOf('Erased'), await tenantOf('Suspended')]
    const webhooks = new Map<string, WebhookAnswer>()
    for (const [path, { client }] of [['/erased', erased] as const, ['/suspended', suspended] as const]) {
      const as = await client()
      webhooks.set(path, await subscribe(path, 'gone.*', as))
      const before = await post('gone.before', as)
      await waitFor(() => ids(path).includes(before))
    }
    await pool.query('update data_keys set wrapped = null where owner = $1', [erased.id])
    await api.call('POST', `/v1/tenants/${suspended.id}/suspend`)
    await service.kill('SIGTERM') // keys are kept in memory for a minute
    await start()

    const put = async (tenant: TenantId, id: string) => {
      const bytes = good({ tenant, id, event: 'gone.now' })
      await pool.query('select produce_messages(0, array[current_date], array[1], array[$1::int], $2)', [bytes.length, bytes])
    }
    await put(erased.id, 'erased_1')
    await put(suspended.id, 'suspended_1')
    // What was accepted of them is in the index, and is said, or waits in a row; nobody gets it.
    const row = await waitFor(async () => {
      const { rows } = await pool.query('select webhooks from message_index where message = $1', ['erased_1'])
      return rows[0]
    })
    expect(row.webhooks).to.deep.equal([])
    await waitFor(() => service.facts.some((fact) => fact.msg === 'webhook.unreadable' && fact.webhook === webhooks.get('/erased')?.id))
    const parked = await waitFor(async () => {
      const { rows } = await pool.query('select due_at, tenant from scheduled_deliveries where message = $1', ['suspended_1'])
      return rows[0]
    })
    expect(parked).to.deep.equal({ due_at: null, tenant: suspended.id })
    const refused = await (await erased.client()).call<{ error: { code: string } }>('POST', '/v1/events', {
      event: 'gone.now',
      payload: {},
    })
    expect([refused.status, refused.body.error.code]).to.deep.equal([403, 'key_destroyed'])
    for (const path of ['/erased', '/suspended']) expect(receiver.received(path), path).to.have.length(1)
    await goesOn()
    // Once it may have it again, what waited ends where it can be seen: it was sealed by nobody.
    await api.call('POST', `/v1/tenants/${suspended.id}/resume`)
    const resumed = await waitFor(() => suspended.client())
    await waitFor(async () => (await resumed.get<Page<DeliveryAnswer>>('/v1/dead-letters')).data[0]?.event_id === 'suspended_1')
    await goesOn()
  })

  describe('in streams', () => {
    it('of a type that nobody knows, is passed over or set aside; commands on its stream, and all else, go on', async () => {
      const webhook = await subscribe('/future', 'future.*')
      const id = webhook.id as WebhookId
      const now = new Date().toISOString()
      await append(webhookStream(id), 'WebhookFromTheFuture', { id, callback_url: 7, event: null })
      await append(tenantStream(defaultTenant), 'TenantFromTheFuture', { id: defaultTenant })
      await append(routingStream(defaultTenant, now), 'MessageFromTheFuture', { webhooks: 5 })
      await append(attemptsStream('01JZ0000000000000000000001' as WebhookId, now), 'DeliveryFromTheFuture', { delivery: 5 })
      const first = await post('future.now')
      await waitFor(() => ids('/future').includes(first))
      await api.patch(`/v1/webhooks/${id}`, { description: 'changed after it' })
      await waitFor(async () => (await api.get<{ description: string }>(`/v1/webhooks/${id}`)).description === 'changed after it')
      const history = await api.call<{ data: { type: string }[] }>('GET', `/v1/webhooks/${id}/history`)
      expect(history.status).to.equal(200)
      const audit = await fetch(`${service.url}/v1/audit`, { headers: { authorization: `Bearer ${api.token}` } })
      expect(await audit.text()).to.include('WebhookFromTheFuture')
      await goesOn()
      // Nothing of the webhook or the tenant waits; a stream of attempts that cannot be read does, where an operator sees it.
      const aside = await quarantined()
      expect(aside.filter(({ stream }) => !/^(attempts|routing)-/.test(stream))).to.deep.equal([])
    })

    it('that makes a projection throw, sets its stream aside in table, health and log; other streams go on', async () => {
      const [bad, other] = [await subscribe('/bad', 'thrown.*'), await subscribe('/other', 'thrown.*')]
      const now = new Date().toISOString()
      const stream = attemptsStream(bad.id as WebhookId, now)
      await append(stream, 'DeliveryFailed', { delivery: 'no uuid', attempt: 'x', webhook: 'no ulid', webhook_revision: 0, code: 410 })
      await append(stream, 'DeliveryDeadLettered', { delivery: 'no uuid', webhook: 'no ulid', webhook_revision: 0, code: 410 })
      const aside = await waitFor(async () => {
        const rows = (await quarantined()).filter((row) => row.stream === stream)
        return ['deliveries', 'endpoint_manager'].every((name) => rows.some(({ projection }) => projection === name)) ? rows : undefined
      })
      for (const { error } of aside) expect(error).to.not.equal('')
      expect((await checks()).find(({ name }) => name === 'projection deliveries')?.message).to.match(/ [1-9]\d* streams set aside/)
      expect(service.facts.some((fact) => fact.msg === 'projection.quarantined' && fact.stream === stream)).to.equal(true)
      // Both are delivered; the history of the other shows it, and a receiver that is gone still ends its webhook.
      receiver.answer('/gone', 410)
      const gone = await subscribe('/gone', 'thrown.gone')
      const id = await post('thrown.gone')
      await waitFor(() => ids('/bad').includes(id) && ids('/other').includes(id))
      await waitFor(async () => (await deliveriesOf(id)).find((one) => one.webhook_id === other.id)?.status === 'success')
      await waitFor(async () => (await api.get<WebhookAnswer>(`/v1/webhooks/${gone.id}`)).deactivation_reason === 'gone', { ms: 20_000 })
      await goesOn()
    })
  })
})
