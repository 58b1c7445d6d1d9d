import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import type { Route } from '../../src/api/route.ts'
import type { TenantId } from '../../src/events/ids.ts'
import { bearerScopes, serviceScopes } from '../../src/events/tenant.ts'
import type { Keyring, ServiceSecrets } from '../../src/lib/keyring.ts'
import { openLogSigner } from '../../src/lib/log-signer.ts'
import { storeHead } from '../../src/projections/log-heads.ts'
import { localUrl, startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Call } from '../support/api-client.ts'
import { route as routeMessage } from '../support/routed.ts'
import { waitFor } from '../support/wait-for.ts'

/** A valid body for each operation, so that a request is refused only because of its caller. */
const bodies: Readonly<Record<string, unknown>> = {
  createKey: { name: 'x', scopes: ['read:webhooks'] },
  changeKey: { name: 'y' },
  rotateKey: {},
  createWebhook: { callback_url: localUrl, event: 'a' },
  changeWebhook: { description: 'y' },
  createTenant: { name: 'x' },
  changeTenant: {},
  issueClient: { name: 'x', scopes: ['read:events'] },
  rotateClientSecret: {},
  rotateWebhookSecret: {},
  postEvent: { event: 'a', payload: {} },
  replayEvent: {},
  holdTenant: { reason: 'x' },
  replayWebhook: { since: '2026-01-01T00:00:00Z' },
  replayDeliveries: { since: '2026-01-01T00:00:00Z' },
  postEvents: { events: [{ event: 'a', payload: {} }] },
}
/** The resources that are found by id. Other tenants must not find them. */
type Ids = Readonly<Record<'key' | 'webhook' | 'event' | 'delivery' | 'job' | 'tenant' | 'client', string>>
const idOf = (path: string, ids: Ids): string | undefined =>
  path.startsWith('/v1/tenants/')
    ? ids.tenant
    : path.startsWith('/v1/keys/')
      ? ids.key
      : path.startsWith('/v1/webhooks/')
        ? ids.webhook
        : path.startsWith('/v1/events/')
          ? ids.event
          : path.startsWith('/v1/deliveries/')
            ? ids.delivery
            : path.startsWith('/v1/jobs/')
              ? ids.job
              : undefined

