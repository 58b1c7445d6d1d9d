import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { chainsBegun, endedDeliveries } from '../support/ended-deliveries.ts'
import { waitFor } from '../support/wait-for.ts'

describe('DELETE /v1/jobs/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const begin = (webhook: string) =>
    api.call('POST', `/v1/webhooks/${webhook}/replay`, { as: admin, body: { since: '2026-01-01T00:00:00Z' } })
  const cancel = (id: string, as: TestClient | { key: string } = admin) => api.call('DELETE', `/v1/jobs/${id}`, { as })
  const get = (id: string) => api.call('GET', `/v1/jobs/${id}`, { as: admin })

  it('returns 204 and replays nothing more; a second request gets 204 too, and another job of the webhook can start', async () => {
    const webhook = await api.webhook(admin)
    await endedDeliveries(api, { as: admin, webhook })
    const id = (await begin(webhook)).get('data.id')
    expect((await cancel(id)).status).to.equal(204)
    const { data } = (await get(id)).body as { data: { status: string; finished_at: string | null } }
    expect(data.status).to.equal('cancelled')
    expect(data.finished_at).to.be.a('string')
    expect((await cancel(id)).status).to.equal(204)
    const replaying = api.replaying()
    const other = (await begin(await api.webhook(admin))).get('data.id')
    await waitFor(async () => (await get(other)).get('data.status') === 'completed')
    await replaying.stop()
    expect(await chainsBegun(api, webhook)).to.deep.equal([])
    expect((await begin(webhook)).status).to.equal(202)
  })
  it('returns 204 during a page: that page is finished and counted, and no other follows', async () => {
    const webhook = await api.webhook(admin)
    await endedDeliveries(api, { as: admin, webhook, count: 150 })
    const id = (await begin(webhook)).get('data.id')
    const { store } = api.deps
    const replaying = api.replaying({
      store: {
        head: store.head,
        async append(...given) {
          if (given[0].includes(webhook)) expect((await cancel(id)).status).to.equal(204)
          return store.append(...given)
        },
      },
    })
    await waitFor(async () => (await get(id)).get('data.replayed') === '100')
    const other = (await begin(await api.webhook(admin))).get('data.id')
    await waitFor(async () => (await get(other)).get('data.status') === 'completed')
    await replaying.stop()
    expect((await get(id)).get('data.status')).to.equal('cancelled')
    expect((await chainsBegun(api, webhook)).length).to.equal(100)
  })
  it('returns 409 job_finished when the job has ended', async () => {
    const replaying = api.replaying()
    const id = (await begin(await api.webhook(admin))).get('data.id')
    await waitFor(async () => (await get(id)).get('data.status') === 'completed')
    await replaying.stop()
    const refused = await cancel(id)
    expect([refused.status, refused.get('error.code')]).to.deep.equal([409, 'job_finished'])
  })
  it('returns 204 to the key that created the webhook, and 404 to any other key or tenant', async () => {
    const key = await api.key(admin)
    const id = (await begin(await api.webhook(key))).get('data.id')
    expect((await cancel(id, await api.key(admin))).status).to.equal(404)
    expect((await cancel(id, await api.tenant())).status).to.equal(404)
    expect((await get(id)).get('data.status')).to.equal('running')
    expect((await cancel(id, key)).status).to.equal(204)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) expect((await cancel(id)).status).to.equal(404)
  })
})
