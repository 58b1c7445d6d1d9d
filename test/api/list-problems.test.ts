import { expect } from 'chai'
import { type Owners, startApi, type TestApi, type TestClient } from '../support/api.ts'
import { endedDeliveries } from '../support/ended-deliveries.ts'

interface Problems {
  readonly count: number
  readonly is_complete: boolean
  readonly groups: readonly {
    readonly webhook_id: string
    readonly event: string
    readonly code: number
    readonly count: number
    readonly sample: string
  }[]
}

describe('GET /v1/problems', () => {
  let api: TestApi
  let admin: TestClient
  let key: Owners['key']
  let keyWebhook = ''
  let clientWebhook = ''
  let latest = ''
  before(async () => {
    api = await startApi()
    ;({ admin, key, keyWebhook, clientWebhook } = await api.owners())
    const refused = await endedDeliveries(api, { as: admin, webhook: clientWebhook, count: 3, code: 422 })
    latest = refused.at(-1)?.id ?? ''
    await endedDeliveries(api, { as: admin, webhook: clientWebhook, code: 500 })
    await endedDeliveries(api, { as: admin, webhook: keyWebhook, code: 422, event: 'order.paid', count: 2 })
    await endedDeliveries(api, { as: admin, webhook: clientWebhook, type: 'DeliveryFailed' })
  })
  after(() => api.stop())
  const problems = async (query = '', as: TestClient | { key: string } = admin): Promise<Problems> => {
    const response = await api.call('GET', `/v1/problems${query}`, { as })
    expect(response.status, response.text).to.equal(200)
    return (response.body as { data: Problems }).data
  }

  it('returns 200 with the dead letters grouped by webhook, event and result, the largest group first', async () => {
    const { count, is_complete, groups } = await problems()
    expect([count, is_complete]).to.deep.equal([6, true])
    expect(groups.map((group) => [group.webhook_id, group.event, group.code, group.count])).to.deep.equal([
      [clientWebhook, 'order.created', 422, 3],
      [keyWebhook, 'order.paid', 422, 2],
      [clientWebhook, 'order.created', 500, 1],
    ])
    expect(groups[0]?.sample).to.equal(latest)
    expect(groups[0]).to.include.keys('first_at', 'last_at', 'first_accepted_at', 'last_accepted_at', 'reason')
  })
  it('returns 200 with the groups that match a filter', async () => {
    for (const [query, count] of [
      [`webhook=${keyWebhook}`, 2],
      ['code=422', 5],
      ['reason=http_500', 1],
      ['event=order.paid&code=500', 0],
      ['until=2026-01-01T00:00:00Z', 0],
    ] as const)
      expect((await problems(`?${query}`)).count, query).to.equal(count)
  })
  it('returns 200 to a key with the groups of its own webhooks only, and nothing to another tenant', async () => {
    expect((await problems('', key)).groups.map(({ webhook_id }) => webhook_id)).to.deep.equal([keyWebhook])
    expect((await problems(`?webhook=${clientWebhook}`, key)).count).to.equal(0)
    expect((await problems('', await api.tenant())).count).to.equal(0)
  })
})
