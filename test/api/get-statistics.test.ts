import { expect } from 'chai'
import { ulid } from 'ulid'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { quantileOf } from '../../src/projections/read-statistics.ts'
import { type Owners, startApi, type TestApi, type TestClient } from '../support/api.ts'
import { deliveryEvents } from '../support/delivery-events.ts'
import { waitFor } from '../support/wait-for.ts'

type Counts = Readonly<Record<string, number | null>>
interface Report {
  readonly since: string
  readonly until: string
  readonly step_seconds: number
  readonly counted_since: string | null
  readonly totals: Counts
  readonly spans: readonly Counts[]
  readonly webhooks: readonly { readonly webhook_id: string; readonly totals: Counts; readonly spans: readonly Counts[] }[]
}

describe('GET /v1/statistics/deliveries', () => {
  let api: TestApi
  let admin: TestClient
  let key: Owners['key']
  let keyWebhook = ''
  let clientWebhook = ''
  const path = '/v1/statistics/deliveries'
  const statistics = async (query = '', as: TestClient | { key: string } = admin): Promise<Report> => {
    const response = await api.call('GET', `${path}${query}`, { as })
    expect(response.status, response.text).to.equal(200)
    return (response.body as { data: Report }).data
  }
  const refusal = async (query: string) => {
    const response = await api.call('GET', `${path}${query}`, { as: admin })
    const { error } = response.body as { error: { code: string; details?: { path: string }[] } }
    return [response.status, error.code, error.details?.map((detail) => detail.path)]
  }
  before(async () => {
    api = await startApi()
    ;({ admin, key, keyWebhook, clientWebhook } = await api.owners())
    const events = deliveryEvents(api.deps.store as EventStore, admin.tenant as TenantId)
    for (let i = 0; i < 4; i++) {
      const [first, second] = events.routed([clientWebhook, keyWebhook] as WebhookId[])
      events.attempted(first!, 'DeliverySucceeded')
      events.attempted(second!, i === 0 ? 'DeliveryFailed' : 'DeliverySucceeded')
      if (i === 0) events.attempted(second!, 'DeliveryDeadLettered', { attempt: 2 })
      if (i === 3) events.replayed(first!, 2)
    }
    await events.flush()
    await waitFor(async () => (await statistics()).totals.replayed === 1 && (await statistics()).totals.failed === 1)
  })
  after(() => api.stop())

  it('returns 200 with the counts of each span, which add up to the totals', async () => {
    const { totals, spans, webhooks, step_seconds, counted_since } = await statistics()
    expect(totals).to.deep.include({ accepted: 4, success: 7, retrying: 1, failed: 1, discarded: 0, replayed: 1 })
    expect(totals).to.deep.include({ http_2xx: 7, http_3xx: 0, http_4xx: 0, http_5xx: 2, no_response: 0 })
    for (const name of ['accepted', 'success', 'failed']) {
      const sum = spans.reduce((total, span) => total + Number(span[name]), 0)
      expect(sum, name).to.equal(totals[name])
    }
    // All requests took 1.5 ms, so they are counted below 5 ms.
    for (const name of ['p50_ms', 'p95_ms', 'p99_ms']) expect(totals[name]).to.be.within(1, 5)
    expect([step_seconds, counted_since, webhooks]).to.deep.equal([3_600, null, []])
  })
  it('returns 200 with the same counts for every length of a span', async () => {
    for (const step of ['1m', '5m', '15m', '1h', '6h', '1d']) {
      const { totals, spans, since } = await statistics(`?step=${step}`)
      expect(totals, step).to.deep.include({ accepted: 4, success: 7, retrying: 1, failed: 1 })
      expect(spans[0]?.at, step).to.satisfy((at: string) => at >= since)
    }
  })
  it('returns 200 with the counts of one webhook, and of each webhook with by=webhook', async () => {
    const one = await statistics(`?webhook=${keyWebhook}`)
    expect(one.totals).to.deep.include({ accepted: null, success: 3, retrying: 1, failed: 1, replayed: 0 })
    const each = await statistics('?by=webhook')
    expect(each.totals).to.deep.include({ accepted: 4, success: 7 })
    expect(each.webhooks.map(({ webhook_id, totals }) => [webhook_id, totals.success, totals.failed, totals.replayed])).to.deep.equal([
      [keyWebhook, 3, 1, 0],
      [clientWebhook, 4, 0, 1],
    ])
  })
  it('returns 200 with nothing for a range without events', async () => {
    const { totals, spans } = await statistics('?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z')
    expect(spans).to.deep.equal([])
    expect(totals).to.deep.include({ accepted: 0, success: 0, p50_ms: null, p99_ms: null })
  })
  it('returns 200 to a key with the counts of its own webhooks only, and nothing to another tenant', async () => {
    for (const query of ['', '?by=webhook']) expect((await statistics(query, key)).totals).to.deep.include({ accepted: null, success: 3 })
    expect((await statistics('?by=webhook', key)).webhooks.map(({ webhook_id }) => webhook_id)).to.deep.equal([keyWebhook])
    expect((await statistics(`?webhook=${clientWebhook}`, key)).totals.success).to.equal(0)
    const stranger = await api.tenant()
    for (const query of ['', '?by=webhook', `?webhook=${clientWebhook}`]) {
      const { totals, spans, webhooks } = await statistics(query, stranger)
      expect([totals.success, spans, webhooks], query).to.deep.equal([0, [], []])
    }
  })
  it('returns 422 for a range that is empty, has too many spans, or needs minutes that are no longer kept', async () => {
    for (const [query, field] of [
      ['?since=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z', 'since'],
      ['?since=2020-01-01T00:00:00Z', 'since'],
      ['?step=6h&since=2020-01-01T00:00:00Z', 'step'],
      ['?step=1m&since=2026-01-01T00:00:00Z&until=2026-01-01T01:00:00Z', 'step'],
      ['?by=webhook&step=1m', 'step'],
      ['?step=2m', 'step'],
      ['?by=event', 'by'],
      [`?webhook=${ulid().slice(1)}`, 'webhook'],
      ['?since=yesterday', 'since'],
      ['?as_of=2026-01-01T00:00:00Z', 'as_of'],
    ] as const)
      expect(await refusal(query), query).to.deep.equal([422, 'validation_failed', [field]])
  })
})

describe('a quantile of counted durations', () => {
  it('is between the bounds of the count that has it, and null without requests', () => {
    const none = new Array<number>(12).fill(0)
    expect(quantileOf(none, 0.95)).to.equal(null)
    expect(quantileOf([], 0.5)).to.equal(null)
    expect(quantileOf(none.with(3, 10), 0.5)).to.equal(38) // half of the way from 25 to 50
    expect(quantileOf(none.with(0, 95).with(7, 5), 0.95)).to.equal(5)
    expect(quantileOf(none.with(0, 90).with(7, 10), 0.95)).to.equal(750)
    expect(quantileOf(none.with(11, 1), 0.99)).to.equal(15_000)
  })
})
