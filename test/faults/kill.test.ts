import { expect } from 'chai'
import { expectArrival, expectNoRepetition, expectSuccessOfAll } from '../support/expectations.ts'
import { startLoad } from '../support/load.ts'
import { allDeliveries, clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const perSecond = 200
interface Statistics {
  readonly totals: Readonly<Record<string, number>>
}
const variables = { KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3,0.3,0.3' }

describe('a kill -9 under load', () => {
  const { service, receiver } = withService({ each: true, variables })

  const tokenOf = async (url: string) => `Bearer ${(await clientOf(url)).token}`

  it('loses no event with a 202: after the restart all arrive, under the same webhook-ids', async () => {
    // One response in ten is a 503, so that there are retries at the kill too.
    let responses = 0
    receiver.setResponse('/hook', (_request, response) => response.writeHead(++responses % 10 === 0 ? 503 : 200).end())
    const api = await clientOf(service.url)
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'load.*' })
    receiver.verify('/hook', webhook.secret)

    const accepted: string[] = []
    for (let round = 0; round < 3; round++) {
      const posting = startLoad(service.url, await tokenOf(service.url), { perSecond, from: round * 10_000 })
      await waitFor(() => posting.accepted.length > perSecond, { what: 'a second of load' })
      await service.kill('SIGKILL')
      await posting.stop()
      accepted.push(...posting.accepted)
      await service.restart()
    }
    await expectArrival(receiver, '/hook', accepted)

    const history = await clientOf(service.url)
    await expectSuccessOfAll(history, webhook.id)
    // The statistics have counted every attempt once, although the projector was killed too. A request that was repeated after a kill may be two events
    // of one attempt, of which the history shows one.
    const requests = receiver.received('/hook')
    const attempts = (await allDeliveries(history, webhook.id)).flatMap((delivery) => delivery.attempts)
    const successes = attempts.filter(({ status }) => status === 'success').length
    const least = { success: successes, retrying: attempts.length - successes, failed: 0 }
    const totals = await waitFor(
      async () => {
        const { data } = await history.get<{ data: Statistics }>(`/v1/statistics/deliveries?webhook=${webhook.id}`)
        return Object.entries(least).every(([name, count]) => Number(data.totals[name]) >= count) ? data.totals : null
      },
      { what: `the statistics to be ${JSON.stringify(least)}` },
    )
    expect(Number(totals.success) + Number(totals.retrying) + Number(totals.failed)).to.be.at.most(requests.length)
    expect(requests.every((request) => request.verified)).to.equal(true)
    expect(accepted.length).to.be.greaterThan(3 * perSecond)
    const attemptsSeen = new Set(requests.map((request) => `${request.headers['webhook-id']} ${request.headers['kolbak-attempt']}`)).size
    console.log(`      ${accepted.length} accepted over 3 kills, ${requests.length - attemptsSeen} requests repeated`)
  })

  it('differs from SIGTERM, after which the requests in flight are finished and the next start repeats none', async () => {
    receiver.setResponse('/hook', (_request, response) => setTimeout(() => response.end(), 100))
    const api = await clientOf(service.url)
    await api.post('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'load.*' })
    const posting = startLoad(service.url, await tokenOf(service.url), { perSecond })
    await waitFor(() => posting.accepted.length > perSecond / 2)
    const stopped = service.kill('SIGTERM')
    await posting.stop()
    expect(await stopped).to.equal(0)
    await service.restart()
    await expectArrival(receiver, '/hook', posting.accepted)
    const restarted = await clientOf(service.url)
    await waitFor(async () => {
      for (const status of ['pending', 'retrying']) {
        const all = await Promise.all(
          posting.accepted.slice(-20).map((id) => restarted.get<Page<DeliveryResponse>>(`/v1/events/${id}/deliveries`)),
        )
        if (all.some(({ data }) => data.some((delivery) => delivery.status === status))) return false
      }
      return true
    })
    expectNoRepetition(receiver, '/hook')
  })
})
