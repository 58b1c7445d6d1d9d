import { expect } from 'chai'
import { startApi, type TestApi } from '../support/api.ts'

describe('GET /v1/me', () => {
  let api: TestApi
  before(async () => {
    api = await startApi()
  })
  after(() => api.stop())

  it('returns 200 with the client, its scopes and the limits of its account', async () => {
    const client = await api.tenant(['read:events'])
    await api.command(client.tenant, { type: 'ChangeTenantSettings', limits: { webhooks: 7 } })
    const { status, body } = await api.call('GET', '/v1/me', { as: client })
    expect(status).to.equal(200)
    const { data } = body as { data: Record<string, unknown> }
    expect(data).to.deep.include({ kind: 'client', id: client.clientId, name: 'test', scopes: ['read:events'], retention_days: 30 })
    expect(data.tenant).to.deep.equal({ id: client.tenant, name: 'A tenant of the test' })
    expect(data.limits).to.deep.include({ webhooks: 7, requests_per_second: 1_000_000 })
  })
  it('returns 200 to a key, without the name of the account', async () => {
    const client = await api.tenant()
    const { id, key } = await api.key(client, ['read:webhooks'])
    const { body } = await api.call('GET', '/v1/me', { as: { key } })
    const { data } = body as { data: Record<string, unknown> }
    expect(data).to.deep.include({ kind: 'key', id, name: 'Key of the test', scopes: ['read:webhooks'] })
    expect(data.tenant).to.deep.equal({ id: client.tenant, name: null })
  })
})
