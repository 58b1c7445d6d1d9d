import { expect } from 'chai'
import { type Owners, startApi, type TestApi, type TestClient } from '../support/api.ts'
import { endedDeliveries } from '../support/ended-deliveries.ts'
import { waitFor } from '../support/wait-for.ts'

describe('GET /v1/deliveries', () => {
  let api: TestApi
  let admin: TestClient
  let key: Owners['key']
  let keyWebhook = ''
  let clientWebhook = ''
  const ids: Record<'failed' | 'ofKey' | 'retrying' | 'discarded' | 'success', string> = {
    ...{ failed: '', ofKey: '', retrying: '', discarded: '', success: '' },
  }
  before(async () => {
    api = await startApi()
    ;({ admin, key, keyWebhook, clientWebhook } = await api.owners())
    const endedDelivery = async (options: Omit<Parameters<typeof endedDeliveries>[1], 'as'>) => {
      const [delivery] = await endedDeliveries(api, { as: admin, ...options })
      const at = String(api.produced.at(-1)?.record.accepted_at)
      await waitFor(() => new Date().toISOString() > at) // each event has a time of its own
      return delivery?.id ?? ''
    }
    ids.failed = await endedDelivery({ webhook: clientWebhook })
    ids.ofKey = await endedDelivery({ webhook: keyWebhook, event: 'order.paid', code: 422 })
    ids.retrying = await endedDelivery({ webhook: clientWebhook, type: 'DeliveryFailed', code: 503 })
    ids.discarded = await endedDelivery({ webhook: clientWebhook, type: 'DeliveryDiscarded' })
    ids.success = await endedDelivery({ webhook: clientWebhook, type: 'DeliverySucceeded' })
  })
  after(() => api.stop())
  const list = async (query = '', as: TestClient | { key: string } = admin) => {
    const page = await api.call('GET', `/v1/deliveries${query}`, { as })
    expect(page.status, page.text).to.equal(200)
    const { data, pagination } = JSON.parse(page.text) as { data: { id: string }[]; pagination: { next_cursor: string | null } }
    return { ids: data.map(({ id }) => id), next: pagination.next_cursor }
  }

  it('returns 200 with the deliveries that have not arrived, of all webhooks, newest first', async () => {
    expect(await list()).to.deep.equal({ ids: [ids.discarded, ids.retrying, ids.ofKey, ids.failed], next: null })
  })
  it('returns 200 with pages that contain each delivery once', async () => {
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const page = await list(`?limit=1${cursor}`)
      seen.push(...page.ids)
      if (page.next === null) break
      cursor = `&cursor=${page.next}`
    }
    expect(seen).to.deep.equal([ids.discarded, ids.retrying, ids.ofKey, ids.failed])
  })
  it('returns 200 with the deliveries of a status, an event, a reason or a status code', async () => {
    for (const [query, expected] of [
      ['status=failed', [ids.ofKey, ids.failed]],
      ['status=retrying', [ids.retrying]],
      ['status=pending', []],
      ['event=order.paid', [ids.ofKey]],
      ['reason=http_503', [ids.retrying]],
      ['code=422', [ids.ofKey]],
      ['code=422&status=retrying', []],
      ['until=2026-01-01T00:00:00Z', []],
    ] as const)
      expect((await list(`?${query}`)).ids, query).to.deep.equal(expected)
  })
  it('returns 200 with everything that was sent to one webhook, also what arrived', async () => {
    expect((await list(`?webhook=${clientWebhook}`)).ids).to.deep.equal([ids.success, ids.discarded, ids.retrying, ids.failed])
    expect((await list(`?webhook=${clientWebhook}&status=success&code=200&event=order.created`)).ids).to.deep.equal([ids.success])
  })
  it('returns 200 to a key with the deliveries of its own webhooks only, and nothing to another tenant', async () => {
    expect((await list('', key)).ids).to.deep.equal([ids.ofKey])
    expect((await list(`?webhook=${clientWebhook}`, key)).ids).to.deep.equal([])
    expect((await list('', await api.key(admin))).ids).to.deep.equal([])
    expect((await list('', await api.tenant())).ids).to.deep.equal([])
    expect((await list(`?webhook=${clientWebhook}`, await api.tenant())).ids).to.deep.equal([])
  })
  it('returns 422 for invalid values, and for the status success without a webhook', async () => {
    for (const [query, path] of [
      ['status=success', 'status'],
      ['status=lost', 'status'],
      ['webhook=x', 'webhook'],
      ['code=x', 'code'],
      ['since=x', 'since'],
    ]) {
      const refused = await api.call('GET', `/v1/deliveries?${query}`, { as: admin })
      expect([refused.status, refused.get('error.details.0.path')], query).to.deep.equal([422, path])
    }
  })
})
