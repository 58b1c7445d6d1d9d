import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

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
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const historyOf = async (path: string): Promise<Version[]> => {
    const response = await api.call('GET', `${path}/history`, { as: admin })
    expect(response.status).to.equal(200)
    return (response.body as { data: Version[] }).data
  }
  const url = 'https://127.0.0.1:9999/'

  it('returns 200 with every change of a webhook: its time, its author, and the former and new values', async () => {
    const id = await api.webhook(admin, { callback_url: `${url}one`, event: 'order.created' })
    const path = `/v1/webhooks/${id}`
    await api.call('PATCH', path, { as: admin, body: { callback_url: `${url}two`, is_active: false } })
    await api.call('PATCH', path, {
      as: admin,
      body: { description: 'of the shop' },
      headers: { 'x-request-id': 'the-request-of-the-change' },
    })
    await api.call('PATCH', path, { as: admin, body: { description: null } })
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
    expect(versions[0]?.actor).to.include({ kind: 'client', id: admin.clientId })
    expect(versions[0]?.actor.name).to.be.a('string')
    expect([...versions].sort((a, b) => (a.time < b.time ? -1 : 1)).map((v) => v.revision)).to.deep.equal([0, 1, 2, 3, 4])
  })
  it('returns 200 with the key that made the change, and also for deleted webhooks', async () => {
    const credential = await api.key(admin, ['read:webhooks', 'write:webhooks'])
    const id = await api.webhook({ key: credential.key })
    await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })
    const versions = await historyOf(`/v1/webhooks/${id}`)
    expect(versions.map((v) => v.type)).to.deep.equal(['WebhookCreated', 'WebhookDeleted'])
    expect(versions[0]?.actor).to.include({ kind: 'key', id: credential.id })
    expect(versions[0]?.actor.name).to.be.a('string')
    expect(versions[0]?.changes.key_id).to.deep.equal({ from: null, to: credential.id })
    expect(versions[1]?.changes).to.deep.include({ deleted: { from: false, to: true } })
  })
  it('returns 200 with every change of a key, its value masked', async () => {
    const { id } = await api.key(admin, ['read:webhooks', 'write:webhooks'])
    await api.call('PATCH', `/v1/keys/${id}`, { as: admin, body: { scopes: ['read:webhooks'] } })
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    const versions = await historyOf(`/v1/keys/${id}`)
    expect(versions.map((v) => v.type)).to.deep.equal(['KeyCreated', 'KeyChanged', 'KeyDeleted'])
    expect(versions[0]?.changes.key).to.deep.equal({ from: null, to: '[sealed]' })
    expect(versions[1]?.changes).to.deep.equal({ scopes: { from: ['read:webhooks', 'write:webhooks'], to: ['read:webhooks'] } })
  })
  it('returns 200 with pages that contain each change once', async () => {
    const id = await api.webhook(admin)
    for (let i = 0; i < 4; i++) await api.call('PATCH', `/v1/webhooks/${id}`, { as: admin, body: { description: `${i}` } })
    const seen: number[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const response = await api.call('GET', `/v1/webhooks/${id}/history?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`, {
        as: admin,
      })
      const { data, pagination } = response.body as { data: Version[]; pagination: { next_cursor: string | null } }
      seen.push(...data.map((v) => v.revision))
      cursor = pagination.next_cursor
    }
    expect(seen).to.deep.equal([0, 1, 2, 3, 4])
  })
  it('returns 403 without read:audit', async () => {
    const id = await api.webhook(admin)
    const reader = await api.sibling(admin, ['read:webhooks', 'read:keys'])
    expect((await api.call('GET', `/v1/webhooks/${id}/history`, { as: reader })).status).to.equal(403)
  })
  it('returns 404 for a webhook of another tenant, and for an unknown id', async () => {
    const stranger = await api.tenant()
    const id = await api.webhook(admin)
    expect((await api.call('GET', `/v1/webhooks/${id}/history`, { as: stranger })).status).to.equal(404)
    expect((await api.call('GET', '/v1/keys/01ARZ3NDEKTSV4RRFFQ69G5FAV/history', { as: admin })).status).to.equal(404)
  })
  it('returns 422 for a cursor that is not the next_cursor of a page', async () => {
    const id = await api.webhook(admin)
    expect((await api.call('GET', `/v1/webhooks/${id}/history?cursor=x`, { as: admin })).get('error.code')).to.equal('invalid_cursor')
  })

  describe('?as_of and ?revision of a single resource', () => {
    let id: string
    let times: string[]
    before(async () => {
      id = await api.webhook(admin, { callback_url: `${url}one`, event: 'order.*' })
      for (const path of ['two', 'three']) await api.call('PATCH', `/v1/webhooks/${id}`, { as: admin, body: { callback_url: url + path } })
      await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })
      times = (await historyOf(`/v1/webhooks/${id}`)).map((v) => v.time)
    })
    const at = (query: string, as = admin) => api.call('GET', `/v1/webhooks/${id}?${query}`, { as })

    it('return 200 with the webhook at that revision, with its ETag', async () => {
      const response = await at('revision=1')
      expect(response.status).to.equal(200)
      expect(response.get('callback_url')).to.equal(`${url}two`)
      expect(response.headers.get('etag')).to.equal('"1"')
    })
    it('return 200 with the webhook at that time, for any offset of the time', async () => {
      const offset = new Date(Date.parse(times[1]!) + 7_200_000).toISOString().replace('Z', '%2B02:00')
      for (const time of [times[1]!, offset]) expect((await at(`as_of=${time}`)).get('callback_url'), time).to.match(/two|three/)
    })
    it('return 404 before the creation, after the deletion, and for an unknown revision', async () => {
      const before = new Date(Date.parse(times[0]!) - 1).toISOString()
      for (const query of [`as_of=${before}`, `as_of=${times[3]}`, `as_of=${new Date().toISOString()}`, 'revision=3', 'revision=99'])
        expect((await at(query)).status, query).to.equal(404)
    })
    it('return 403 without read:audit, also to an API key', async () => {
      expect((await at('revision=0', await api.sibling(admin, ['read:webhooks']))).status).to.equal(403)
      const { key } = await api.key(admin)
      expect((await api.call('GET', `/v1/webhooks/${id}?revision=0`, { as: { key } })).status).to.equal(403)
    })
    it('return 404 for a webhook of another tenant', async () => {
      expect((await at('revision=0', await api.tenant())).status).to.equal(404)
    })
    it('return 422 for both at once, and for an invalid time or revision', async () => {
      for (const query of [`revision=0&as_of=${times[0]}`, 'as_of=yesterday', 'as_of=2026-02-30T00:00:00Z', 'revision=-1'])
        expect((await at(query)).status, query).to.equal(422)
    })
    it('return 200 with a key as it was, and with its value if the caller has all scopes of the key', async () => {
      const created = await api.key(admin, ['read:webhooks', 'write:webhooks'])
      await api.call('PATCH', `/v1/keys/${created.id}`, { as: admin, body: { name: 'another name' } })
      const response = await api.call('GET', `/v1/keys/${created.id}?revision=0`, { as: admin })
      expect(response.get('data.name')).to.not.equal('another name')
      expect(response.get('data.key')).to.equal(created.key)
    })
  })

  describe('?as_of of the lists', () => {
    const listed = async (path: string, as = admin) => {
      const response = await api.call('GET', path, { as })
      expect(response.status).to.equal(200)
      return response.body as { data: Record<string, unknown>[]; pagination: { total: number } }
    }
    /** Waits until the projection of versions has all events of a resource, and returns their times. */
    const timesOf = async (path: string, table: string, id: string, versions: number) => {
      await waitFor(async () => (await api.db.pool.query(`select from ${table} where id = $1`, [id])).rowCount === versions)
      return (await historyOf(path)).map((v) => v.time)
    }

    it('returns 200 with the webhooks that were active at a time, and their URLs', async () => {
      const as = await api.tenant()
      const first = await api.webhook(as, { callback_url: `${url}first`, event: 'order.*' })
      await api.call('PATCH', `/v1/webhooks/${first}`, { as, body: { callback_url: `${url}moved` } })
      await api.call('PATCH', `/v1/webhooks/${first}`, { as, body: { is_active: false } })
      const second = await api.webhook(as, { callback_url: `${url}second`, event: 'invoice.*' })
      await api.call('DELETE', `/v1/webhooks/${first}`, { as })
      await waitFor(
        async () =>
          (await api.db.pool.query('select from webhook_versions where tenant = $1 and until is null', [as.tenant])).rowCount === 1,
      )
      const { rows } = await api.db.pool.query<{ updated_at: string }>(
        'select updated_at from webhook_versions where tenant = $1 order by updated_at',
        [as.tenant],
      )
      const [createdAt, movedAt, deactivatedAt, otherCreatedAt] = rows.map((row) => row.updated_at)
      const urls = async (moment: string, parameters = '') =>
        (await listed(`/v1/webhooks?as_of=${moment}${parameters}`, as)).data.map((w) => w.callback_url)
      expect(await urls(new Date(Date.parse(createdAt!) - 1).toISOString())).to.deep.equal([])
      if (createdAt !== movedAt) expect(await urls(createdAt!)).to.deep.equal([`${url}first`])
      if (movedAt !== deactivatedAt) expect(await urls(movedAt!, '&is_active=true')).to.deep.equal([`${url}moved`])
      if (deactivatedAt !== otherCreatedAt) expect(await urls(deactivatedAt!, '&is_active=true')).to.deep.equal([])
      expect(await urls(otherCreatedAt!)).to.include(`${url}second`)
      expect(await urls(new Date().toISOString())).to.deep.equal([`${url}second`])
      expect(await urls(new Date().toISOString(), '&events=order.*')).to.deep.equal([])
      expect(await urls(new Date().toISOString(), `&ids=${second}`)).to.deep.equal([`${url}second`])
      expect((await listed(`/v1/webhooks?as_of=${new Date().toISOString()}&limit=1&offset=5`, as)).pagination.total).to.equal(1)
    })
    it('returns 200 with a change that was made just before', async () => {
      const as = await api.tenant()
      for (let total = 1; total <= 10; total++) {
        await api.webhook(as)
        await api.key(as)
        const moment = new Date().toISOString()
        expect((await listed(`/v1/webhooks?as_of=${moment}`, as)).pagination.total).to.equal(total)
        expect((await listed(`/v1/keys?as_of=${moment}`, as)).pagination.total).to.equal(total)
      }
    })
    it('returns 403 without read:audit, and names the missing scope', async () => {
      const reader = await api.sibling(admin, ['read:webhooks', 'read:keys'])
      for (const path of ['/v1/webhooks', '/v1/keys']) {
        const refused = await api.call('GET', `${path}?as_of=${new Date().toISOString()}`, { as: reader })
        expect([refused.status, refused.get('error.code')]).to.deep.equal([403, 'insufficient_scope'])
        expect(refused.headers.get('www-authenticate')).to.contain('scope="read:audit"')
      }
    })
    it('returns 200 with a webhook as GET /v1/webhooks/:id returns it for the same time, after each change', async () => {
      const id = await api.webhook(admin)
      for (const body of [
        { event: 'a.*' },
        { description: 'x' },
        { is_active: false },
        { retry_delays: [5, 6] },
        { is_active: true },
        { description: null },
      ])
        await api.call('PATCH', `/v1/webhooks/${id}`, { as: admin, body })
      for (const time of await timesOf(`/v1/webhooks/${id}`, 'webhook_versions', id, 7)) {
        const single = await api.call('GET', `/v1/webhooks/${id}?as_of=${time}`, { as: admin })
        const { data } = await listed(`/v1/webhooks?as_of=${time}&ids=${id}`)
        expect(data, time).to.deep.equal([single.body])
      }
    })
    it('returns 200 with keys as they were', async () => {
      const created = await api.key(admin)
      await api.call('PATCH', `/v1/keys/${created.id}`, { as: admin, body: { name: 'renamed' } })
      const times = await timesOf(`/v1/keys/${created.id}`, 'key_versions', created.id, 2)
      const names = async (time: string) =>
        (await listed(`/v1/keys?as_of=${time}&limit=100`)).data.filter((k) => k.id === created.id).map((k) => k.name)
      expect(await names(times[1]!)).to.deep.equal(['renamed'])
      expect(await names(new Date(Date.parse(times[0]!) - 1).toISOString())).to.deep.equal([])
    })
    it('returns 403 without read:audit, nothing of another tenant, and 422 for an invalid time', async () => {
      const now = new Date().toISOString()
      const reader = await api.sibling(admin, ['read:webhooks', 'read:keys'])
      for (const list of ['/v1/webhooks', '/v1/keys']) {
        expect((await api.call('GET', `${list}?as_of=${now}`, { as: reader })).status).to.equal(403)
        expect((await listed(`${list}?as_of=${now}`, await api.tenant())).data).to.deep.equal([])
        expect((await api.call('GET', `${list}?as_of=then`, { as: admin })).status).to.equal(422)
      }
    })
  })
})
