import { expect } from 'chai'
import { expectDeliveries } from '../support/expectations.ts'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

interface JobResponse {
  data: { id: string; status: string; replayed: number; skipped: number }
}
const count = 250

describe('a replay of the deliveries that a webhook missed', () => {
  const processes = withServices({ each: true, sharedDatabase: true })
  const { start, subscribe } = processes

  /** Creates a webhook whose receiver refuses every request, and posts events to it. */
  const outage = async (api: Client) => {
    processes.receiver.setResponse('/down', 400)
    const webhook = await subscribe(api, '/down')
    processes.receiver.verify('/down', webhook.secret)
    const ids = Array.from({ length: count }, (_, i) => `missed_${i}`)
    await api.post('/v1/events/batch', { events: ids.map((id) => ({ id, event: 'load.posted', payload: { id } })) })
    await expectDeliveries(api, webhook.id, 'failed', count)
    processes.receiver.setResponse('/down', 200)
    return { webhook: webhook.id, ids }
  }
  const replay = (api: Client, webhook: string) =>
    api.post<JobResponse>(`/v1/webhooks/${webhook}/replay`, { since: '2026-01-01T00:00:00Z' })

  it('sends each event again once, under its own webhook-id, even with a second process', async () => {
    const [firstProcess, secondProcess] = await Promise.all([start(), start()])
    const api = await clientOf(firstProcess.url)
    const { webhook, ids } = await outage(api)
    const { data: begun } = await replay(await clientOf(secondProcess.url), webhook)
    const job = await waitFor(
      async () => {
        const { data } = await api.get<JobResponse>(`/v1/jobs/${begun.id}`)
        return data.status === 'completed' ? data : null
      },
      { what: 'the job to end' },
    )
    expect(job).to.include({ replayed: count, skipped: 0 })
    const delivered = await expectDeliveries(api, webhook, 'success', count)
    expect(delivered.every(({ chain }) => chain === 2)).to.equal(true)
    const requests = processes.receiver.received('/down')
    expect(processes.receiver.ids('/down').sort()).to.deep.equal([...ids, ...ids].sort())
    expect(requests.every(({ verified }) => verified)).to.equal(true)
  })
})
