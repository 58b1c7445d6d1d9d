import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('POST /v1/keys', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const body = { name: 'Key 1', description: 'This is Key', scopes: ['read:webhooks', 'write:webhooks'] }

  it('returns 201 with the key in the envelope, its revision, and its location', async () => {
    const created = await api.call('POST', '/v1/keys', { as: admin, body })
    expect(created.status).to.equal(201)
    const id = created.get('data.id')
    expect(id).to.match(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
    expect(created.get('data.key')).to.match(/^[A-Z0-9]{12}$/)
    expect(created.get('data.created_at')).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    const { key, created_at } = { key: created.get('data.key'), created_at: created.get('data.created_at') }
    api.secrets.add(key)
    expect(created.body).to.deep.equal({
      data: { id, key, ...body, last_accessed_at: null, created_at, updated_at: created_at },
      error: null,
      pagination: null,
    })
    expect(created.headers.get('etag')).to.equal('"0"')
    expect(created.headers.get('location')).to.equal(`/v1/keys/${id}`)
    expect(created.headers.get('cache-control')).to.equal('no-store')
    expect(created.headers.get('projection-lag')).to.equal(null)
  })
  it('returns 201, and the key can be read and used at once', async () => {
    const { id, key } = await api.key(admin)
    expect((await api.call('GET', `/v1/keys/${id}`, { as: admin })).status).to.equal(200)
    expect((await api.call('GET', '/v1/webhooks', { as: { key } })).status).to.equal(200)
  })
  it('returns 201 with description null when none is given', async () => {
    const created = await api.call('POST', '/v1/keys', { as: admin, body: { name: 'x', scopes: ['read:webhooks'] } })
    expect(created.status).to.equal(201)
    expect(created.text).to.contain('"description":null')
  })
  it('returns 201 and keeps NUL, quotes, emoji and other scripts in names', async () => {
    const raw = '{"name":"a\\u0000\\"b\' ü 漢 \\ud83d\\ude00","scopes":["read:webhooks"]}'
    const created = await api.call('POST', '/v1/keys', { as: admin, raw })
    expect(created.get('data.name')).to.equal('a\u0000"b\' ü 漢 😀')
    const read = await api.call('GET', `/v1/keys/${created.get('data.id')}`, { as: admin })
    expect(read.get('data.name')).to.equal('a\u0000"b\' ü 漢 😀')
  })
  it('returns 422 for half of a surrogate pair in a name or description', async () => {
    const raw = '{"name":"a\\ud800","description":"\\udc00\\ud800","scopes":["read:webhooks"]}'
    const refused = await api.call('POST', '/v1/keys', { as: admin, raw })
    expect(refused.status).to.equal(422)
    const details: { path: string; message: string }[] = JSON.parse(refused.text).error.details
    expect(details.map(({ path }) => path).sort()).to.deep.equal(['description', 'name'])
    expect(details[0]?.message).to.contain('surrogate')
  })
  it('returns 201 with Projection-Lag when the read model is not up to date in time', async () => {
    const lagging = await startApi({ replace: () => ({ waiter: { waitFor: async () => false } }) })
    try {
      const created = await lagging.call('POST', '/v1/keys', { as: await lagging.tenant(), body })
      expect(created.status).to.equal(201)
      expect(created.headers.get('projection-lag')).to.equal('api_keys')
    } finally {
      await lagging.stop()
    }
  })

  describe('returns 422 with every faulty field, and stores nothing, for', () => {
    const faults: [string, unknown, object][] = [
      ['nothing given', {}, { name: 'is required', scopes: 'is required' }],
      ['a body that is not an object', [], { '': 'must be object' }],
      [
        'wrong types',
        { name: 1, description: 2, scopes: 'read:webhooks' },
        { name: 'must be string', description: 'must be string or null', scopes: 'must be array' },
      ],
      ['unknown fields', { ...body, key: 'XDHJEUU00110' }, { key: 'is not a known field' }],
      [
        'empty name and no scope',
        { name: '', scopes: [] },
        { name: 'must have at least 1 character', scopes: 'must have at least 1 item' },
      ],
      [
        'too long',
        { ...body, name: 'n'.repeat(256), description: 'd'.repeat(2001) },
        { name: 'must have at most 255 characters', description: 'must have at most 2000 characters' },
      ],
      [
        'scopes that keys cannot hold',
        { ...body, scopes: ['read:webhooks', 'write:events'] },
        { 'scopes.1': 'must be one of read:webhooks, write:webhooks' },
      ],
      ['a scope twice', { ...body, scopes: ['read:webhooks', 'read:webhooks'] }, { scopes: 'must not hold the same value twice' }],
    ]
    for (const [title, sent, expected] of faults)
      it(title, async () => {
        const before = await api.events()
        const refused = await api.call('POST', '/v1/keys', { as: admin, body: sent })
        expect(refused.status).to.equal(422)
        expect(refused.get('error.code')).to.equal('validation_failed')
        const details: { path: string; message: string }[] = JSON.parse(refused.text).error.details
        expect(Object.fromEntries(details.map(({ path, message }) => [path, message]))).to.deep.equal(expected)
        expect(await api.events()).to.equal(before)
      })
    it('a member named __proto__', async () => {
      const refused = await api.call('POST', '/v1/keys', { as: admin, raw: '{"name":"x","scopes":["read:webhooks"],"__proto__":{"a":1}}' })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.details.0.path')).to.equal('__proto__')
    })
  })
  it('returns 403 scope_exceeds_caller for a scope that the caller lacks', async () => {
    const lesser = await api.sibling(admin, ['write:keys', 'read:webhooks'])
    const before = await api.events()
    const refused = await api.call('POST', '/v1/keys', { as: lesser, body })
    expect(refused.status).to.equal(403)
    expect(refused.get('error.code')).to.equal('scope_exceeds_caller')
    expect(await api.events()).to.equal(before)
    const created = await api.call('POST', '/v1/keys', { as: lesser, body: { ...body, scopes: ['read:webhooks'] } })
    expect(created.status).to.equal(201)
  })
  it('returns 503 with Retry-After when the store fails, without naming the engine', async () => {
    const { StoreUnavailable } = await import('../../src/ports/event-store.ts')
    const broken = await startApi({
      replace: ({ streams }) => ({
        streams: {
          read: streams.read,
          append: async (...args) => {
            if (args[0].startsWith('key-')) throw new StoreUnavailable('connect ECONNREFUSED 10.0.0.1:5432')
            return streams.append(...args)
          },
        },
      }),
    })
    try {
      const refused = await broken.call('POST', '/v1/keys', { as: await broken.tenant(), body })
      expect(refused.status).to.equal(503)
      expect(refused.get('error.code')).to.equal('store_unavailable')
      expect(refused.headers.get('retry-after')).to.equal('1')
      expect(refused.text).to.not.contain('10.0.0.1')
    } finally {
      await broken.stop()
    }
  })
})
