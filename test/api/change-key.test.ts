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
    const made = await api.call('POST', '/v1/keys', {
      as: admin,
      body: { name: 'Key 1', description: 'This is Key', scopes: ['read:webhooks', 'write:webhooks'] },
    })
    api.secrets.add(made.get('data.key'))
    return made
  }

  it('200 changes what is given, keeps the rest, and is read at once', async () => {
    const made = await make()
    const path = `/v1/keys/${made.get('data.id')}`
    const changed = await api.call('PATCH', path, { as: admin, body: { name: 'Key 2' } })
    expect(changed.status).to.equal(200)
    expect(changed.headers.get('etag')).to.equal('"1"')
    expect(changed.get('data.name')).to.equal('Key 2')
    expect(changed.get('data.description')).to.equal('This is Key')
    expect(changed.get('data.key')).to.equal(made.get('data.key'))
    expect(changed.get('data.updated_at') >= made.get('data.updated_at')).to.equal(true)
    expect(changed.get('data.created_at')).to.equal(made.get('data.created_at'))
    expect((await api.call('GET', path, { as: admin })).body).to.deep.equal(changed.body)
  })
  it('200 clears the description by null', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const changed = await api.call('PATCH', path, { as: admin, body: { description: null } })
    expect(changed.text).to.contain('"description":null')
    expect((await api.call('GET', path, { as: admin })).text).to.contain('"description":null')
  })
  it('200 unchanged for {} and for what is so already: no event, the same revision', async () => {
    const made = await make()
    const before = await api.events()
    for (const body of [{}, { name: 'Key 1', scopes: ['write:webhooks', 'read:webhooks'] }]) {
      const same = await api.call('PATCH', `/v1/keys/${made.get('data.id')}`, { as: admin, body })
      expect(same.status).to.equal(200)
      expect(same.body).to.deep.equal(made.body)
      expect(same.headers.get('etag')).to.equal('"0"')
    }
    expect(await api.events()).to.equal(before)
  })
  it('200 takes scopes from the key: a token-holder sees it within a second', async () => {
    const made = await make()
    const key = { key: made.get('data.key') }
    expect((await api.call('POST', '/v1/webhooks', { as: key, body: {} })).status).to.equal(422)
    await api.call('PATCH', `/v1/keys/${made.get('data.id')}`, { as: admin, body: { scopes: ['read:webhooks'] } })
    await waitFor(async () => (await api.call('POST', '/v1/webhooks', { as: key, body: {} })).status === 403, { within: 3_000 })
  })
  it('200 shows when the key was used last, as reading it does', async () => {
    const made = await make()
    const path = `/v1/keys/${made.get('data.id')}`
    await api.call('GET', '/v1/webhooks', { as: { key: made.get('data.key') } })
    const { waitFor } = await import('../support/wait-for.ts')
    await waitFor(async () => !(await api.call('GET', path, { as: admin })).text.includes('"last_accessed_at":null'))
    expect((await api.call('PATCH', path, { as: admin, body: { name: 'Used' } })).get('data.last_accessed_at')).to.match(/Z$/)
  })
  it('412 when If-Match names another revision, also for a change that changes nothing', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    for (const header of ['"1"', 'W/"0"', '"abc"', '"7", "8"'])
      for (const body of [{ name: 'Other' }, {}]) {
        const refused = await api.call('PATCH', path, { as: admin, body, headers: { 'if-match': header } })
        expect(refused.status, header).to.equal(412)
        expect(refused.get('error.code')).to.equal('precondition_failed')
      }
    expect((await api.call('GET', path, { as: admin })).get('data.name')).to.equal('Key 1')
  })
  it('200 when If-Match names the revision, in a list too, or is *', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    for (const [header, name] of [
      ['"0"', 'a'],
      ['"9", "1"', 'b'],
      ['*', 'c'],
    ] as const)
      expect((await api.call('PATCH', path, { as: admin, body: { name }, headers: { 'if-match': header } })).status).to.equal(200)
  })
  it('400 when If-Match is no ETag', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const refused = await api.call('PATCH', path, { as: admin, body: {}, headers: { 'if-match': '0' } })
    expect(refused.status).to.equal(400)
  })
  it('200 for all of many changes at once, and every one of them counts', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const changes = await Promise.all(
      Array.from({ length: 3 }, (_, i) => api.call('PATCH', path, { as: admin, body: { name: `Key at once ${i}` } })),
    )
    expect(changes.map((reply) => reply.status)).to.deep.equal([200, 200, 200])
    expect((await api.call('GET', path, { as: admin })).headers.get('etag')).to.equal('"3"')
  })
  it('422 names every faulty field, and stores nothing', async () => {
    const path = `/v1/keys/${(await make()).get('data.id')}`
    const before = await api.events()
    const refused = await api.call('PATCH', path, { as: admin, body: { name: null, scopes: ['admin'], id: 'x', key: 'AAAABBBBCCCC' } })
    expect(refused.status).to.equal(422)
    const details: { path: string }[] = JSON.parse(refused.text).error.details
    expect(details.map((detail) => detail.path).sort()).to.deep.equal(['id', 'key', 'name', 'scopes.0'])
    expect(await api.events()).to.equal(before)
  })
  it('403 scope_exceeds_caller: no key gets what who changes it lacks', async () => {
    const made = await api.key(admin, ['read:webhooks'])
    const lesser = await api.sibling(admin, ['write:keys', 'read:webhooks'])
    const refused = await api.call('PATCH', `/v1/keys/${made.id}`, { as: lesser, body: { scopes: ['read:webhooks', 'write:webhooks'] } })
    expect(refused.status).to.equal(403)
    expect(refused.get('error.code')).to.equal('scope_exceeds_caller')
  })
  it('404 for what does not exist, is deleted, or is no id', async () => {
    const { id } = await api.key(admin)
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    for (const missing of [id, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x'])
      expect((await api.call('PATCH', `/v1/keys/${missing}`, { as: admin, body: { name: 'x' } })).status).to.equal(404)
  })
})
