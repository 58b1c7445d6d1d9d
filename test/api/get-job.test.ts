import { expect } from 'chai'
import { createReplayJobs } from '../../src/commands/replay-jobs.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('GET /v1/jobs/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const begin = async (webhook: string): Promise<string> =>
    (
      await api.call('POST', `/v1/webhooks/${webhook}/replay`, {
        as: admin,
        body: { since: '2026-01-01T01:00:00+01:00', status: 'failed' },
      })
    ).get('data.id')
  const get = (id: string, as: TestClient | { key: string } = admin) => api.call('GET', `/v1/jobs/${id}`, { as })

  it('returns 200 with the parameters and the progress of the job', async () => {
    const webhook = await api.webhook(admin)
    const id = await begin(webhook)
    const response = await get(id)
    expect(response.status).to.equal(200)
    const { data } = response.body as { data: Record<string, unknown> }
    const { until, created_at, updated_at, ...otherFields } = data
    for (const time of [until, created_at, updated_at]) expect(Date.now() - Date.parse(String(time))).to.be.within(-1_000, 60_000)
    expect(otherFields).to.deep.equal({
      ...{ id, type: 'replay', webhook_id: webhook, status: 'running', reason: null, since: '2026-01-01T00:00:00.000Z' },
      ...{ delivery_status: 'failed', delivery_event: null, delivery_reason: null, delivery_code: null },
      ...{ expected: 0, replayed: 0, skipped: 0, finished_at: null },
    })
  })
  it('returns 200 to the key that created the webhook, even after its deletion, and 404 to any other key or tenant', async () => {
    const key = await api.key(admin)
    const webhook = await api.webhook(key)
    const id = await begin(webhook)
    await api.call('DELETE', `/v1/webhooks/${webhook}`, { as: admin })
    expect((await get(id, key)).status).to.equal(200)
    expect((await get(id, await api.key(admin))).status).to.equal(404)
    expect((await get(id, await api.tenant())).status).to.equal(404)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) expect((await get(id)).status).to.equal(404)
  })
  it('returns 404 when the retention has passed since the end of the job; a running job stays', async () => {
    const [done, running] = [await begin(await api.webhook(admin)), await begin(await api.webhook(admin))]
    await api.call('DELETE', `/v1/jobs/${done}`, { as: admin })
    const jobs = createReplayJobs(api.db.pool)
    expect(await jobs.expire('2026-01-01')).to.equal(0)
    expect(await jobs.expire('9999-01-01')).to.equal(1)
    expect([(await get(done)).status, (await get(running)).status]).to.deep.equal([404, 200])
  })
  it('returns 200 with status `completed` and the end time when there was nothing to replay', async () => {
    const id = await begin(await api.webhook(admin))
    api.replaying()
    const response = await waitFor(async () => {
      const job = await get(id)
      return job.get('data.status') === 'completed' ? job : null
    })
    expect(response.get('data.replayed')).to.equal('0')
    expect(Date.parse(response.get('data.finished_at'))).to.be.at.least(Date.parse(response.get('data.created_at')))
  })
})
