import { expect } from 'chai'
import { ulid } from 'ulid'
import type { Route } from '../../src/api/route.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Reply } from '../support/api-client.ts'
import { route } from '../support/routed.ts'
import { waitFor } from '../support/wait-for.ts'

describe('the routes that read, with `as_of`,', () => {
  let api: TestApi
  let owner: TestClient
  /** A client with the scope `read:audit` alone. */
  let auditor: TestClient
  let operator: TestClient
  let readers: readonly Route[]
  /** The values of the ids in paths, by the path of the list. */
  let ids: Readonly<Record<string, string>>
  /** A moment before the last changes. */
  let moment: string
  before(async () => {
    api = await startApi()
    ;[owner, operator] = [await api.tenant(), await api.operator()]
    auditor = await api.sibling(owner, ['read:audit'])
    const other = await api.sibling(owner, ['read:events'])
    readers = api.api.routes.filter(({ method, credentials }) => method === 'GET' && ['bearer', 'bearer-or-key'].includes(credentials))
    const key = await api.key(owner)
    const webhook = await api.webhook(owner)
    await api.call('POST', '/v1/events', { as: owner, body: { id: 'known', event: 'order.created', payload: {} } })
    const [delivery] = await route(api, api.produced.at(-1)!, [webhook])
    await delivery?.record({ type: 'DeliveryFailed', code: 500, reason: 'http_500', delay_seconds: 5 })
    ids = {
      ...{ '/v1/webhooks': webhook, '/v1/keys': key.id, '/v1/tenants': owner.tenant },
      ...{ '/v1/events': 'known', '/v1/deliveries': delivery?.id ?? '', client_id: other.clientId },
    }
    moment = await passed()
    await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: owner, body: { description: 'new' } })
    await api.call('PATCH', `/v1/keys/${key.id}`, { as: owner, body: { name: 'new' } })
    await api.command(owner.tenant, { type: 'ChangeTenantSettings', limits: { webhooks: 77 } })
    await api.command(owner.tenant, {
      type: 'RotateClientSecret',
      ...{ client_id: other.clientId, secret_hmac: 'x', previous_secret_until: '2099-01-01T00:00:00.000Z' },
    })
    await delivery?.record({ type: 'DeliverySucceeded', attempt: 2, code: 200 })
  })
  after(() => api.stop())
  /** Returns a time that has passed, and that is later than everything before. */
  const passed = async () => {
    const now = new Date().toISOString()
    await waitFor(() => new Date().toISOString() > now)
    return now
  }
  const isNothing = (response: Reply) => response.status === 404 || (response.status === 200 && response.get('pagination.total') === '0')
  const pathOf = ({ path }: Route) =>
    path
      .replace(':id', ids[path.split('/:')[0]!] ?? ulid())
      .replace(':client_id', ids.client_id!)
      .replace(/:\w+/, ulid())

  it('return the past state to a client that has only read:audit, or refuse it with 422', async () => {
    expect(readers.length).to.be.greaterThan(15)
    const pathsWithPast: string[] = []
    for (const route of readers) {
      if (!Object.hasOwn(route.query?.properties ?? {}, 'as_of')) {
        const { status, body } = await api.call('GET', `${pathOf(route)}?as_of=${moment}`, { as: owner })
        if (status === 403) continue // an operator's route
        expect(status, route.path).to.equal(422)
        const { details } = (body as { error: { details: { path: string }[] } }).error
        expect(
          details.map(({ path }) => path),
          route.path,
        ).to.include('as_of')
        continue
      }
      pathsWithPast.push(route.path)
      const past = await api.call('GET', `${pathOf(route)}?as_of=${moment}`, { as: auditor })
      const present = await api.call('GET', pathOf(route), { as: route.scope === 'admin' ? operator : owner })
      expect([past.status, present.status], route.path).to.deep.equal([200, 200])
      expect(past.text, route.path).to.not.equal(present.text)
      const early = await api.call('GET', `${pathOf(route)}?as_of=2020-01-01T00:00:00Z`, { as: auditor })
      expect(isNothing(early), `${route.path} ${early.text}`).to.equal(true)
      const future = await api.call('GET', `${pathOf(route)}?as_of=2999-01-01T00:00:00Z`, { as: auditor })
      expect([future.status, future.get('error.details.0.message')], route.path).to.deep.equal([422, 'must not be in the future'])
    }
    expect(pathsWithPast.sort()).to.deep.equal([
      '/v1/deliveries/:id',
      '/v1/events/:id',
      '/v1/keys',
      '/v1/keys/:id',
      '/v1/tenants',
      '/v1/tenants/:id',
      '/v1/tenants/:id/clients',
      '/v1/tenants/:id/clients/:client_id',
      '/v1/webhooks',
      '/v1/webhooks/:id',
    ])
  })
  it('return the values of that time', async () => {
    const past = async (path: string) => (await api.call('GET', `${path}?as_of=${moment}`, { as: auditor })).body as { data: unknown }
    expect((await past(`/v1/tenants/${owner.tenant}`)).data).to.deep.include({
      limits: { webhooks: null, events_per_second: null, requests_per_second: null },
    })
    expect(((await past('/v1/tenants')).data as { id: string }[]).map(({ id }) => id)).to.deep.equal([owner.tenant])
    const clients = (await past(`/v1/tenants/${owner.tenant}/clients`)).data as { client_id: string; previous_secret_until: unknown }[]
    expect(clients.map(({ client_id }) => client_id)).to.have.members([owner.clientId, auditor.clientId, ids.client_id])
    expect(clients.map(({ previous_secret_until }) => previous_secret_until)).to.deep.equal([null, null, null])
    const delivery = (await past(`/v1/deliveries/${ids['/v1/deliveries']}`)).data as {
      status: string
      attempts: { response_code: number }[]
    }
    expect([delivery.status, delivery.attempts.map(({ response_code }) => response_code)]).to.deep.equal(['retrying', [500]])
    expect((await past('/v1/events/known')).data).to.deep.include({
      deliveries: { total: 1, pending: 0, retrying: 1, success: 0, failed: 0, discarded: 0 },
    })
  })
  it('return the same state for the index that the header As-Of-Index names, and refuse other indexes', async () => {
    for (const path of [`/v1/webhooks/${ids['/v1/webhooks']}`, `/v1/keys/${ids['/v1/keys']}`, `/v1/tenants/${owner.tenant}`]) {
      const byTime = await waitFor(async () => {
        const past = await api.call('GET', `${path}?as_of=${moment}`, { as: auditor })
        return past.headers.has('as-of-index') ? past : null
      })
      const index = byTime.headers.get('as-of-index')
      const byIndex = await api.call('GET', `${path}?as_of_index=${index}`, { as: auditor })
      expect([byIndex.status, byIndex.text, byIndex.headers.get('etag')]).to.deep.equal([200, byTime.text, byTime.headers.get('etag')])
      expect((await api.call('GET', `${path}?as_of_index=1000000`, { as: auditor })).status).to.equal(422)
      expect((await api.call('GET', `${path}?as_of_index=${index}&as_of=${moment}`, { as: auditor })).status).to.equal(422)
    }
  })
  it('return with each list the index of the last event up to that time, at which each resource of the list is the same', async () => {
    for (const path of ['/v1/webhooks', '/v1/keys', '/v1/tenants', `/v1/tenants/${owner.tenant}/clients`]) {
      const list = await waitFor(async () => {
        const past = await api.call('GET', `${path}?as_of=${moment}`, { as: auditor })
        return past.headers.has('as-of-index') ? past : null
      })
      const shown = (JSON.parse(list.text).data as { id?: string; client_id?: string }[])[0]!
      const one = await api.call('GET', `${path}/${shown.client_id ?? shown.id}?as_of_index=${list.headers.get('as-of-index')}`, {
        as: auditor,
      })
      expect(one.status, path).to.equal(200)
      const single = JSON.parse(one.text)
      expect(single.data ?? single, path).to.deep.equal(shown)
    }
  })
  it('return 403 without read:audit, and 404 for the past of other tenants', async () => {
    const reader = await api.sibling(owner, ['read:webhooks', 'read:keys', 'read:events'])
    const stranger = await api.tenant()
    for (const route of readers.filter(({ hasPast }) => hasPast)) {
      const path = `${pathOf(route)}?as_of=${moment}`
      const refused = await api.call('GET', path, { as: reader })
      expect([refused.status, refused.get('error.code')], route.path).to.deep.equal([403, 'insufficient_scope'])
      const foreign = await api.call('GET', path, { as: stranger })
      // The stranger's own tenant is in its list.
      expect(isNothing(foreign) || foreign.text.includes(stranger.tenant), `${route.path} ${foreign.text}`).to.equal(true)
    }
  })
  it('show a revoked client in the past and in its history, without its secrets', async () => {
    const client = await api.sibling(owner, ['read:events'])
    const path = `/v1/tenants/${owner.tenant}/clients/${client.clientId}`
    const issued = await passed()
    await api.command(owner.tenant, { type: 'RevokeClient', client_id: client.clientId })
    expect((await api.call('GET', path, { as: operator })).status).to.equal(404)
    expect((await api.call('GET', `${path}?as_of=${issued}`, { as: operator })).get('data.client_id')).to.equal(client.clientId)
    const history = await api.call('GET', `${path}/history`, { as: auditor })
    expect([history.get('data.0.type'), history.get('data.1.type'), history.get('data.0.changes.secret_hmac.to')]).to.deep.equal([
      'ClientIssued',
      'ClientRevoked',
      '[sealed]',
    ])
    const ofTenant = await api.call('GET', `/v1/tenants/${owner.tenant}/history?limit=100`, { as: auditor })
    expect(ofTenant.text).to.include('"webhooks":77').and.include('ClientRevoked')
  })
  it('refuse any other unknown parameter too, and name it', async () => {
    for (const route of readers) {
      const { status, body } = await api.call('GET', `${pathOf(route)}?asof=${moment}`, { as: owner })
      if (status !== 403) expect(`${route.path} ${status} ${JSON.stringify(body)}`).to.match(/ 422 .*"asof".*is not a known field/)
    }
  })
  it('name the key that made a change as it was called then', async () => {
    const credential = await api.key(owner, ['read:webhooks', 'write:webhooks'])
    const webhook = await api.webhook({ key: credential.key })
    const created = new Date().toISOString()
    await waitFor(() => new Date().toISOString() > created)
    await api.call('PATCH', `/v1/keys/${credential.id}`, { as: owner, body: { name: 'new' } })
    const { body } = await api.call('GET', `/v1/webhooks/${webhook}/history`, { as: auditor })
    expect((body as { data: { actor: { name: string } }[] }).data[0]?.actor.name).to.equal('Key of the test')
  })
})
