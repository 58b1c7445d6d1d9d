import { expect } from 'chai'
import type { Receiver } from './receiver.ts'
import { allDeliveries, type Client, type DeliveryResponse, type Page } from './service-client.ts'
import { waitFor } from './wait-for.ts'

/** Waits until a request for each of the events has arrived at the path. The error names the missing events. */
export async function expectArrival(receiver: Receiver, path: string, ids: readonly string[]): Promise<void> {
  const missing = () => {
    const arrived = new Set(receiver.ids(path))
    return ids.filter((id) => !arrived.has(id))
  }
  await waitFor(() => missing().length === 0).catch(() => expect(missing(), 'events that have not arrived').to.deep.equal([]))
}

/** Expects that no event has arrived at the path twice. */
export function expectNoRepetition(receiver: Receiver, path: string): void {
  const ids = receiver.ids(path)
  expect(
    ids.filter((id, i) => ids.indexOf(id) !== i),
    'events that have arrived twice',
  ).to.deep.equal([])
}

/** Waits until the event's delivery has the status. Returns the delivery. @param webhook default: the event's first webhook */
export const expectDelivery = (api: Client, event: string, status: string, webhook?: string): Promise<DeliveryResponse> =>
  waitFor(
    async () => {
      const { data } = await api.get<Page<DeliveryResponse>>(`/v1/events/${event}/deliveries?limit=100`)
      const delivery = webhook === undefined ? data[0] : data.find(({ webhook_id }) => webhook_id === webhook)
      return delivery?.status === status ? delivery : undefined
    },
    { what: `${event} to be ${status}` },
  )

/** Waits until the webhook has this many deliveries of the status. Returns them. */
export const expectDeliveries = (api: Client, webhook: string, status: string, count: number): Promise<DeliveryResponse[]> =>
  waitFor(
    async () => {
      const deliveries = await allDeliveries(api, webhook, status)
      return deliveries.length === count ? deliveries : undefined
    },
    { what: `${count} deliveries to be ${status}` },
  )

/** Waits until every delivery of the webhook is a success. */
export async function expectSuccessOfAll(api: Client, webhook: string): Promise<void> {
  await waitFor(
    async () => {
      for (const status of ['pending', 'retrying', 'failed', 'discarded']) {
        const { data } = await api.get<Page<DeliveryResponse>>(`/v1/webhooks/${webhook}/deliveries?status=${status}`)
        if (data.length > 0) return false
      }
      return true
    },
    { what: 'every delivery to be a success in the history' },
  )
}
