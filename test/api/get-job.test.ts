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

  it('200 with what was asked for and how far it is', async () => {
    const webhook = await api.webhook(admin)
    const id = await begin(webhook)
    const found = await get(id)
    expect(found.status).to.equal(200)
    const { data } = found.body as { data: Record<string, unknown> }
    const { until, created_at, updated_at, ...rest } = data
    for (const time of [until, created_at, updated_at]) expect(Date.now() - Date.parse(String(time))).to.be.within(-1_000, 60_000)
    expect(rest).to.deep.equal({
      ...{ id, type: 'replay', webhook_id: webhook, status: 'running', reason: null, since: '2026-01-01T00:00:00.000Z' },
      ...{ delivery_status: 'failed', replayed: 0, skipped: 0, finished_at: null },
    })
  })
  it('200 for the key that created the webhook, also when that is deleted; 404 for any other key and any other tenant', async () => {
    const key = await api.key(admin)
    const webhook = await api.webhook(key)
    const id = await begin(webhook)
    await api.call('DELETE', `/v1/webhooks/${webhook}`, { as: admin })
    expect((await get(id, key)).status).to.equal(200)
    expect((await get(id, await api.key(admin))).status).to.equal(404)
    expect((await get(id, await api.tenant())).status).to.equal(404)
  })
  it('404 for what does not exist or is no id', async () => {
    for (const id of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) expect((await get(id)).status).to.equal(404)
  })
  it('404 once the retention has passed since its end; one that runs stays', async () => {
    const [done, running] = [await begin(await api.webhook(admin)), await begin(await api.webhook(admin))]
    await api.call('DELETE', `/v1/jobs/${done}`, { as: admin })
    const jobs = createReplayJobs(api.db.pool)
    expect(await jobs.expire('2026-01-01')).to.equal(0)
    expect(await jobs.expire('9999-01-01')).to.equal(1)
    expect([(await get(done)).status, (await get(running)).status]).to.deep.equal([404, 200])
  })
  it('200 completed, with the time of its end, when there was nothing to do', async () => {
    const id = await begin(await api.webhook(admin))
    api.replaying()
    const found = await waitFor(async () => {
      const job = await get(id)
      return job.get('data.status') === 'completed' ? job : null
    })
    expect(found.get('data.replayed')).to.equal('0')
    expect(Date.parse(found.get('data.finished_at'))).to.be.at.least(Date.parse(found.get('data.created_at')))
  })
})
