import { isDeepStrictEqual } from 'node:util'
import type { Decider } from '../../commands/handler.ts'
import { keyDecider } from '../../commands/key.ts'
import { type TenantState, tenantDecider } from '../../commands/tenant.ts'
import { webhookDecider } from '../../commands/webhook.ts'
import type { DecidedEvent, RecordedEvent } from '../../events/envelope.ts'
import { type AnyFieldTable, fieldsThatAre } from '../../events/fields.ts'
import type { TenantId } from '../../events/ids.ts'
import { keyFields } from '../../events/key.ts'
import { keyStream, type StreamName, tenantStream, webhookStream } from '../../events/streams.ts'
import { clientFields, tenantFields } from '../../events/tenant.ts'
import { webhookFields } from '../../events/webhook.ts'
import { createActorNames } from '../actor-names.ts'
import { statesOf } from '../as-of.ts'
import { readRevisionCursor, writeRevisionCursor } from '../cursors.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { parseClientId, parseKeyId, parseTenantId, parseWebhookId } from '../ids.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { cursorPagination, defaultLimit, envelope, idOf, listOf, pageExample } from '../schemas/common.ts'
import { type ListVersions, listVersionsQuery, version } from '../schemas/history.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { clientId } from '../schemas/tenant.ts'
import { requireVisible } from './tenants.ts'

const historySpec = {
  method: 'GET',
  credentials: 'bearer',
  scope: 'read:audit',
  query: listVersionsQuery,
  errors: ['invalid_cursor', 'event_not_readable'],
} as const
const historyResponses = (change: object) => ({
  200: {
    description: 'A page of changes, oldest first.',
    schema: envelope(listOf(version), cursorPagination),
    example: pageExample([exampleOf(version, change)]),
  },
})

export function createHistoryRoutes(deps: ApiDependencies): Route[] {
  return [
    guardedRoute({
      ...historySpec,
      tag: 'Webhooks',
      path: '/v1/webhooks/:id/history',
      operationId: 'listWebhookHistory',
      description:
        'Returns the changes of a webhook from its creation on. The history of a deleted webhook stays readable. Secrets are masked.',
      params: { id: idOf('webhook') },
      summary: 'List every change of a webhook, even a deleted one, oldest first: its time, its author, the former and the new values',
      responses: historyResponses({ type: 'WebhookChanged', changes: { event: { from: 'order.created', to: 'order.*' } } }),
      handler: ({ params, query, caller }) =>
        pageOf(deps, { decider: webhookDecider, table: webhookFields }, webhookStream(parseWebhookId(params.id)), caller.tenant, query),
    }),
    guardedRoute({
      ...historySpec,
      tag: 'Keys',
      path: '/v1/keys/:id/history',
      operationId: 'listKeyHistory',
      description:
        'Returns the changes of an API key from its creation on. The history of a deleted key stays readable. The values of keys are masked.',
      params: { id: idOf('API key') },
      summary: 'List every change of an API key, even a deleted one, oldest first: its time, its author, the former and the new values',
      responses: historyResponses({ type: 'KeyChanged', changes: { name: { from: 'Shop', to: 'Shop (read only)' } } }),
      handler: ({ params, query, caller }) =>
        pageOf(deps, { decider: keyDecider, table: keyFields }, keyStream(parseKeyId(params.id)), caller.tenant, query),
    }),
    ...createTenantHistoryRoutes(deps),
  ]
}

/** The histories of a tenant and of its clients, whose changes are events of one stream. */
const createTenantHistoryRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    ...historySpec,
    tag: 'Tenants',
    path: '/v1/tenants/:id/history',
    operationId: 'listTenantHistory',
    description:
      'Returns the changes of a tenant and the changes of its clients, which are numbered together. Changes of clients are listed without values: the history of the client has them. Only admins see other tenants than their own.',
    params: { id: idOf('tenant') },
    summary: 'List every change of a tenant, oldest first: its time, its author, the former and the new values',
    responses: historyResponses({ type: 'TenantSuspended', changes: { is_suspended: { from: false, to: true } } }),
    handler({ params, query, caller }) {
      const tenant = parseTenantId(params.id)
      requireVisible(caller, tenant)
      return pageOf(deps, { decider: tenantDecider, table: tenantFields }, tenantStream(tenant), tenant, query)
    },
  }),
  guardedRoute({
    ...historySpec,
    tag: 'Tenants',
    path: '/v1/tenants/:id/clients/:client_id/history',
    operationId: 'listClientHistory',
    description:
      'Returns the changes of a client from its creation on. The history of a revoked client stays readable. Secrets are masked. Only admins see clients of other tenants than their own.',
    params: { id: idOf('tenant'), client_id: { ...clientId, description: 'The id of the client.' } },
    summary: 'List every change of a client, even a revoked one, oldest first: its time, its author, the former and the new values',
    responses: historyResponses({ type: 'ClientRevoked', changes: { revoked: { from: false, to: true } } }),
    handler({ params, query, caller }) {
      const [tenant, id] = [parseTenantId(params.id), parseClientId(params.client_id)]
      requireVisible(caller, tenant)
      const partOf = (state: TenantState) => state.clients.get(id) ?? null
      const isPart = ({ data }: RecordedEvent) => 'client_id' in data && data.client_id === id
      return pageOf(deps, { decider: tenantDecider, table: clientFields, partOf, isPart }, tenantStream(tenant), tenant, query)
    },
  }),
]

/** The aggregate, or the part of it, whose changes a page lists. */
interface Subject<State, Event extends DecidedEvent> {
  readonly decider: Decider<State, never, Event>
  readonly table: AnyFieldTable
  /** Returns the part whose changes are listed, or null while it does not exist. Default: the whole state. */
  readonly partOf?: (state: State) => object | null
  /** Returns whether an event is a change of the part. */
  readonly isPart?: (event: RecordedEvent) => boolean
}

async function pageOf<State extends object, Event extends DecidedEvent>(
  deps: ApiDependencies,
  { decider, table, partOf = (state) => state, isPart = () => true }: Subject<State, Event>,
  stream: StreamName,
  tenant: TenantId,
  { limit = defaultLimit, cursor }: ListVersions,
) {
  const firstRevision = cursor === undefined ? 0 : readRevisionCursor(cursor) + 1
  const past = await deps.streams.read(stream)
  const states = statesOf(decider, past.events)
  // The first state has an owner, even if the resource was deleted later.
  const [first = null] = states
  const events = past.events.filter(isPart)
  if (first === null || decider.ownerOf(first)?.tenant !== tenant || events.length === 0) throw notFound()
  const partAt = (revision: number) => {
    const state = states[revision] ?? null
    return state === null ? null : partOf(state)
  }
  const page = events.filter((event) => event.revision >= firstRevision).slice(0, limit)
  const nameActor = createActorNames(deps, tenant)
  const versions = await Promise.all(
    page.map(
      async ({ revision, type, metadata: { actor, time, $correlationId } }): Promise<shown.Version> => ({
        revision,
        type,
        time,
        actor: await nameActor(actor, time),
        correlation_id: $correlationId,
        changes: changesOf(table, partAt(revision - 1), partAt(revision)),
      }),
    ),
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
