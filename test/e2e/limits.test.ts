import { expect } from 'chai'
import { expectDelivery } from '../support/expectations.ts'
import { machineTimeOf } from '../support/patience.ts'
import { failures } from '../support/receiver.ts'
import type { DeliveryResponse, Page } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withDeliveries } from './deliveries.ts'

describe('one webhook beside others, end to end', () => {
  const deliveries = withDeliveries()
  const { receiver, path, subscribe, post } = deliveries

  for (const [pace, respondsInMs, share] of [
    ['quickly', 20, 32],
    ['slowly', 200, 10],
  ] as const)
    it(`sends a webhook that responds ${pace} no more requests at once than its share, and delivers everything`, async () => {
      const at = path()
      let now = 0
      let mostInFlight = 0
      receiver.setResponse(at, (_request, response) => {
        mostInFlight = Math.max(mostInFlight, ++now)
        setTimeout(() => {
          now--
          response.end()
        }, respondsInMs)
      })
      const webhook = await subscribe(at, `burst.${pace}`)
      await Promise.all(Array.from({ length: 200 }, () => post(`burst.${pace}`)))
      await waitFor(() => new Set(receiver.received(at).map((r) => r.body.id)).size === 200)
      expect(mostInFlight).to.be.within(2, share)
      // On a busy machine a request may time out and be retried. So the test expects that each attempt is made once.
      const attempts = receiver.received(at).map((r) => `${r.body.id} ${r.headers['kolbak-attempt']}`)
      expect(new Set(attempts).size).to.equal(attempts.length)
      await waitFor(
        async () =>
          (await deliveries.api.get<Page<DeliveryResponse>>(`/v1/webhooks/${webhook.id}/deliveries?status=success&limit=100`)).data
            .length === 100,
      )
    })

  it('parks the deliveries of a hanging webhook, and delivers to another webhook meanwhile', async () => {
    const [hanging, healthy] = [path(), path()]
    receiver.setResponse(hanging, failures.hangs)
    const stuck = await subscribe(hanging, 'park.hang')
    await subscribe(healthy, 'park.good')
    await Promise.all(Array.from({ length: 60 }, () => post('park.hang')))
    const tookMs = await machineTimeOf(async () => expectDelivery(deliveries.api, await post('park.good'), 'success'))
    expect(tookMs, 'less than one time-out of the hanging receiver').to.be.lessThan(3_000)
    receiver.setResponse(hanging, 200)
    await waitFor(
      async () =>
        (await deliveries.api.get<Page<DeliveryResponse>>(`/v1/webhooks/${stuck.id}/deliveries?status=success&limit=100`)).data.length ===
        60,
    )
  })
})
