import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Credential } from '../support/api-client.ts'
import { chainsBegun, endedDeliveries } from '../support/ended-deliveries.ts'
import { waitFor } from '../support/wait-for.ts'

const since = '2026-01-01T00:00:00Z'
interface Started {
  readonly jobs: readonly { readonly id: string; readonly webhook_id: string; readonly expected: number }[]
  readonly skipped: readonly { readonly webhook_id: string; readonly reason: string }[]
}

describe('POST /v1/replays', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    api.replaying()
  })
  beforeEach(async () => {
    admin = await api.tenant()
  })
  after(() => api.stop())
  const replay = (body: object, { as = admin, headers = {} }: { as?: Credential; headers?: Record<string, string> } = {}) =>
    api.call('POST', '/v1/replays', { as, body: { since, ...body }, headers })
  /** Starts replays, waits for the end of their jobs, and returns what was started. */
  const replayed = async (body: object): Promise<Started> => {
    const response = await replay(body)
    expect(response.status, response.text).to.equal(202)
    const started = dataOf(response)
    for (const { id } of started.jobs)
      await waitFor(async () => (await api.call('GET', `/v1/jobs/${id}`, { as: admin })).get('data.status') === 'completed' || null)
    return started
  }
  const dataOf = ({ body }: { body: unknown }): Started => (body as { data: Started }).data
  const chains = async (webhook: string) => (await chainsBegun(api, webhook)).map(({ data }) => data.delivery)

  it('returns 202 with a job for each webhook that missed something, and replays what matches', async () => {
    const [first, second, fine] = [await api.webhook(admin), await api.webhook(admin), await api.webhook(admin)]
    const refused = await endedDeliveries(api, { as: admin, webhook: first, code: 422, count: 2 })
    const otherDeliveries = await endedDeliveries(api, { as: admin, webhook: first, code: 500 })
    const paid = await endedDeliveries(api, { as: admin, webhook: second, code: 422, event: 'order.paid' })
    await endedDeliveries(api, { as: admin, webhook: fine, type: 'DeliverySucceeded' })
    const started = await replayed({ code: 422 })
    expect(started.jobs.map(({ webhook_id, expected }) => [webhook_id, expected])).to.have.deep.members([
      [first, 2],
      [second, 1],
    ])
    expect(await chains(first)).to.have.members(refused.map(({ id }) => id))
    expect(await chains(second)).to.have.members(paid.map(({ id }) => id))
    const next = await replayed({ reason: 'http_500', event: 'order.created', webhooks: [first] })
    expect(next.jobs.map(({ webhook_id }) => webhook_id)).to.deep.equal([first])
    expect(await chains(first)).to.have.members([...refused, ...otherDeliveries].map(({ id }) => id))
    expect(await replayed({ event: 'order.lost' })).to.deep.equal({ jobs: [], skipped: [] })
  })
  it('returns 202 and names the webhooks for which it starts no job', async () => {
    const [inactive, busy] = [await api.webhook(admin), await api.webhook(admin)]
    for (const webhook of [inactive, busy]) await endedDeliveries(api, { as: admin, webhook })
    await api.call('PATCH', `/v1/webhooks/${inactive}`, { as: admin, body: { is_active: false } })
    await api.db.pool.query(
      `insert into replay_jobs (id, tenant, webhook, actor, since, until) values ('01ARZ3NDEKTSV4RRFFQ69G5FAV', 'another', $1, 'a', now(), now())`,
      [busy],
    )
    const { jobs, skipped } = dataOf(await replay({}))
    expect(jobs).to.deep.equal([])
    expect(skipped).to.have.deep.members([
      { webhook_id: inactive, reason: 'webhook_inactive' },
      { webhook_id: busy, reason: 'replay_running' },
    ])
    await api.db.pool.query(`delete from replay_jobs where tenant = 'another'`)
  })
  it('returns 202 with the same jobs for a request that is repeated under its key', async () => {
    await endedDeliveries(api, { as: admin, webhook: await api.webhook(admin) })
    const headers = { 'idempotency-key': 'once' }
    const first = await replay({}, { headers })
    const repeated = await replay({}, { headers })
    expect([repeated.status, repeated.text]).to.deep.equal([202, first.text])
  })
  it('returns 200 for a dry run, which counts and starts nothing', async () => {
    const [first, second] = [await api.webhook(admin), await api.webhook(admin)]
    await endedDeliveries(api, { as: admin, webhook: first })
    const oldest = String(api.produced.at(-1)?.record.accepted_at)
    await api.db.pool.query('delete from messages')
    await endedDeliveries(api, { as: admin, webhook: second, count: 2 })
    await endedDeliveries(api, { as: admin, webhook: second, type: 'DeliverySucceeded' })
    const newest = String(api.produced.at(-2)?.record.accepted_at)
    const before = await api.call('GET', '/v1/jobs', { as: admin })
    const all = await replay({ dry_run: true })
    expect([all.status, (all.body as { data: object }).data]).to.deep.equal([
      200,
      { count: 3, is_complete: true, without_payload: 1, oldest, newest, webhooks: 2 },
    ])
    const ofOne = await api.call('POST', `/v1/webhooks/${second}/replay`, { as: admin, body: { since, dry_run: true, code: 500 } })
    expect([ofOne.status, ofOne.get('data.count'), ofOne.get('data.without_payload')].map(String)).to.deep.equal(['200', '2', '0'])
    expect(((await replay({ dry_run: true, code: 404 })).body as { data: object }).data).to.deep.equal({
      ...{ count: 0, is_complete: true, without_payload: 0, oldest: null, newest: null, webhooks: 0 },
    })
    expect((await api.call('GET', '/v1/jobs', { as: admin })).text).to.equal(before.text)
  })
  it('replays to a key its own webhooks only', async () => {
    const key = await api.key(admin)
    const [ownWebhook, otherWebhook] = [await api.webhook(key), await api.webhook(admin)]
    for (const webhook of [ownWebhook, otherWebhook]) await endedDeliveries(api, { as: admin, webhook })
    const response = await replay({}, { as: key })
    expect(dataOf(response).jobs.map(({ webhook_id }) => webhook_id)).to.deep.equal([ownWebhook])
    expect((await replay({ webhooks: [otherWebhook] }, { as: key })).status).to.equal(404)
    expect((await replay({ webhooks: [ownWebhook] }, { as: await api.tenant() })).status).to.equal(404)
  })
  it('returns 422 for values that are not accepted', async () => {
    for (const [body, path] of [
      [{ webhooks: [] }, 'webhooks'],
      [{ webhooks: ['x'] }, 'webhooks.0'],
      [{ code: 7 }, 'code'],
      [{ since: '2999-01-01T00:00:00Z' }, 'since'],
      [{ colour: 1 }, 'colour'],
    ] as const) {
      const refused = await replay(body)
      expect([refused.status, refused.get('error.details.0.path')], JSON.stringify(body)).to.deep.equal([422, path])
    }
  })
})
