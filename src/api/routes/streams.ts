import type { IncomingHttpHeaders } from 'node:http'
import type { RecordedEvent } from '../../events/envelope.ts'
import { patternMatches } from '../../events/pattern.ts'
import { msPerDay } from '../../lib/days.ts'
import { codeOf } from '../../lib/errors.ts'
import { findWebhook } from '../../projections/webhooks.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound, problemOf } from '../errors.ts'
import { parseWebhookId } from '../ids.ts'
import { Feed } from '../live/feed.ts'
import { deliveryItems, type LiveItem, messageItems } from '../live/items.ts'
import { createStreamLimits } from '../live/stream-limits.ts'
import { createWebhookOwners } from '../live/webhook-owners.ts'
import { guardedRoute, type RawRequest, type Route, type RouteResult } from '../route.ts'
import { deliveryStreamQuery, lastEventId, liveDelivery, liveMessage, messageStreamQuery, streamOf } from '../schemas/stream.ts'
import { ownerOf } from '../webhook-views.ts'

const type = 'text/event-stream'
const description =
  'Each item has an id. After a broken connection, send the id of the last item as `Last-Event-ID` (browsers do so by themselves): the stream goes on after it, ' +
  'also on another process, and nothing comes twice. A reader that is too slow, or was away for too long, gets an item of the type `gap`, which says what it has missed. ' +
  'Items contain no payloads. A caller can have 5 streams at a time.'

interface StreamDependencies extends ApiDependencies {
  /** Aborts when the server stops. Streams then end, so that they do not delay the stop. */
  readonly closing: AbortSignal
}

/** The routes that send attempts and posted events, as they happen, as server-sent events. */
export function createStreamRoutes(deps: StreamDependencies): Route[] {
  const { store, closing, log } = deps
  const owners = createWebhookOwners(deps.pool)
  // A stream shows events before any projection has checked them.
  const genuineItems = (event: RecordedEvent) => (deps.macs.faultOf(event) === null ? deliveryItems(event) : [])
  const attempts = new Feed({ store, family: 'attempts', itemsOf: genuineItems, prepare: owners.read, closing, log })
  const messages = new Feed({ store, family: 'routing', itemsOf: messageItems, prepare: async () => undefined, closing, log })
  const open = createStreams(deps)
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/deliveries/stream',
      operationId: 'streamDeliveries',
      summary: 'Watch deliveries live, as server-sent events',
      description: `Sends every attempt when it is recorded. ${description} With an API key, you get the deliveries of the webhooks that the key created.`,
      tag: 'Deliveries',
      credentials: 'bearer-or-key',
      scope: 'read:webhooks',
      query: deliveryStreamQuery,
      requestHeaders: { 'Last-Event-ID': lastEventId },
      errors: ['too_many_streams', 'store_unavailable', 'not_found', 'invalid_request'],
      responses: { 200: { description: 'The stream, which does not end.', type, schema: streamOf(liveDelivery) } },
      async handler(request) {
        const { caller, query } = request
        const { webhook, status } = query
        if (webhook !== undefined && (await findWebhook(deps, ownerOf(request), parseWebhookId(webhook))) === null) throw notFound()
        const isOwn = (item: LiveItem) => caller.key_id === null || (item.webhook !== null && owners.keyOf(item.webhook) === caller.key_id)
        return open(
          attempts,
          request,
          (item) => item.webhook === (webhook ?? item.webhook) && (status ?? item.status) === item.status && isOwn(item),
        )
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/events/stream',
      operationId: 'streamEvents',
      summary: 'Watch events live, as server-sent events',
      description: `Sends every event when it is matched with the webhooks. ${description}`,
      tag: 'Events',
      credentials: 'bearer',
      scope: 'read:events',
      query: messageStreamQuery,
      requestHeaders: { 'Last-Event-ID': lastEventId },
      errors: ['too_many_streams', 'store_unavailable', 'invalid_request'],
      responses: { 200: { description: 'The stream, which does not end.', type, schema: streamOf(liveMessage) } },
      handler: async (request) => open(messages, request, (item) => (request.query.status ?? item.status) === item.status),
    }),
  ]
}

interface StreamRequest extends Pick<RawRequest, 'gone' | 'stillAllowed'> {
  readonly headers: IncomingHttpHeaders
  readonly query: { readonly event?: string; readonly after?: string; readonly seconds?: number }
  readonly caller: { readonly tenant: string; readonly actor: string }
}

/** Returns a function that opens a stream of a feed for the items of the caller's tenant that pass the filter. */
function createStreams({ settings, now }: StreamDependencies) {
  const limits = createStreamLimits()
  return (feed: Feed, { headers, query, caller, gone, stillAllowed }: StreamRequest, passes: (item: LiveItem) => boolean): RouteResult => {
    const { event, seconds } = query
    const last = String(headers['last-event-id'] || query.after || '')
    const resume = last === '' ? null : feed.ids.parse(last)
    if (last !== '' && resume === null) throw new ApiError('invalid_request', 'Last-Event-ID must be the id of an item of this stream.')
    const end = limits.begin(caller.actor)
    const callerGone = gone()
    callerGone.addEventListener('abort', end, { once: true })
    const signal = seconds === undefined ? callerGone : AbortSignal.any([callerGone, AbortSignal.timeout(seconds * 1_000)])
    const texts = feed.listen({
      ...{ resume, signal, check: stillAllowed },
      oldest: now() - settings.retentionDays * msPerDay,
      accepts: (item) => item.tenant === caller.tenant && (event === undefined || patternMatches(event, item.event)) && passes(item),
    })
    // Proxies must pass each item on at once.
    const responseHeaders = { 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' }
    return { status: 200, headers: responseHeaders, stream: { type, chunks: untilEnd(texts, end), isLive: true } }
  }
}

/** Yields the texts. An error on the way becomes a last item of the type `end`, because the status was sent long before. */
async function* untilEnd(texts: AsyncIterable<string>, end: () => void): AsyncGenerator<string> {
  let hasBegun = false
  try {
    for await (const text of texts) {
      hasBegun = true
      yield text
    }
  } catch (error) {
    if (!hasBegun) throw error
    const { code, message } = problemOf(error)
    yield `event: end\ndata: ${JSON.stringify({ code: codeOf(error) === undefined ? 'internal_error' : code, message })}\n\n`
  } finally {
    end()
  }
}
