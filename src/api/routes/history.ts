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
import { cursorPagination, defaultLimit, envelope, listOf } from '../schemas/common.ts'
import { type ListVersions, listVersionsQuery, version } from '../schemas/history.ts'

const sealed = '[sealed]'

/** Returns each field whose value an event changed, with the values before and after it. The values of secret fields are masked. */
function changesOf(table: AnyFieldTable, before: object | null, after: object | null) {
  const changed: Record<string, { from: unknown; to: unknown }> = {}
  const secrets = fieldsThatAre(table, 'secret')
  for (const field of fieldsThatAre(table, 'in_history')) {
    const valueIn = (state: Readonly<Record<string, unknown>>) => state[field] ?? null
    const [from, to] = [valueIn({ ...before }), valueIn({ ...after })]
    if (isDeepStrictEqual(from, to) || (before === null && (to === null || to === false))) continue
    const shown = (value: unknown) => (value !== null && secrets.includes(field) ? sealed : value)
    changed[field] = { from: shown(from), to: shown(to) }
  }
  return changed
}

export function createHistoryRoutes(deps: ApiDependencies): Route[] {
  const tag = 'Audit'
  const spec = {
    method: 'GET',
    tag,
    credentials: 'bearer',
    scope: 'read:audit',
    query: listVersionsQuery,
    errors: ['invalid_cursor', 'event_not_readable'],
    responses: { 200: { description: 'A page of events, oldest first.', schema: envelope(listOf(version), cursorPagination) } },
  } as const

  const page = async <State extends object, Event extends DecidedEvent>(
    decider: Decider<State, never, Event>,
    tenantOf: (state: State) => TenantId,
    stream: StreamName,
    table: AnyFieldTable,
    { caller, query }: Identity & { query: ListVersions },
  ) => {
    const { limit = defaultLimit, cursor } = query
    const from = cursor === undefined ? 0 : readRevisionCursor(cursor) + 1
    const { events } = await deps.streams.read(stream)
    const states = statesOf(decider, events)
    const first = states[0]
    // Of deleted ones too: whose it was is said by its first event.
    if (first === undefined || first === null || tenantOf(first) !== caller.tenant) throw notFound()
    const wanted = events.filter((event) => event.revision >= from).slice(0, limit)
    const actorOf = createActorNames(deps, caller.tenant)
    const shown = await Promise.all(
      wanted.map(async ({ revision, type, metadata: { actor, time, $correlationId } }) => ({
        revision,
        type,
        time,
        actor: await actorOf(actor),
        correlation_id: $correlationId,
        changes: changesOf(table, states[revision - 1] ?? null, states[revision] ?? null),
      })),
    )
    const last = wanted.at(-1)
    const more = last !== undefined && last.revision < (events.at(-1)?.revision ?? 0)
    return envelopeResult(200, shown, {}, { limit, next_cursor: more ? writeRevisionCursor(last.revision) : null })
  }
  return [
    guardedRoute({
      ...spec,
      path: '/v1/webhooks/:id/history',
      operationId: 'listWebhookHistory',
      summary: 'Every change of a webhook, oldest first: when, by whom, from what to what; of a deleted one too',
      handler: (request) =>
        page(webhookDecider, (state) => state.tenant, webhookStream(parseWebhookId(request.params.id)), webhookFields, request),
    }),
    guardedRoute({
      ...spec,
      path: '/v1/keys/:id/history',
      operationId: 'listKeyHistory',
      summary: 'Every change of an API key, oldest first: when, by whom, from what to what; of a deleted one too',
      handler: (request) => page(keyDecider, (state) => state.tenant, keyStream(parseKeyId(request.params.id)), keyFields, request),
    }),
  ]
}
