import { expect } from 'chai'
import type { Pool, QueryConfig } from 'pg'
import { ulid } from 'ulid'
import { createIdempotencyKeys } from '../../src/api/idempotency-keys.ts'
import { StoreUnavailable } from '../../src/ports/event-store.ts'
import { localUrl, startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Credential, Reply } from '../support/api-client.ts'
import { route as routeMessage } from '../support/routed.ts'

const webhook = { callback_url: localUrl, event: 'order.created' }
const aKey = { name: 'Key', scopes: ['read:webhooks'] }

describe('Idempotency-Key', () => {
  let api: TestApi
  let admin: TestClient
  let operator: TestClient
  /** The clock of the API is ahead by this many milliseconds. */
  let ahead = 0
  /** The next `times` statements that match `statement` fail. */
  let trip: { statement: RegExp; times: number } | null = null
  /** Called for each append, so that a test can delay it, or make it fail before or after it happens. */
  let onAppend: (append: () => Promise<unknown>) => Promise<unknown>

  const tripping = (pool: Pool): Pool =>
    new Proxy(pool, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target)
        if (name !== 'query' || typeof value !== 'function') return typeof value === 'function' ? value.bind(target) : value
        return (query: string | QueryConfig, ...more: unknown[]) => {
          const text = typeof query === 'string' ? query : query.text
          if (trip !== null && trip.times > 0 && trip.statement.test(text)) {
            trip.times--
            return Promise.reject(Object.assign(new Error('terminating connection'), { code: '57P01' }))
          }
          return value.call(target, query, ...more)
        }
      },
    })
  before(async () => {
    api = await startApi({
      replace: ({ pool, streams }) => ({
        pool: tripping(pool),
        now: () => Date.now() + ahead,
        streams: {
          read: streams.read,
          append: (...args) => onAppend(() => streams.append(...args)) as ReturnType<typeof streams.append>,
        },
      }),
    })
    onAppend = (append) => append()
    operator = await api.operator()
  })
  beforeEach(async () => {
    onAppend = (append) => append()
    admin = await api.tenant()
  })
  afterEach(() => {
    trip = null
    ahead = 0
  })
  after(() => api.stop())

  const post = async (path: string, body: object | undefined, key: string, as: Credential = admin): Promise<Reply> => {
    const reply = await api.call('POST', path, { as, headers: { 'idempotency-key': key }, ...(body === undefined ? {} : { body }) })
    for (const at of ['secret', 'data.key', 'data.client_secret']) if (reply.has(at) && reply.status < 300) api.secrets.add(reply.get(at))
    return reply
  }
  const headersOf = ({ headers }: Reply) =>
    Object.fromEntries([...headers].filter(([name]) => !/^(x-request-id|kolbak-request-id|date|ratelimit)/.test(name)))
  const expectSame = (first: Reply, repeated: Reply) => {
    expect([repeated.status, repeated.text]).to.deep.equal([first.status, first.text])
    expect(headersOf(repeated)).to.deep.equal(headersOf(first))
  }
  const expectCode = (reply: Reply, status: number, code: string) =>
    expect([reply.status, reply.get('error.code')]).to.deep.equal([status, code])
  const webhooksOf = async (as: Credential) => Number((await api.call('GET', '/v1/webhooks', { as })).get('pagination.total'))

  describe('gives every repetition the same response including its secret, and creates one resource, for', () => {
    const creations: [string, string, object | undefined, () => Promise<Credential>][] = [
      ['a key', '/v1/keys', aKey, async () => admin],
      ['a webhook', '/v1/webhooks', webhook, async () => admin],
      ["a key's webhook", '/v1/webhooks', webhook, () => api.key(admin)],
      ['a tenant', '/v1/tenants', { name: 'Acme', limits: { webhooks: 3 } }, async () => operator],
      ['a client', '/v1/tenants/TENANT/clients', { name: 'Shop', scopes: ['read:events'] }, async () => operator],
      ['a new value of a key', '/v1/keys/KEY/rotate', {}, async () => admin],
      ['a new secret of a webhook', '/v1/webhooks/WEBHOOK/secret/rotate', { overlap_seconds: 5 }, async () => admin],
      ['a new secret of a client', '/v1/tenants/TENANT/clients/CLIENT/secret/rotate', undefined, async () => operator],
    ]
    const real = async (path: string) => {
      const other = path.includes('TENANT') ? await api.tenant() : admin
      return path
        .replace('TENANT', other.tenant)
        .replace('CLIENT', other.clientId)
        .replace('KEY', path.includes('KEY') ? (await api.key(admin)).id : '')
        .replace('WEBHOOK', path.includes('WEBHOOK') ? await api.webhook(admin) : '')
    }
    for (const [title, template, body, who] of creations) {
      it(title, async () => {
        const [path, as, k1] = [await real(template), await who(), ulid()]
        const first = await post(path, body, k1, as)
        expect(first.status).to.be.within(200, 201)
        const before = await api.events()
        expectSame(first, await post(path, body, k1, as))
        expect(await api.events()).to.equal(before)
        const other = await post(path, body, ulid(), as)
        expect(other.status).to.equal(first.status)
        expect(other.text).to.not.equal(first.text)
      })
      it(`${title}, even when the process dies between its append and its response`, async () => {
        const [path, as, k1] = [await real(template), await who(), ulid()]
        const before = await api.events()
        trip = { statement: /update idempotency_keys set (answer|claimed_until)/, times: 2 } // Neither the response nor the release of the key is stored.
        expect((await post(path, body, k1, as)).status).to.equal(503)
        expect(trip.times).to.equal(0)
        const appended = await api.events()
        expect(appended).to.be.greaterThan(before)
        expectCode(await post(path, body, k1, as), 409, 'idempotency_key_in_use')
        ahead = 11_000
        const repeated = await post(path, body, k1, as)
        expect(repeated.status).to.be.within(200, 201)
        expect(await api.events()).to.equal(appended)
        expectSame(repeated, await post(path, body, k1, as))
      })
    }
    it('returns a working secret after the process died between its append and its response', async () => {
      const { tenant } = await api.tenant()
      const path = `/v1/tenants/${tenant}/clients`
      const body = { name: 'Shop', scopes: ['read:webhooks'] }
      trip = { statement: /update idempotency_keys set answer/, times: 1 }
      expect((await post(path, body, 'k', operator)).status).to.equal(503)
      const issued = await post(path, body, 'k', operator)
      const token = await api.call('POST', '/v1/auth', {
        body: {
          grant_type: 'client_credentials',
          client_id: issued.get('data.client_id'),
          client_secret: issued.get('data.client_secret'),
        },
      })
      api.secrets.add(token.get('access_token'))
      expect(token.status).to.equal(200)
    })
    it('returns the resource as it was created when the first response was lost, even if it has changed since', async () => {
      trip = { statement: /update idempotency_keys set answer/, times: 1 }
      await post('/v1/webhooks', webhook, 'k')
      const [id] = JSON.parse((await api.call('GET', '/v1/webhooks', { as: admin })).text).data.map((row: { id: string }) => row.id)
      await api.call('PATCH', `/v1/webhooks/${id}`, { as: admin, body: { event: 'changed' } })
      const repeated = await post('/v1/webhooks', webhook, 'k')
      expect([repeated.get('id'), repeated.get('event'), repeated.headers.get('etag')]).to.deep.equal([id, 'order.created', '"0"'])
    })
  })

  describe('applies to the replay of', () => {
    const deadLetter = async () => {
      const id = await api.webhook(admin)
      const event = `evt_${id}`
      await api.call('POST', '/v1/events', { as: admin, body: { id: event, event: 'order.created', payload: {} } })
      const [delivery] = await routeMessage(api, api.produced.at(-1)!, [id])
      await delivery?.record({ type: 'DeliveryDeadLettered', code: 500 })
      return { delivery: delivery!.id, event }
    }
    const replays = async () =>
      Number((await api.db.pool.query("select count(*) as n from day_events where type = 'DeliveryReplayed'")).rows[0].n)

    for (const [title, name] of [
      ['delivery', 'a delivery'],
      ['event', 'an event'],
    ] as const) {
      const pathOf = ({ delivery, event }: { delivery: string; event: string }) =>
        title === 'delivery' ? `/v1/deliveries/${delivery}/replay` : `/v1/events/${event}/replay`
      it(`${name}: a repetition gets the same response, and another key starts another chain`, async () => {
        const path = pathOf(await deadLetter())
        const first = await post(path, undefined, 'k1')
        expect(first.status).to.equal(202)
        const before = await replays()
        expectSame(first, await post(path, undefined, 'k1'))
        expect(await replays()).to.equal(before)
        expect((await post(path, undefined, 'k2')).status).to.equal(202)
        expect(await replays()).to.equal(before + 1)
      })
      it(`${name}: a repetition starts no second chain when the first response was lost`, async () => {
        const path = pathOf(await deadLetter())
        trip = { statement: /update idempotency_keys set answer/, times: 1 }
        expect((await post(path, undefined, 'k1')).status).to.equal(503)
        const before = await replays()
        const repeated = await post(path, undefined, 'k1')
        expect(repeated.status).to.equal(202)
        expect(repeated.get(title === 'delivery' ? 'data.chain' : 'data.0.chain')).to.equal('2')
        expect(await replays()).to.equal(before)
      })
    }
    it('another delivery: the same key gets 422', async () => {
      const [first, second] = [await deadLetter(), await deadLetter()]
      await post(`/v1/deliveries/${first.delivery}/replay`, undefined, 'k')
      expectCode(await post(`/v1/deliveries/${second.delivery}/replay`, undefined, 'k'), 422, 'idempotency_key_reused')
    })
  })

  it('creates one resource for concurrent requests, and returns 409 to all but the first', async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => post('/v1/webhooks', webhook, 'k')))
    for (const reply of all) expect(reply.status).to.be.oneOf([201, 409])
    const created = all.filter((reply) => reply.status === 201)
    expect(new Set(created.map((reply) => reply.text)).size).to.equal(1)
    for (const reply of all.filter(({ status }) => status === 409)) expectCode(reply, 409, 'idempotency_key_in_use')
    expect(await webhooksOf(admin)).to.equal(1)
  })
  it('returns 409 with Retry-After while the first request is in progress', async () => {
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    onAppend = async (append) => {
      reached.resolve()
      await gate.promise
      return append()
    }
    const first = post('/v1/webhooks', webhook, 'k')
    await reached.promise
    const refused = await post('/v1/webhooks', webhook, 'k')
    expectCode(refused, 409, 'idempotency_key_in_use')
    expect(refused.headers.get('retry-after')).to.equal('1')
    gate.resolve()
    expectSame(await first, await post('/v1/webhooks', webhook, 'k'))
  })
  it('creates no second resource when a repetition overtakes a slow request', async () => {
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    let appends = 0
    onAppend = async (append) => {
      if (appends++ > 0) return append()
      reached.resolve()
      await gate.promise
      return append()
    }
    const slow = post('/v1/webhooks', webhook, 'k')
    await reached.promise
    ahead = 11_000
    const overtaking = await post('/v1/webhooks', webhook, 'k')
    ahead = 0
    gate.resolve()
    const slowReply = await slow
    expect([slowReply.status, slowReply.get('id'), slowReply.get('secret')]).to.deep.equal([
      201,
      overtaking.get('id'),
      overtaking.get('secret'),
    ])
    expect(await webhooksOf(admin)).to.equal(1)
  })
  it('returns 422 for another body, another path, or other scopes under the same key', async () => {
    const first = await post('/v1/webhooks', webhook, 'k')
    expectCode(await post('/v1/webhooks', { ...webhook, event: 'a' }, 'k'), 422, 'idempotency_key_reused')
    const narrowed = await api.call('POST', '/v1/auth', {
      body: {
        grant_type: 'client_credentials',
        client_id: admin.clientId,
        client_secret: admin.secret,
        scope: 'write:webhooks',
      },
    })
    api.secrets.add(narrowed.get('access_token'))
    expectCode(await post('/v1/webhooks', webhook, 'k', { token: narrowed.get('access_token') }), 422, 'idempotency_key_reused')
    expectSame(first, await post('/v1/webhooks', webhook, 'k'))
  })
  it('treats the same key from another caller or on another route as another key', async () => {
    const sibling = await api.sibling(admin, admin.scopes)
    const first = await post('/v1/webhooks', webhook, 'k')
    for (const as of [sibling, await api.tenant(), await api.key(admin)]) {
      const other = await post('/v1/webhooks', webhook, 'k', as)
      expect(other.status).to.equal(201)
      expect(other.get('id')).to.not.equal(first.get('id'))
    }
    expect((await post('/v1/keys', aKey, 'k')).status).to.equal(201)
  })
  it('forgets a refused request, so that the body can be corrected under the same key', async () => {
    expect((await post('/v1/webhooks', { ...webhook, event: '' }, 'k')).status).to.equal(422)
    expect((await post('/v1/webhooks', webhook, 'k')).status).to.equal(201)
    const lesser = await api.sibling(admin, ['write:keys'])
    expectCode(await post('/v1/keys', aKey, 'k', lesser), 403, 'scope_exceeds_caller')
    expect(await rows()).to.equal(1)
  })
  const rows = async () =>
    Number((await api.db.pool.query('select count(*) as n from idempotency_keys where tenant = $1', [admin.tenant])).rows[0].n)
  it("returns a webhook at the tenant's limit again when its first response was lost", async () => {
    await api.command(admin.tenant, { type: 'ChangeTenantSettings', limits: { webhooks: 1 } })
    trip = { statement: /update idempotency_keys set answer/, times: 1 }
    await post('/v1/webhooks', webhook, 'k')
    expect((await post('/v1/webhooks', webhook, 'k')).status).to.equal(201)
    expect(await webhooksOf(admin)).to.equal(1)
  })
  it('returns 503 when the outcome is unknown, and the next request resolves it', async () => {
    let appends = 0
    onAppend = async (append) => {
      if (appends++ === 0) await append()
      throw new StoreUnavailable('no response')
    }
    expect((await post('/v1/webhooks', webhook, 'k')).status).to.equal(503)
    onAppend = (append) => append()
    const repeated = await post('/v1/webhooks', webhook, 'k')
    expect(repeated.status).to.equal(201)
    expect(await webhooksOf(admin)).to.equal(1)
    expect((await api.call('GET', `/v1/webhooks/${repeated.get('id')}`, { as: admin })).status).to.equal(200)
  })
  it('frees a key after a day, and deletes its row', async () => {
    const first = await post('/v1/webhooks', webhook, 'k')
    const keys = createIdempotencyKeys({ pool: api.db.pool, now: () => Date.now() + ahead })
    ahead = 86_390_000
    await keys.expire()
    expect(await rows()).to.equal(1)
    ahead = 86_410_000
    await keys.expire()
    expect(await rows()).to.equal(0)
    ahead = 0
    const second = await post('/v1/webhooks', webhook, 'k')
    expect(second.get('id')).to.not.equal(first.get('id'))
    await api.db.pool.query("update idempotency_keys set expires_at = clock_timestamp() - interval '1 s' where tenant = $1", [admin.tenant])
    const third = await post('/v1/webhooks', { ...webhook, event: 'another.body' }, 'k')
    expect(third.status).to.equal(201)
  })
  it('returns 400 for an invalid key', async () => {
    for (const key of ['', 'two words', 'k'.repeat(256)]) expectCode(await post('/v1/webhooks', webhook, key), 400, 'invalid_request')
  })
  it('stores responses sealed', async () => {
    const created = await post('/v1/webhooks', webhook, 'k')
    const { rows: storedRows } = await api.db.pool.query('select * from idempotency_keys where tenant = $1', [admin.tenant])
    const text = JSON.stringify(
      storedRows.map(({ plan, answer, ...rest }) => ({ ...rest, plan: plan.toString('latin1'), answer: answer.toString('latin1') })),
    )
    for (const secret of [created.get('secret'), localUrl, 'whsec_']) expect(text).to.not.contain(secret)
  })
})
