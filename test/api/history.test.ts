import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

interface Version {
  revision: number
  type: string
  time: string
  actor: { kind: string; id: string; name: string | null }
  correlation_id: string
  changes: Record<string, { from: unknown; to: unknown }>
}

describe('GET /v1/webhooks/:id/history and /v1/keys/:id/history', () => {
  let api: TestApi
  let auditor: TestClient
  before(async () => {
    api = await startApi()
    auditor = await api.tenant()
  })
  after(() => api.stop())
  const historyOf = async (path: string): Promise<Version[]> => {
    const answer = await api.call('GET', `${path}/history`, { as: auditor })
    expect(answer.status).to.equal(200)
    return (answer.body as { data: Version[] }).data
  }
  const url = 'https://127.0.0.1:9999/'

  it('200 tells every change of a webhook: when, by whom, from what to what', async () => {
    const id = await api.webhook(auditor, { callback_url: `${url}one`, event: 'order.created' })
    const path = `/v1/webhooks/${id}`
    await api.call('PATCH', path, { as: auditor, body: { callback_url: `${url}two`, is_active: false } })
    await api.call('PATCH', path, {
      as: auditor,
      body: { description: 'of the shop' },
      headers: { 'x-request-id': 'the-request-of-the-change' },
    })
    await api.call('PATCH', path, { as: auditor, body: { description: null } })
    const versions = await historyOf(path)
    expect(versions.map(({ revision, type, changes }) => ({ revision, type, changes }))).to.deep.equal([
      {
        revision: 0,
        type: 'WebhookCreated',
        changes: {
          callback_url: { from: null, to: `${url}one` },
          event: { from: null, to: 'order.created' },
          is_active: { from: null, to: true },
          secret: { from: null, to: '[sealed]' },
        },
      },
      { revision: 1, type: 'WebhookChanged', changes: { callback_url: { from: `${url}one`, to: `${url}two` } } },
      {
        revision: 2,
        type: 'WebhookDeactivated',
        changes: { is_active: { from: true, to: false }, deactivation_reason: { from: null, to: 'requested' } },
      },
      { revision: 3, type: 'WebhookChanged', changes: { description: { from: null, to: 'of the shop' } } },
      { revision: 4, type: 'WebhookChanged', changes: { description: { from: 'of the shop', to: null } } },
    ])
    expect(versions[3]?.correlation_id).to.equal('the-request-of-the-change')
    expect(versions[0]?.actor).to.include({ kind: 'client', id: auditor.clientId })
    expect(versions[0]?.actor.name).to.be.a('string')
    expect([...versions].sort((a, b) => (a.time < b.time ? -1 : 1)).map((v) => v.revision)).to.deep.equal([0, 1, 2, 3, 4])
  })
  it('200 names the key that did it, and shows deleted ones too', async () => {
    const credential = await api.key(auditor, ['read:webhooks', 'write:webhooks'])
    const id = await api.webhook({ key: credential.key })
    await api.call('DELETE', `/v1/webhooks/${id}`, { as: auditor })
    const versions = await historyOf(`/v1/webhooks/${id}`)
    expect(versions.map((v) => v.type)).to.deep.equal(['WebhookCreated', 'WebhookDeleted'])
    expect(versions[0]?.actor).to.include({ kind: 'key', id: credential.id })
    expect(versions[0]?.actor.name).to.be.a('string')
    expect(versions[0]?.changes.key_id).to.deep.equal({ from: null, to: credential.id })
    expect(versions[1]?.changes).to.deep.include({ deleted: { from: false, to: true } })
  })
  it('200 tells every change of a key, its value sealed', async () => {
    const { id } = await api.key(auditor, ['read:webhooks', 'write:webhooks'])
    await api.call('PATCH', `/v1/keys/${id}`, { as: auditor, body: { scopes: ['read:webhooks'] } })
    await api.call('DELETE', `/v1/keys/${id}`, { as: auditor })
    const versions = await historyOf(`/v1/keys/${id}`)
    expect(versions.map((v) => v.type)).to.deep.equal(['KeyCreated', 'KeyChanged', 'KeyDeleted'])
    expect(versions[0]?.changes.key).to.deep.equal({ from: null, to: '[sealed]' })
    expect(versions[1]?.changes).to.deep.equal({ scopes: { from: ['read:webhooks', 'write:webhooks'], to: ['read:webhooks'] } })
  })
  it('200 page by page', async () => {
    const id = await api.webhook(auditor)
    for (let i = 0; i < 4; i++) await api.call('PATCH', `/v1/webhooks/${id}`, { as: auditor, body: { description: `${i}` } })
    const seen: number[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const answer = await api.call('GET', `/v1/webhooks/${id}/history?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`, { as: auditor })
      const { data, pagination } = answer.body as { data: Version[]; pagination: { next_cursor: string | null } }
      seen.push(...data.map((v) => v.revision))
      cursor = pagination.next_cursor
    }
    expect(seen).to.deep.equal([0, 1, 2, 3, 4])
  })
  it('403 without read:audit', async () => {
    const id = await api.webhook(auditor)
    const reader = await api.sibling(auditor, ['read:webhooks', 'read:keys'])
    expect((await api.call('GET', `/v1/webhooks/${id}/history`, { as: reader })).status).to.equal(403)
  })
  it("404 for another tenant's, and for what never was", async () => {
    const stranger = await api.tenant()
    const id = await api.webhook(auditor)
    expect((await api.call('GET', `/v1/webhooks/${id}/history`, { as: stranger })).status).to.equal(404)
    expect((await api.call('GET', '/v1/keys/01ARZ3NDEKTSV4RRFFQ69G5FAV/history', { as: auditor })).status).to.equal(404)
  })
  it('422 for a cursor that no page gave', async () => {
    const id = await api.webhook(auditor)
    expect((await api.call('GET', `/v1/webhooks/${id}/history?cursor=x`, { as: auditor })).get('error.code')).to.equal('invalid_cursor')
  })

  describe('?as_of and ?revision on one of them', () => {
    let id: string
    let times: string[]
    before(async () => {
      id = await api.webhook(auditor, { callback_url: `${url}one`, event: 'order.*' })
      for (const path of ['two', 'three'])
        await api.call('PATCH', `/v1/webhooks/${id}`, { as: auditor, body: { callback_url: url + path } })
      await api.call('DELETE', `/v1/webhooks/${id}`, { as: auditor })
      times = (await historyOf(`/v1/webhooks/${id}`)).map((v) => v.time)
    })
    const at = (query: string, as = auditor) => api.call('GET', `/v1/webhooks/${id}?${query}`, { as })

    it('200 shows the webhook as it was at that revision, with its ETag', async () => {
      const answer = await at('revision=1')
      expect(answer.status).to.equal(200)
      expect(answer.get('callback_url')).to.equal(`${url}two`)
      expect(answer.headers.get('etag')).to.equal('"1"')
    })
    it('200 shows it as it was at that moment, whatever the offset of the time', async () => {
      const offset = new Date(Date.parse(times[1]!) + 7_200_000).toISOString().replace('Z', '%2B02:00')
      for (const time of [times[1]!, offset]) expect((await at(`as_of=${time}`)).get('callback_url'), time).to.match(/two|three/)
    })
    it('404 before it was created, after it was deleted, and for a revision that there never was', async () => {
      const before = new Date(Date.parse(times[0]!) - 1).toISOString()
      for (const query of [`as_of=${before}`, `as_of=${times[3]}`, 'as_of=2999-01-01T00:00:00Z', 'revision=3', 'revision=99'])
        expect((await at(query)).status, query).to.equal(404)
    })
    it('403 without read:audit, also for keys', async () => {
      expect((await at('revision=0', await api.sibling(auditor, ['read:webhooks']))).status).to.equal(403)
      const { key } = await api.key(auditor)
      expect((await api.call('GET', `/v1/webhooks/${id}?revision=0`, { as: { key } })).status).to.equal(403)
    })
    it("404 for another tenant's", async () => {
      expect((await at('revision=0', await api.tenant())).status).to.equal(404)
    })
    it('422 for both at once, and for what is no time or revision', async () => {
      for (const query of [`revision=0&as_of=${times[0]}`, 'as_of=yesterday', 'as_of=2026-02-30T00:00:00Z', 'revision=-1'])
        expect((await at(query)).status, query).to.equal(422)
    })
    it('200 shows a key as it was, its value masked as ever', async () => {
      const made = await api.key(auditor, ['read:webhooks', 'write:webhooks'])
      await api.call('PATCH', `/v1/keys/${made.id}`, { as: auditor, body: { name: 'another name' } })
      const answer = await api.call('GET', `/v1/keys/${made.id}?revision=0`, { as: auditor })
      expect(answer.get('data.name')).to.not.equal('another name')
      expect(answer.get('data.key')).to.equal(made.key)
    })
  })
})
