import { isDeepStrictEqual } from 'node:util'
import type { Decider } from '../../commands/handler.ts'
import { keyDecider } from '../../commands/key.ts'
import { webhookDecider } from '../../commands/webhook.ts'
import type { DecidedEvent } from '../../events/envelope.ts'
import { type AnyFieldTable, fieldsThatAre } from '../../events/fields.ts'
import type { TenantId } from '../../events/ids.ts'
import { keyFields } from '../../events/key.ts'
import { keyStream, type StreamName, webhookStream } from '../../events/streams.ts'
import { webhookFields } from '../../events/webhook.ts'
import { createActorNames } from '../actor-names.ts'
import { statesOf } from '../as-of.ts'
import { readRevisionCursor, writeRevisionCursor } from '../cursors.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { parseKeyId, parseWebhookId } from '../ids.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { cursorPagination, defaultLimit, envelope, idOf, listOf, pageExample } from '../schemas/common.ts'
import { type ListVersions, listVersionsQuery, version } from '../schemas/history.ts'
import { exampleOf } from '../schemas/json-schema.ts'

export function createHistoryRoutes(deps: ApiDependencies): Route[] {
  const spec = {
    method: 'GET',
    credentials: 'bearer',
    scope: 'read:audit',
    query: listVersionsQuery,
    errors: ['invalid_cursor', 'event_not_readable'],
  } as const
  const responses = (change: object) => ({
    200: {
      description: 'A page of changes, oldest first.',
      schema: envelope(listOf(version), cursorPagination),
      example: pageExample([exampleOf(version, change)]),
    },
  })
  return [
    guardedRoute({
      ...spec,
      tag: 'Webhooks',
      path: '/v1/webhooks/:id/history',
      operationId: 'listWebhookHistory',
      description:
        'Returns the changes of a webhook from its creation on. The history of a deleted webhook stays readable. Secrets are masked.',
      params: { id: idOf('webhook') },
      summary: 'List every change of a webhook, even a deleted one, oldest first: its time, its author, the former and the new values',
      responses: responses({ type: 'WebhookChanged', changes: { event: { from: 'order.created', to: 'order.*' } } }),
      handler: (request) => pageOf(deps, webhookDecider, webhookStream(parseWebhookId(request.params.id)), webhookFields, request),
    }),
    guardedRoute({
      ...spec,
      tag: 'Keys',
      path: '/v1/keys/:id/history',
      operationId: 'listKeyHistory',
      description:
        'Returns the changes of an API key from its creation on. The history of a deleted key stays readable. The values of keys are masked.',
      params: { id: idOf('API key') },
      summary: 'List every change of an API key, even a deleted one, oldest first: its time, its author, the former and the new values',
      responses: responses({ type: 'KeyChanged', changes: { name: { from: 'Shop', to: 'Shop (read only)' } } }),
      handler: (request) => pageOf(deps, keyDecider, keyStream(parseKeyId(request.params.id)), keyFields, request),
    }),
  ]
}

async function pageOf<State extends { readonly tenant: TenantId }, Event extends DecidedEvent>(
  deps: ApiDependencies,
  decider: Decider<State, never, Event>,
  stream: StreamName,
  table: AnyFieldTable,
  { caller, query }: Identity & { query: ListVersions },
) {
  const { limit = defaultLimit, cursor } = query
  const firstRevision = cursor === undefined ? 0 : readRevisionCursor(cursor) + 1
  const { events } = await deps.streams.read(stream)
  const states = statesOf(decider, events)
  // The first state contains the tenant, even of a deleted resource.
  if (states[0]?.tenant !== caller.tenant) throw notFound()
  const page = events.filter((event) => event.revision >= firstRevision).slice(0, limit)
  const nameActor = createActorNames(deps, caller.tenant)
  const versions = await Promise.all(
    page.map(async ({ revision, type, metadata: { actor, time, $correlationId } }) => ({
      revision,
      type,
      time,
      actor: await nameActor(actor, time),
      correlation_id: $correlationId,
      changes: changesOf(table, states[revision - 1] ?? null, states[revision] ?? null),
    })),
  )
  const lastEvent = page.at(-1)
  const hasNext = lastEvent !== undefined && lastEvent.revision < (events.at(-1)?.revision ?? 0)
  return envelopeResult(200, versions, {}, { limit, next_cursor: hasNext ? writeRevisionCursor(lastEvent.revision) : null })
}

/** Returns each field whose value an event changed, with the values before and after it. The values of secret fields are masked. */
function changesOf(table: AnyFieldTable, before: object | null, after: object | null) {
  const changes: Record<string, { from: unknown; to: unknown }> = {}
  const secretFields = fieldsThatAre(table, 'secret')
  for (const field of fieldsThatAre(table, 'in_history')) {
    const valueIn = (state: Readonly<Record<string, unknown>>) => state[field] ?? null
    const [from, to] = [valueIn({ ...before }), valueIn({ ...after })]
    if (isDeepStrictEqual(from, to) || (before === null && (to === null || to === false))) continue
    const mask = (value: unknown) => (value !== null && secretFields.includes(field) ? '[sealed]' : value)
    changes[field] = { from: mask(from), to: mask(to) }
  }
  return changes
}