describe('every route of the API', () => {
  let api: TestApi
  let owner: TestClient
  let stranger: TestClient
  let operator: TestClient
  let ownerKey: { id: string; key: string }
  let otherKey: { id: string; key: string }
  let ids: Ids
  let routes: readonly Route[]
  before(async () => {
    api = await startApi()
    routes = api.api.routes
    ;[owner, stranger, operator] = [await api.tenant(), await api.tenant(), await api.operator()]
    const signer = await openLogSigner(api.deps.keyring as Keyring & ServiceSecrets)
    const head = { size: 1, root: Buffer.alloc(32) }
    await storeHead(api.db.pool, { ...head, origin: signer.origin, note: signer.sign(head) })
    const otherTenant = await api.tenant()
    ;[ownerKey, otherKey] = [await api.key(owner), await api.key(owner)]
    const webhook = await api.webhook(ownerKey)
    await api.call('POST', '/v1/events', { as: owner, body: { id: 'theirs', event: 'order.created', payload: {} } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    const [delivery] = await routeMessage(api, produced, [webhook])
    await delivery?.record({ type: 'DeliveryDeadLettered', code: 500 })
    // The job has a separate webhook, so that no other test ends the job.
    const started = await api.call('POST', `/v1/webhooks/${await api.webhook(ownerKey)}/replay`, { as: owner, body: bodies.replayWebhook })
    ids = {
      ...{ key: ownerKey.id, webhook, event: 'theirs', delivery: delivery?.id ?? '', job: started.get('data.id') },
      ...{ tenant: otherTenant.tenant, client: otherTenant.clientId },
    }
  })
  after(() => api.stop())

  const ask = (route: Route, call: Call, target: Ids = ids) => {
    const ofRoute = route.operationId === 'eraseTenant' ? { confirm: target.tenant } : bodies[route.operationId]
    const body = route.body === undefined ? {} : { body: ofRoute }
    const query = route.operationId === 'explainEvent' ? `?webhook=${target.webhook}` : ''
    return api.call(
      route.method,
      `${route.path.replace(':id', idOf(route.path, target) ?? '').replace(':client_id', target.client)}${query}`,
      { ...body, ...call },
    )
  }
  /** Runs a check on every route that the filter selects, and expects that nothing was stored. */
  const checkEach = async (isSelected: (route: Route) => boolean, check: (route: Route) => Promise<void>) => {
    const before = { events: await api.events(), produced: api.produced.length, attempts: await attempts(), jobs: await jobs() }
    const selected = routes.filter(isSelected)
    expect(selected.length, 'the number of selected routes').to.be.greaterThan(2)
    for (const route of selected) await check(route)
    expect({ events: await api.events(), produced: api.produced.length, attempts: await attempts(), jobs: await jobs() }).to.deep.equal(
      before,
    )
  }
  const attempts = async () => (await api.db.pool.query<{ n: bigint }>('select count(*) as n from day_events')).rows[0]?.n
  const jobs = async () => (await api.db.pool.query('select id, status from replay_jobs order by id')).rows
  const isGuarded = (route: Route) => route.credentials === 'bearer' || route.credentials === 'bearer-or-key'
  /** Returns whether the route needs a scope. The other guarded routes serve every valid credential. */
  const isScoped = (route: Route) => isGuarded(route) && route.scope !== null
  const acceptsKeys = (route: Route) => route.credentials === 'bearer-or-key'
  const expectCode = async (route: Route, call: Call, status: number, code: string) => {
    const response = await ask(route, call)
    expect([response.status, response.get('error.code')], `${route.method} ${route.path}: ${response.text}`).to.deep.equal([status, code])
    return response
  }

  it('needs a token or a key and names its scope, except for seven routes without them and /v1/me without a scope', () => {
    const unguarded = routes.filter((route) => !isGuarded(route)).map((route) => `${route.path} ${route.credentials}`)
    expect(unguarded.sort()).to.deep.equal([
      '/ none',
      '/health none',
      '/health/live none',
      '/health/ready none',
      '/metrics operator',
      '/openapi.json none',
      '/v1/auth client',
    ])
    expect(routes.filter((route) => isGuarded(route) && !isScoped(route)).map(({ path }) => path)).to.deep.equal(['/v1/me'])
    for (const route of routes.filter(isScoped)) {
      expect(bearerScopes, route.path).to.include(route.scope)
      if (/^\/v1\/(tenants|operations)/.test(route.path) && route.scope !== 'read:audit') {
        expect(route.scope, `${route.method} ${route.path}`).to.equal('admin')
        continue
      }
      const [verb] = (route.scope ?? '').split(':')
      expect(verb, `${route.method} ${route.path}`).to.equal(route.method === 'GET' ? 'read' : 'write')
    }
  })
  it('gives keys access only to webhooks and their deliveries', () => {
    for (const route of routes.filter(acceptsKeys))
      expect(route.path).to.match(/^\/v1\/(webhooks|deliveries|dead-letters|problems|statistics|jobs|replays|me)/)
  })
  it('returns 401 without a credential', () =>
    checkEach(isGuarded, async (route) => {
      const response = await expectCode(route, {}, 401, 'unauthorized')
      expect(response.headers.get('www-authenticate')).to.equal('Bearer realm="kolbak"')
    }))
  it('returns 401 for a wrong token', async () => {
    const [header, payload] = owner.token.split('.')
    const wrong = [
      'x',
      `${header}.${payload}.AAAA`,
      jwt.sign({ ...Object(jwt.decode(owner.token)) }, 'another secret of at least 32 characters', { keyid: 'x' }),
      `${owner.token}x`,
    ]
    await checkEach(isGuarded, async (route) => {
      for (const token of wrong) await expectCode(route, { as: { token } }, 401, 'unauthorized')
    })
  })
  it('returns 401 for another scheme', () =>
    checkEach(isGuarded, async (route) => {
      for (const authorization of [
        `Basic ${Buffer.from(`${owner.clientId}:${owner.secret}`).toString('base64')}`,
        owner.token,
        'Bearer',
        '',
      ])
        await expectCode(route, { headers: { authorization } }, 401, 'unauthorized')
    }))
  it('returns 401 for a wrong key, and for a text that cannot be a key', () =>
    checkEach(acceptsKeys, async (route) => {
      for (const key of ['AAAABBBBCCCC', ownerKey.key.toLowerCase(), `${ownerKey.key}A`, '*'])
        await expectCode(route, { as: { key } }, 401, 'unauthorized')
    }))
  it('returns 401 for a valid key where keys are not accepted', () =>
    checkEach(
      (route) => route.credentials === 'bearer',
      async (route) => {
        await expectCode(route, { as: ownerKey }, 401, 'unauthorized')
      },
    ))
  it('returns 400 for both credentials at once, even if both are valid', () =>
    checkEach(isGuarded, async (route) => {
      await expectCode(route, { as: owner, headers: { 'x-api-key': ownerKey.key } }, 400, 'ambiguous_credentials')
    }))
  it('returns 403 for a token with every scope except the needed one, and names that scope', async () => {
    const without = new Map<string, TestClient>()
    for (const scope of new Set(routes.filter(isScoped).map((route) => route.scope ?? '')))
      without.set(
        scope,
        await api.sibling(
          owner,
          bearerScopes.filter((other) => other !== scope && !serviceScopes.includes(other)),
        ),
      )
    await checkEach(isScoped, async (route) => {
      const response = await expectCode(route, { as: without.get(route.scope ?? '') }, 403, 'insufficient_scope')
      expect(response.headers.get('www-authenticate')).to.contain(`scope="${route.scope}"`)
    })
  })
  it('returns 403 for a key without the needed scope', async () => {
    const reader = await api.key(owner, ['read:webhooks'])
    await checkEach(
      (route) => acceptsKeys(route) && route.scope === 'write:webhooks',
      async (route) => {
        await expectCode(route, { as: reader }, 403, 'insufficient_scope')
      },
    )
  })
  it('returns 404 for ids of another tenant, exactly as for unknown ids', async () => {
    await checkEach(
      (route) => isGuarded(route) && route.scope !== 'admin' && route.path.includes(':id'),
      async (route) => {
        const response = await expectCode(route, { as: stranger }, 404, 'not_found')
        const nothing = await ask(
          route,
          { as: stranger },
          {
            key: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
            webhook: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
            event: 'nothing',
            delivery: '0195d3a1-7a4b-5c6d-8e9f-001122334455',
            job: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
            tenant: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
            client: 'nobody',
          },
        )
        expect(response.text).to.equal(nothing.text)
      },
    )
  })
  it('returns 404 to a key of another tenant, with any scopes', async () => {
    const otherTenant = await api.key(stranger)
    await checkEach(
      (route) => acceptsKeys(route) && route.path.includes(':id'),
      async (route) => {
        await expectCode(route, { as: otherTenant }, 404, 'not_found')
      },
    )
  })
  it('returns 401 for a deleted key and for the token of a revoked client after one second', async () => {
    const deleted = await api.key(owner)
    const revoked = await api.sibling(owner, ['read:webhooks', 'read:keys'])
    for (const as of [deleted, revoked]) expect((await api.call('GET', '/v1/webhooks', { as })).status).to.equal(200)
    await api.call('DELETE', `/v1/keys/${deleted.id}`, { as: owner })
    await api.command(owner.tenant, { type: 'RevokeClient', client_id: revoked.clientId })
    for (const as of [deleted, revoked])
      await waitFor(async () => (await api.call('GET', '/v1/webhooks', { as })).status === 401, { within: 3_000 })
    await checkEach(acceptsKeys, async (route) => {
      await expectCode(route, { as: deleted }, 401, 'unauthorized')
    })
    await checkEach(isGuarded, async (route) => {
      await expectCode(route, { as: revoked }, 401, 'unauthorized')
    })
  })
  it('returns 404 for ids of another key of the same tenant', () =>
    checkEach(
      (route) => acceptsKeys(route) && route.path.includes(':id'),
      async (route) => {
        await expectCode(route, { as: otherKey }, 404, 'not_found')
      },
    ))
  it('returns 403 to the auditor of the service for every change, with and without `Kolbak-Tenant`', async () => {
    const auditor = await api.sibling(operator, ['audit'])
    await checkEach(
      (route) => isGuarded(route) && route.method !== 'GET',
      async (route) => {
        await expectCode(route, { as: auditor }, 403, 'insufficient_scope')
        await expectCode(route, { as: auditor, headers: { 'kolbak-tenant': owner.tenant } }, 403, 'insufficient_scope')
      },
    )
  })
  it('returns 200 to the auditor of the service for every read of a tenant, without its secrets', async () => {
    const auditor = await api.sibling(operator, ['audit'])
    const headers = { 'kolbak-tenant': owner.tenant }
    const target = { ...ids, tenant: owner.tenant, client: owner.clientId }
    await checkEach(
      (route) => isGuarded(route) && route.method === 'GET' && route.path !== '/v1/operations',
      async (route) => {
        const response = await ask(route, { as: auditor, headers }, target)
        expect(response.status, `${route.path}: ${response.text}`).to.equal(200)
        for (const secret of [ownerKey.key, otherKey.key]) expect(response.text, route.path).to.not.include(secret)
      },
    )
    expect((await api.call('GET', `/v1/webhooks/${ids.webhook}`, { as: auditor })).status).to.equal(404)
    expect((await api.call('GET', '/v1/operations', { as: auditor })).status).to.equal(403)
    const signed = await api.call('GET', `/v1/deliveries/${ids.delivery}/request?signed=true`, { as: auditor, headers })
    expect([signed.status, signed.get('error.code')]).to.deep.equal([403, 'insufficient_scope'])
  })
  it('returns 403 for `Kolbak-Tenant` without the scope `audit`, and 422 for an unknown tenant', async () => {
    const headers = { 'kolbak-tenant': owner.tenant }
    for (const as of [owner, stranger, operator, ownerKey]) {
      const refused = await api.call('GET', '/v1/webhooks', { as, headers })
      expect([refused.status, refused.get('error.code')]).to.deep.equal([403, 'insufficient_scope'])
    }
    const auditor = await api.sibling(operator, ['audit'])
    for (const tenant of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x'])
      expect((await api.call('GET', '/v1/webhooks', { as: auditor, headers: { 'kolbak-tenant': tenant } })).status).to.equal(422)
  })
  it('returns 200, 201, 202 or 204 to the owner, which shows that the tests above can fail', async () => {
    const rank = ({ method, operationId }: Route) => (operationId === 'eraseTenant' ? 2 : method === 'DELETE' ? 1 : 0)
    const deletesLast = [...routes].filter(isGuarded).sort((a, b) => rank(a) - rank(b))
    for (const route of deletesLast) {
      if (route.operationId === 'eraseTenant') await api.command(ids.tenant as TenantId, { type: 'SuspendTenant' })
      // The history of a tenant is read by its own client.
      const ofOwner = route.path.startsWith('/v1/tenants') && route.scope === 'read:audit'
      const target = ofOwner ? { ...ids, tenant: owner.tenant, client: owner.clientId } : ids
      const response = await ask(route, { as: route.scope === 'admin' ? operator : owner }, target)
      expect(response.status, `${route.method} ${route.path}: ${response.text}`).to.be.within(200, 204)
    }
  })
})
