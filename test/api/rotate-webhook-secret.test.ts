import { expect } from 'chai'
import type { WebhookId } from '../../src/events/ids.ts'
import { findWebhook } from '../../src/projections/webhooks.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Call } from '../support/api-client.ts'

describe('POST /v1/webhooks/:id/secret/rotate', () => {
  let api: TestApi
  let admin: TestClient
  const now = Date.parse('2026-03-31T00:00:00.000Z')
  before(async () => {
    api = await startApi({ replace: () => ({ now: () => now }) })
    admin = await api.tenant()
  })
  after(() => api.stop())
  const rotate = async (id: string, call: Call = {}) => {
    const response = await api.call('POST', `/v1/webhooks/${id}/secret/rotate`, { as: admin, ...call })
    if (response.status === 200) api.secrets.add(response.get('secret'))
    return response
  }
  const secretsOf = async (id: string) => {
    const row = await findWebhook(api.deps, { tenant: admin.tenant }, id as WebhookId)
    return [row?.secret, row?.previous_secret, row?.previous_secret_until]
  }
  const givenSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo='

  it('returns 200 with the webhook and its new secret, which is shown only now; the former one lasts a day', async () => {
    const id = await api.webhook(admin)
    const [former] = await secretsOf(id)
    const response = await rotate(id)
    expect(response.status).to.equal(200)
    expect(response.headers.get('cache-control')).to.equal('no-store')
    expect(response.headers.get('etag')).to.equal('"1"')
    expect(response.get('id')).to.equal(id)
    expect(response.get('secret'))
      .to.match(/^whsec_[A-Za-z0-9+/]{43}=$/)
      .and.not.equal(former)
    expect(response.get('previous_secret_until')).to.equal('2026-04-01T00:00:00.000Z')
    expect(await secretsOf(id)).to.deep.equal([response.get('secret'), former, '2026-04-01T00:00:00.000Z'])
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: admin })).has('secret')).to.equal(false)
  })
  it('returns 200 with the requested overlap, and without any overlap for 0', async () => {
    const id = await api.webhook(admin)
    expect((await rotate(id, { body: { overlap_seconds: 60 } })).get('previous_secret_until')).to.equal('2026-03-31T00:01:00.000Z')
    expect((await rotate(id, { body: { overlap_seconds: 604_800 } })).get('previous_secret_until')).to.equal('2026-04-07T00:00:00.000Z')
    const none = await rotate(id, { body: { overlap_seconds: 0 } })
    expect((none.body as { previous_secret_until: unknown }).previous_secret_until).to.equal(null)
    expect(await secretsOf(id)).to.deep.equal([none.get('secret'), null, null])
  })
  it('returns 200 and keeps at most two secrets: a second rotation ends the first secret', async () => {
    const id = await api.webhook(admin)
    const first = await rotate(id)
    const second = await rotate(id)
    expect((await secretsOf(id)).slice(0, 2)).to.deep.equal([second.get('secret'), first.get('secret')])
  })
  it('returns 200 with the secret of the request', async () => {
    const id = await api.webhook(admin)
    expect((await rotate(id, { body: { secret: givenSecret } })).get('secret')).to.equal(givenSecret)
  })
  it('returns 200 to the key that created the webhook, and 404 to another key, another tenant, and for an unknown id', async () => {
    const key = await api.key(admin)
    const id = await api.webhook(key)
    expect((await rotate(id, { as: await api.key(admin) })).status).to.equal(404)
    expect((await rotate(id, { as: await api.tenant() })).status).to.equal(404)
    expect((await rotate('01ARZ3NDEKTSV4RRFFQ69G5FAV')).status).to.equal(404)
    expect((await rotate(id, { as: key })).status).to.equal(200)
  })
  it('returns 412 when If-Match names another revision, and keeps the secret', async () => {
    const id = await api.webhook(admin)
    const before = await secretsOf(id)
    const refused = await rotate(id, { headers: { 'if-match': '"7"' } })
    expect([refused.status, refused.get('error.code')]).to.deep.equal([412, 'precondition_failed'])
    expect(await secretsOf(id)).to.deep.equal(before)
    expect((await rotate(id, { headers: { 'if-match': '"0"' } })).status).to.equal(200)
  })
  it('returns 415 for a body that is not JSON', async () => {
    const id = await api.webhook(admin)
    expect((await rotate(id, { raw: 'overlap_seconds=1', headers: { 'content-type': 'text/plain' } })).status).to.equal(415)
  })
  it('returns 422 for an overlap out of range, an invalid secret, and unknown fields', async () => {
    const id = await api.webhook(admin)
    for (const body of [
      { overlap_seconds: -1 },
      { overlap_seconds: 604_801 },
      { overlap_seconds: 1.5 },
      { overlap_seconds: '60' },
      { secret: 'whsec_short' },
      { overlap: 1 },
      [],
    ])
      expect((await rotate(id, { body })).status, JSON.stringify(body)).to.equal(422)
    expect((await secretsOf(id))[1]).to.equal(null)
  })
})
