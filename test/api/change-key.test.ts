import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('PATCH /v1/keys/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const make = async () => {
    const created = await api.call('POST', '/v1/keys', {
      as: admin,
      body: { name: 'Key 1', description: 'This is Key', scopes: ['read:webhooks', 'write:webhooks'] },
    })
    api.secrets.add(created.get('data.key'))
    return created
  }

  it('returns 200, changes the given fields, keeps the others, and is visible at once', async () => {
    const created = await make()
    const path = `/v1/keys/${created.get('data.id')}`
    const changed = await api.call('PATCH', path, { as: admin, body: { name: 'Key 2' } })
    expect(changed.status).to.equal(200)
    expect(changed.headers.get('etag')).to.equal('"1"')
    expect(changed.get('data.name')).to.equal('Key 2')
    expect(changed.get('data.description')).to.equal('This is Key')
    expect(changed.get('data.key')).to.equal(created.get('data.key'))
    expect(changed.get('data.updated_at') >= created.get('data.updated_at')).to.equal(true)
    expect(changed.get('data.created_at')).to.equal(created.get('data.created_at'))
    expect((await api.call('GET', path, { as: admin })).body).to.deep.equal(changed.body)
  })
  it('returns 200 and clears the description when it is null', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const changed = await api.call('PATCH', path, { as: admin, body: { description: null } })
    expect(changed.text).to.contain('"description":null')
    expect((await api.call('GET', path, { as: admin })).text).to.contain('"description":null')
  })
  it('returns 200 for {} and for equal values, without an event and at the same revision', async () => {
    const created = await make()
    const before = await api.events()
    for (const body of [{}, { name: 'Key 1', scopes: ['write:webhooks', 'read:webhooks'] }]) {
      const unchanged = await api.call('PATCH', `/v1/keys/${created.get('data.id')}`, { as: admin, body })
      expect(unchanged.status).to.equal(200)
      expect(unchanged.body).to.deep.equal(created.body)
      expect(unchanged.headers.get('etag')).to.equal('"0"')
    }
    expect(await api.events()).to.equal(before)
  })
  it('returns 200 and removes scopes from the key, which takes effect within a second', async () => {
    const created = await make()
    const key = { key: created.get('data.key') }
    expect((await api.call('POST', '/v1/webhooks', { as: key, body: {} })).status).to.equal(422)
    await api.call('PATCH', `/v1/keys/${created.get('data.id')}`, { as: admin, body: { scopes: ['read:webhooks'] } })
    await waitFor(async () => (await api.call('POST', '/v1/webhooks', { as: key, body: {} })).status === 403, { within: 3_000 })
  })
  it('returns 200 with the time of the last use, like GET', async () => {
    const created = await make()
    const path = `/v1/keys/${created.get('data.id')}`
    await api.call('GET', '/v1/webhooks', { as: { key: created.get('data.key') } })
    const { waitFor } = await import('../support/wait-for.ts')
    await waitFor(async () => !(await api.call('GET', path, { as: admin })).text.includes('"last_accessed_at":null'))
    expect((await api.call('PATCH', path, { as: admin, body: { name: 'Used' } })).get('data.last_accessed_at')).to.match(/Z$/)
  })
  it('returns 412 when If-Match names another revision, even if the change would change nothing', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    for (const header of ['"1"', 'W/"0"', '"abc"', '"7", "8"'])
      for (const body of [{ name: 'Other' }, {}]) {
        const refused = await api.call('PATCH', path, { as: admin, body, headers: { 'if-match': header } })
        expect(refused.status, header).to.equal(412)
        expect(refused.get('error.code')).to.equal('precondition_failed')
      }
    expect((await api.call('GET', path, { as: admin })).get('data.name')).to.equal('Key 1')
  })
  it('returns 200 when If-Match names the revision, lists it among others, or is *', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    for (const [header, name] of [
      ['"0"', 'a'],
      ['"9", "1"', 'b'],
      ['*', 'c'],
    ] as const)
      expect((await api.call('PATCH', path, { as: admin, body: { name }, headers: { 'if-match': header } })).status).to.equal(200)
  })
  it('returns 400 when If-Match is not an ETag', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const refused = await api.call('PATCH', path, { as: admin, body: {}, headers: { 'if-match': '0' } })
    expect(refused.status).to.equal(400)
  })
  it('returns 200 for many concurrent changes, and stores each of them', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const changes = await Promise.all(
      Array.from({ length: 3 }, (_, i) => api.call('PATCH', path, { as: admin, body: { name: `Key at once ${i}` } })),
    )
    expect(changes.map((reply) => reply.status)).to.deep.equal([200, 200, 200])
    expect((await api.call('GET', path, { as: admin })).headers.get('etag')).to.equal('"3"')
  })
  it('returns 422 with every faulty field, and stores nothing', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const before = await api.events()
    const refused = await api.call('PATCH', path, { as: admin, body: { name: null, scopes: ['admin'], id: 'x', key: 'AAAABBBBCCCC' } })
    expect(refused.status).to.equal(422)
    const details: { path: string }[] = JSON.parse(refused.text).error.details
    expect(details.map((detail) => detail.path).sort()).to.deep.equal(['id', 'key', 'name', 'scopes.0'])
    expect(await api.events()).to.equal(before)
  })
  it('returns 403 scope_exceeds_caller for a scope that the caller lacks', async () => {
    const created = await api.key(admin, ['read:webhooks'])
    const lesser = await api.sibling(admin, ['write:keys', 'read:webhooks'])
    const refused = await api.call('PATCH', `/v1/keys/${created.id}`, { as: lesser, body: { scopes: ['read:webhooks', 'write:webhooks'] } })
    expect(refused.status).to.equal(403)
    expect(refused.get('error.code')).to.equal('scope_exceeds_caller')
  })
  it('returns 404 for an unknown id, a deleted key, and a text that is not an id', async () => {
    const { id } = await api.key(admin)
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    for (const missing of [id, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x'])
      expect((await api.call('PATCH', `/v1/keys/${missing}`, { as: admin, body: { name: 'x' } })).status).to.equal(404)
  })
})
