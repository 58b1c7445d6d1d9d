import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { replayedId } from '../../src/events/delivery-id.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Credential } from '../support/api-client.ts'
import { chainsBegun, endedDeliveries } from '../support/ended-deliveries.ts'
import { waitFor } from '../support/wait-for.ts'

const since = '2026-01-01T00:00:00Z'

describe('POST /v1/webhooks/:id/replay', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    api.replaying()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const replay = (
    webhook: string,
    body: object = { since },
    { as = admin, headers = {} }: { as?: Credential; headers?: Record<string, string> } = {},
  ) => api.call('POST', `/v1/webhooks/${webhook}/replay`, { as, body, headers })
  const job = (id: string) => api.call('GET', `/v1/jobs/${id}`, { as: admin })
  const untilJobEnds = (id: string) =>
    waitFor(async () => {
      const jobNow = await job(id)
      return jobNow.get('data.status') === 'running' ? null : jobNow
    })
  /** Starts a replay, waits for the end of its job, and returns the deliveries that were replayed. */
  const replayed = async (webhook: string, body: object = { since }): Promise<string[]> => {
    const begun = await replay(webhook, body)
    expect(begun.status, begun.text).to.equal(202)
    expect((await untilJobEnds(begun.get('data.id'))).get('data.status')).to.equal('completed')
    return (await chainsBegun(api, webhook)).map(({ data }) => data.delivery)
  }

  it('returns 202 with a job that replays the deliveries that ended in failure, and no others', async () => {
    const webhook = await api.webhook(admin)
    const target = { as: admin, webhook }
    const failed = [
      ...(await endedDeliveries(api, { ...target, count: 2 })),
      ...(await endedDeliveries(api, { ...target, type: 'DeliveryDiscarded' })),
    ]
    await endedDeliveries(api, { ...target, type: 'DeliverySucceeded' })
    await endedDeliveries(api, { ...target, type: 'DeliveryFailed' })
    await endedDeliveries(api, { ...target, type: 'MessageRouted' })
    const begun = await replay(webhook)
    expect(begun.status).to.equal(202)
    expect(begun.headers.get('location')).to.equal(`/v1/jobs/${begun.get('data.id')}`)
    const { data } = begun.body as { data: Record<string, unknown> }
    expect(data).to.include({ type: 'replay', webhook_id: webhook, since: '2026-01-01T00:00:00.000Z', delivery_status: null })
    expect(data).to.include({ status: 'running', replayed: 0, skipped: 0, finished_at: null, reason: null })
    const done = (await untilJobEnds(begun.get('data.id'))).body as { data: Record<string, unknown> }
    expect(done.data).to.include({ status: 'completed', replayed: 3, skipped: 0, reason: null })
    const events = await chainsBegun(api, webhook)
    expect(events.map(({ data }) => data.delivery)).to.have.members(failed.map(({ id }) => id))
    for (const { id, data, metadata } of events) {
      expect([data.chain, id]).to.deep.equal([2, replayedId(data.delivery, 2)])
      expect(metadata).to.include({
        actor: `client:${admin.clientId}`,
        job: begun.get('data.id'),
        request_id: begun.headers.get('kolbak-request-id'),
      })
    }
    const { rows } = await api.db.pool.query('select chain, attempt, due_at <= now() as due from scheduled_deliveries where webhook = $1', [
      webhook,
    ])
    expect(rows).to.deep.equal(Array(3).fill({ chain: 2, attempt: 1, due: true }))
  })
  for (const [status, type] of [
    ['success', 'DeliverySucceeded'],
    ['retrying', 'DeliveryFailed'],
    ['discarded', 'DeliveryDiscarded'],
  ] as const)
    it(`returns 202 for the status ${status}, and replays only deliveries with it`, async () => {
      const webhook = await api.webhook(admin)
      const [selected] = await endedDeliveries(api, { as: admin, webhook, type })
      await endedDeliveries(api, { as: admin, webhook })
      expect(await replayed(webhook, { since, status })).to.deep.equal([selected?.id])
    })
  it('returns 202 for a range that includes since and excludes until', async () => {
    const webhook = await api.webhook(admin)
    const deliveries: { id: string; at: string }[] = []
    for (let i = 0; i < 3; i++) {
      const [{ id } = { id: '' }] = await endedDeliveries(api, { as: admin, webhook })
      const at = String(api.produced.at(-1)?.record.accepted_at)
      deliveries.push({ id, at })
      await waitFor(() => new Date().toISOString() > at)
    }
    const [first, second, third] = deliveries
    expect(await replayed(webhook, { since: first?.at, until: second?.at })).to.deep.equal([first?.id])
    expect(await replayed(webhook, { since: third?.at })).to.have.members([first?.id, third?.id])
  })
  it('returns 202 for an until in the future, which counts as now', async () => {
    const begun = await replay(await api.webhook(admin), { since, until: '9999-01-01T00:00:00Z' })
    expect(begun.status).to.equal(202)
    expect(Date.parse(begun.get('data.until'))).to.be.at.most(Date.now())
  })
  it('returns 202 for times of any century, and shows them in the job', async () => {
    const webhook = await api.webhook(admin)
    await endedDeliveries(api, { as: admin, webhook })
    for (const [from, until] of [
      ['0001-01-01T00:00:00.000Z', '0032-01-01T00:00:00.000Z'],
      ['0013-01-01T00:00:00.000Z', '0099-12-31T23:59:59.999Z'],
    ]) {
      const begun = await replay(webhook, { since: from, until })
      expect(begun.status, begun.text).to.equal(202)
      const done = await untilJobEnds(begun.get('data.id'))
      expect(done.get('data')).to.include({ status: 'completed', since: from, until, replayed: 0 })
    }
  })
  it('returns 202, and skips and counts a delivery whose payload has expired', async () => {
    const webhook = await api.webhook(admin)
    await endedDeliveries(api, { as: admin, webhook })
    await api.db.pool.query('delete from messages')
    const [keptDelivery] = await endedDeliveries(api, { as: admin, webhook })
    const begun = await replay(webhook)
    const { data } = (await untilJobEnds(begun.get('data.id'))).body as { data: object }
    expect(data).to.include({ status: 'completed', replayed: 1, skipped: 1 })
    expect((await chainsBegun(api, webhook)).map((event) => event.data.delivery)).to.deep.equal([keptDelivery?.id])
  })
  it('returns 202 with the same job for the same Idempotency-Key', async () => {
    const webhook = await api.webhook(admin)
    const headers = { 'idempotency-key': randomUUID() }
    const [first, second] = [await replay(webhook, { since }, { headers }), await replay(webhook, { since }, { headers })]
    expect([first.status, second.status]).to.deep.equal([202, 202])
    expect(second.text).to.equal(first.text)
  })
  it('returns 202 to the key that created the webhook and records it as the actor; returns 404 to any other key or tenant', async () => {
    const key = await api.key(admin)
    const webhook = await api.webhook(key)
    await endedDeliveries(api, { as: admin, webhook })
    expect((await replay(webhook, { since }, { as: await api.key(admin) })).status).to.equal(404)
    expect((await replay(webhook, { since }, { as: await api.tenant() })).status).to.equal(404)
    const begun = await replay(webhook, { since }, { as: key })
    expect(begun.status).to.equal(202)
    await untilJobEnds(begun.get('data.id'))
    expect((await chainsBegun(api, webhook)).map(({ metadata }) => metadata.actor)).to.deep.equal([`key:${key.id}`])
  })
  it('starts a job that fails with a reason if the webhook is deactivated or deleted before the job runs', async () => {
    const idle = await startApi()
    try {
      const owner = await idle.tenant()
      const [inactive, deleted] = [await idle.webhook(owner), await idle.webhook(owner)]
      const jobs: string[] = []
      for (const webhook of [inactive, deleted]) {
        await endedDeliveries(idle, { as: owner, webhook })
        jobs.push((await idle.call('POST', `/v1/webhooks/${webhook}/replay`, { as: owner, body: { since } })).get('data.id'))
      }
      await idle.call('PATCH', `/v1/webhooks/${inactive}`, { as: owner, body: { is_active: false } })
      await idle.call('DELETE', `/v1/webhooks/${deleted}`, { as: owner })
      idle.replaying()
      for (const [i, reason] of ['webhook_inactive', 'webhook_deleted'].entries())
        await waitFor(async () => {
          const jobNow = await idle.call('GET', `/v1/jobs/${jobs[i]}`, { as: owner })
          return jobNow.get('data.status') === 'failed' && jobNow.get('data.reason') === reason
        })
      expect([...(await chainsBegun(idle, inactive)), ...(await chainsBegun(idle, deleted))]).to.deep.equal([])
    } finally {
      await idle.stop()
    }
  })
  it('returns 404 for a deleted webhook, an unknown id, and a text that is not an id', async () => {
    const webhook = await api.webhook(admin)
    await api.call('DELETE', `/v1/webhooks/${webhook}`, { as: admin })
    for (const id of [webhook, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) expect((await replay(id)).status).to.equal(404)
  })
  it('returns 409 when the webhook is inactive', async () => {
    const webhook = await api.webhook(admin, { is_active: false })
    const refused = await replay(webhook)
    expect([refused.status, refused.get('error.code')]).to.deep.equal([409, 'webhook_inactive'])
  })
  it('returns 422 for an empty range, an invalid time or status, and an unknown field', async () => {
    const webhook = await api.webhook(admin)
    for (const [body, path] of [
      [{ since, until: since }, 'since'],
      [{ since, until: '2025-01-01T00:00:00Z' }, 'since'],
      [{ since: '9999-01-01T00:00:00Z' }, 'since'],
      [{}, 'since'],
      [{ since: 'yesterday' }, 'since'],
      [{ since, until: 5 }, 'until'],
      [{ since, status: 'lost' }, 'status'],
      [{ since, colour: 'red' }, 'colour'],
      [{ since, code: 'x' }, 'code'],
    ] as const) {
      const refused = await replay(webhook, body)
      expect([refused.status, refused.get('error.details.0.path')], JSON.stringify(body)).to.deep.equal([422, path])
    }
    expect((await replay(webhook)).status, 'a refused replay starts no job').to.equal(202)
  })

  describe('while another job of the webhook runs', () => {
    let idle: TestApi
    let owner: TestClient
    before(async () => {
      idle = await startApi()
      owner = await idle.tenant()
    })
    after(() => idle.stop())

    it('returns 409 replay_running to all but one of concurrent requests; other webhooks are not affected', async () => {
      const webhook = await idle.webhook(owner)
      const ask = (id: string) => idle.call('POST', `/v1/webhooks/${id}/replay`, { as: owner, body: { since } })
      const responses = await Promise.all([ask(webhook), ask(webhook), ask(webhook)])
      expect(responses.map(({ status }) => status).sort()).to.deep.equal([202, 409, 409])
      for (const refused of responses.filter(({ status }) => status === 409)) expect(refused.get('error.code')).to.equal('replay_running')
      expect((await ask(await idle.webhook(owner))).status).to.equal(202)
    })
  })
})
