import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { type Crash, writePlan } from '../support/crash-at.ts'
import { expectDeliveries } from '../support/expectations.ts'
import { clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const count = 250
const planFile = join(tmpdir(), `kolbak-kill-replay-${process.pid}.json`)
const plan = (crashes: readonly Crash[]) => writePlan(planFile, crashes)

describe('a kill -9 in the middle of a replay job', () => {
  before(() => plan([]))
  const { service, receiver } = withService({
    variables: {
      NODE_OPTIONS: `--import ${join(import.meta.dirname, '../support/crash-at.ts')}`,
      CRASH_PLAN: planFile,
    },
  })

  it('at any step of the job leaves one new chain for each delivery', async () => {
    receiver.setResponse('/down', 400)
    let api = await clientOf(service.url)
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/down'), event: '*' })
    const ids = Array.from({ length: count }, (_, i) => `missed_${i}`)
    await api.post('/v1/events/batch', { events: ids.map((id) => ({ id, event: 'load.posted', payload: {} })) })
    await expectDeliveries(api, webhook.id, 'failed', count)
    receiver.setResponse('/down', 200)

    await plan([
      { point: 'job.plan', moment: 'after', count: 1, from: 'signal' },
      { point: 'replay.append', moment: 'after', count: 40, from: 'start' },
      { point: 'job.done', moment: 'before', count: 1, from: 'start' },
      { point: 'job.done', moment: 'after', count: 1, from: 'start' },
      { point: 'replay.append', moment: 'before', count: 70, from: 'start' },
      { point: 'job.end', moment: 'before', count: 1, from: 'start' },
      { point: 'job.end', moment: 'after', count: 1, from: 'start' },
    ])
    service.child.kill('SIGUSR2')
    const { data: job } = await api.post<{ data: { id: string } }>(`/v1/webhooks/${webhook.id}/replay`, { since: '2026-01-01T00:00:00Z' })
    for (let deaths = 0; deaths < 7; deaths++) {
      await waitFor(() => service.child.signalCode === 'SIGKILL', { what: `death ${deaths + 1}` })
      await service.restart()
    }
    api = await clientOf(service.url)
    const { data: ended } = await api.get<{ data: object }>(`/v1/jobs/${job.id}`)
    expect(ended).to.include({ status: 'completed', replayed: count, skipped: 0 })
    const delivered = await expectDeliveries(api, webhook.id, 'success', count)
    expect(delivered.filter(({ chain }) => chain !== 2)).to.deep.equal([])
    expect(new Set(receiver.received('/down').map(({ headers }) => String(headers['webhook-id'])))).to.deep.equal(new Set(ids))
  })
})
