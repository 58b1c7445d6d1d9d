import { expect } from 'chai'
import { ulid } from 'ulid'
import type { Route } from '../../src/api/route.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('the routes that read, with `as_of`,', () => {
  let api: TestApi
  let auditor: TestClient
  let readers: readonly Route[]
  /** The values of the ids in paths. */
  let ids: Readonly<Record<string, string>>
  /** A moment before the last changes. */
  let moment: string
  before(async () => {
    api = await startApi()
    auditor = await api.tenant()
    readers = api.api.routes.filter(({ method, credentials }) => method === 'GET' && ['bearer', 'bearer-or-key'].includes(credentials))
    const key = await api.key(auditor)
    const webhook = await api.webhook(auditor)
    ids = { '/v1/webhooks': webhook, '/v1/keys': key.id }
    moment = new Date().toISOString()
    await waitFor(() => new Date().toISOString() > moment)
    await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: auditor, body: { description: 'new' } })
    await api.call('PATCH', `/v1/keys/${key.id}`, { as: auditor, body: { name: 'new' } })
  })
  after(() => api.stop())
  const pathOf = ({ path }: Route) => path.replace(':id', ids[path.split('/:')[0]!] ?? ulid()).replace(/:\w+/, ulid())

  it('return the past state, or refuse it with 422', async () => {
    expect(readers.length).to.be.greaterThan(15)
    const pathsWithPast: string[] = []
    for (const route of readers) {
      const past = await api.call('GET', `${pathOf(route)}?as_of=${moment}`, { as: auditor })
      const hasPast = Object.hasOwn(route.query?.properties ?? {}, 'as_of')
      if (!hasPast && past.status === 403) continue // an operator's route
      expect(past.status, route.path).to.equal(hasPast ? 200 : 422)
      if (hasPast) {
        pathsWithPast.push(route.path)
        const present = await api.call('GET', pathOf(route), { as: auditor })
        expect(JSON.stringify(present.body), route.path).to.include('new')
        expect(JSON.stringify(past.body), route.path).to.not.include('"new"')
      } else {
        const { details } = (past.body as { error: { details: { path: string }[] } }).error
        expect(
          details.map(({ path }) => path),
          route.path,
        ).to.include('as_of')
      }
    }
    expect(pathsWithPast.sort()).to.deep.equal(['/v1/keys', '/v1/keys/:id', '/v1/webhooks', '/v1/webhooks/:id'])
  })
  it('refuse any other unknown parameter too, and name it', async () => {
    for (const route of readers) {
      const { status, body } = await api.call('GET', `${pathOf(route)}?asof=${moment}`, { as: auditor })
      if (status !== 403) expect(`${route.path} ${status} ${JSON.stringify(body)}`).to.match(/ 422 .*"asof".*is not a known field/)
    }
  })
  it('name the key that made a change as it was called then', async () => {
    const credential = await api.key(auditor, ['read:webhooks', 'write:webhooks'])
    const webhook = await api.webhook({ key: credential.key })
    const created = new Date().toISOString()
    await waitFor(() => new Date().toISOString() > created)
    await api.call('PATCH', `/v1/keys/${credential.id}`, { as: auditor, body: { name: 'new' } })
    const { body } = await api.call('GET', `/v1/webhooks/${webhook}/history`, { as: auditor })
    expect((body as { data: { actor: { name: string } }[] }).data[0]?.actor.name).to.equal('Key of the test')
  })
})
