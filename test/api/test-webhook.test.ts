import { expect } from 'chai'
import { bodyAad } from '../../src/events/sealed-fields.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Credential } from '../support/api-client.ts'

describe('POST /v1/webhooks/:id/test', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const test = (id: string, as: Credential = admin) => api.call('POST', `/v1/webhooks/${id}/test`, { as })

  it('returns 202 and sends kolbak.test to this webhook alone', async () => {
    const id = await api.webhook(admin)
    const response = await test(id)
    expect(response.status).to.equal(202)
    const record = api.produced.at(-1)?.record
    const message = record?.messages[0]
    if (record === undefined || message === undefined) throw new Error('nothing was produced')
    expect(response.body).to.deep.equal({
      data: { id: message.id, message: 'Event accepted for processing.' },
      error: null,
      pagination: null,
    })
    expect([record.tenant, record.target, message.event, message.source]).to.deep.equal([admin.tenant, id, 'kolbak.test', 'kolbak'])
    const vault = await api.deps.keyring.vault(admin.tenant)
    const body = JSON.parse(vault.open(bodyAad(admin.tenant, message.id), message.sealedBody).toString())
    expect(body.payload).to.deep.equal({ webhook_id: id, message: 'This is a test.' })
    expect(body.id).to.equal(message.id)
  })
  it('returns 202 to the key that created the webhook, and 404 to another key, another tenant, and for an unknown id', async () => {
    const key = await api.key(admin)
    const id = await api.webhook(key)
    const before = api.produced.length
    expect((await test(id, await api.key(admin))).status).to.equal(404)
    expect((await test(id, await api.tenant())).status).to.equal(404)
    expect((await test('01ARZ3NDEKTSV4RRFFQ69G5FAV')).status).to.equal(404)
    expect(api.produced.length).to.equal(before)
    expect((await test(id, key)).status).to.equal(202)
  })
  it('returns 409 webhook_inactive for an inactive webhook, and sends nothing', async () => {
    const id = await api.webhook(admin, { is_active: false })
    const before = api.produced.length
    const refused = await test(id)
    expect([refused.status, refused.get('error.code')]).to.deep.equal([409, 'webhook_inactive'])
    expect(api.produced.length).to.equal(before)
  })
})
