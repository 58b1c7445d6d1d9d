import { expectDelivery } from '../support/expectations.ts'
import { soonTimedOut } from '../support/patience.ts'
import type { Behaviour, Receiver } from '../support/receiver.ts'
import type { RunningService } from '../support/service.ts'
import { type Client, clientOf, type DeliveryResponse, type WebhookResponse } from '../support/service-client.ts'
import { withService } from '../support/with-services.ts'

/** A running service and its receiver, with functions that create webhooks and events for one test alone. */
export interface Deliveries {
  readonly service: RunningService
  readonly receiver: Receiver
  readonly api: Client
  /** Returns a path of the receiver that no other test uses. */
  path(): string
  /** Subscribes a path of the receiver, or a URL. The receiver checks the signature of every request to the path. */
  subscribe(at: string, event: string, more?: object): Promise<WebhookResponse>
  /** Posts an event with an id of its own. Returns the id. */
  post(event: string, more?: object): Promise<string>
  /** Sends an event to a receiver of this behaviour, and waits until the delivery has the status. @param more further fields of the webhook */
  expectOutcome(behaviour: Behaviour, status: string, more?: object): Promise<{ at: string; delivery: DeliveryResponse }>
}

/** The service retries each second for 20 s, so that a test can see the status `retrying` on a slow machine too. */
const retryDelays = Array(20).fill(1).join()

/**
 * Starts a service and a receiver. Call this function in the body of a suite, because it registers hooks. Retry delays and time-outs are short. All
 * other variables have their defaults.
 */
export function withDeliveries(): Deliveries {
  const { service, receiver } = withService({ variables: { ...soonTimedOut, KOLBAK_RETRY_DELAYS: retryDelays } })
  let api: Client
  let events = 0
  let paths = 0
  before(async () => {
    api = await clientOf(service.url)
  })
  const path = () => `/hook-${++paths}`
  const subscribe: Deliveries['subscribe'] = async (at, event, fields = {}) => {
    const isPath = at.startsWith('/')
    const callback_url = isPath ? receiver.url(at) : at
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url, event, ...fields })
    if (isPath) receiver.verify(at, webhook.secret)
    return webhook
  }
  const post: Deliveries['post'] = async (event, fields = {}) => {
    const id = `evt_${++events}`
    await api.post('/v1/events', { id, event, payload: { n: events }, ...fields })
    return id
  }
  return {
    service,
    receiver,
    get api() {
      return api
    },
    path,
    subscribe,
    post,
    async expectOutcome(behaviour, status, more) {
      const at = path()
      const event = `case.${paths}`
      receiver.setResponse(at, behaviour)
      await subscribe(at, event, more)
      return { at, delivery: await expectDelivery(api, await post(event), status) }
    },
  }
}
