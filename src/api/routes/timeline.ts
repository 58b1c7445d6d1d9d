import { tenantDecider } from '../../commands/tenant.ts'
import { type DeliveryEvents, isListedAttempt } from '../../events/delivery.ts'
import type { RecordedEvent } from '../../events/envelope.ts'
import { fieldAad } from '../../events/sealed-fields.ts'
import { routingStream, tenantStream } from '../../events/streams.ts'
import type { Vault } from '../../lib/seal.ts'
import type { Attempt, Delivery } from '../../ports/delivery-log.ts'
import { findAttemptEvent, findInStream } from '../../ports/find-event.ts'
import { statesOf } from '../as-of.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { findDelivery } from '../find-delivery.ts'
import { parseDeliveryId } from '../ids.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope, uuid } from '../schemas/common.ts'
import { timeline } from '../schemas/timeline.ts'

/** The most attempts whose events are read, and the most pages of events that are searched for one of them. */
const shownAttempts = 10
const maxPages = 12
/** An event of routing is appended at most this long (ms) after the message was accepted, unless the dispatchers were down. */
const routedWithinMs = 60_000
const routingDisorderMs = 2_000

/** The route that shows what the events of a delivery say beyond its history: routing, waits, timings and headers of responses. */
export const createTimelineRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    method: 'GET',
    path: '/v1/deliveries/:id/timeline',
    operationId: 'getTimeline',
    summary: 'Read where the time of a delivery went',
    description:
      'Returns when the event was routed, how long each attempt waited and why, how long each step of its request took, and some headers of the response. All of it is read from stored events, so it is slower than the delivery itself.',
    params: { id: { ...uuid, description: 'The id of the delivery.' } },
    tag: 'Deliveries',
    credentials: 'bearer-or-key',
    scope: 'read:webhooks',
    errors: ['delivery_log_unavailable', 'store_unavailable', 'event_not_readable'],
    responses: { 200: { description: 'The timeline.', schema: envelope(timeline) } },
    async handler(request) {
      const delivery = await findDelivery(deps, request, parseDeliveryId(request.params.id))
      const { tenant } = request.caller
      const [[attempts = []], vault, routed_at, suspensions] = await Promise.all([
        deps.deliveryLog.attempts([delivery]),
        deps.keyring.vault(tenant),
        routedAt(deps, delivery),
        readSuspensions(deps, delivery),
      ])
      const listed = attempts.filter(({ type }) => isListedAttempt(type)).slice(-shownAttempts)
      const events = await Promise.all(listed.map((attempt) => findAttemptEvent(deps.store, delivery.webhook, attempt, maxPages)))
      return envelopeResult(200, {
        accepted_at: delivery.accepted_at,
        routed_at,
        attempts: listed.map((attempt, i) => attemptView(attempt, genuineData(deps, events[i] ?? null), { vault, delivery, suspensions })),
      } satisfies shown.Timeline)
    },
  }),
]

/** Returns the data of an attempt's event, or null if the event is missing or Kolbak has not written it like this. */
const genuineData = ({ macs }: ApiDependencies, event: AttemptEvent | null) =>
  event === null || macs.faultOf(event) !== null ? null : event.data
type AttemptEvent = NonNullable<Awaited<ReturnType<typeof findAttemptEvent>>>

interface Context {
  readonly vault: Vault
  readonly delivery: Delivery
  readonly suspensions: Suspensions
}
function attemptView(
  attempt: Attempt,
  data: DeliveryEvents['DeliverySucceeded'] | null,
  { vault, delivery, suspensions }: Context,
): shown.TimelineAttempt {
  const since = data?.waited_since
  const headers = data?.response_headers
  return {
    number: attempt.attempt,
    chain: attempt.chain,
    at: attempt.time,
    waited:
      since === undefined
        ? null
        : {
            since,
            ms: Math.max(0, Date.parse(attempt.time) - Date.parse(since)),
            reason: suspensions.wasSuspended(since) ? 'suspended' : 'slot',
          },
    timings: data?.timings ?? null,
    response_headers:
      headers === undefined || vault.isErased
        ? null
        : (JSON.parse(vault.openText(fieldAad(delivery.tenant, delivery.delivery, 'response_headers'), headers)) as Record<string, string>),
    webhook_revision: data?.webhook_revision ?? null,
  }
}

interface Suspensions {
  /** Returns whether the tenant was suspended at this time. */
  wasSuspended(time: string): boolean
}
async function readSuspensions({ streams }: Pick<ApiDependencies, 'streams'>, { tenant }: Delivery): Promise<Suspensions> {
  const { events } = await streams.read(tenantStream(tenant))
  const states = statesOf(tenantDecider, events)
  return {
    wasSuspended(time) {
      const last = events.findLastIndex(({ metadata }) => metadata.time <= time)
      return states[last]?.is_suspended === true
    },
  }
}

/** Returns the time of the event that routed the message of a delivery, or null if it is not found. */
async function routedAt(
  { store }: Pick<ApiDependencies, 'store'>,
  { tenant, message, place, accepted_at }: Delivery,
): Promise<string | null> {
  const isSame = (routed: { readonly message: string; readonly place: string }) => routed.message === message && routed.place === place
  const isWanted = ({ type, data }: RecordedEvent): boolean =>
    type === 'MessagesRouted'
      ? (data as DeliveryEvents['MessagesRouted']).messages.some(isSame)
      : type === 'MessageRouted' && isSame(data as DeliveryEvents['MessageRouted'])
  const search = { time: accepted_at, disorderMs: routingDisorderMs, untilMs: routedWithinMs, maxPages }
  return (await findInStream(store, routingStream(tenant, accepted_at), search, isWanted))?.metadata.time ?? null
}
