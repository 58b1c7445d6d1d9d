import type { Caller } from '../../commands/caller.ts'
import { type TenantCommand, tenantDecider } from '../../commands/tenant.ts'
import { fieldsThatAre, pick } from '../../events/fields.ts'
import type { TenantId } from '../../events/ids.ts'
import { tenantStream } from '../../events/streams.ts'
import { type Tenant, type TenantLimits, tenantFields } from '../../events/tenant.ts'
import { projectionNames } from '../../projections/names.ts'
import { findTenant, listTenants } from '../../projections/tenants.ts'
import { listIndexHeader, namesMoment, parseAsOf, stateAt } from '../as-of.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { etagHeader } from '../etag.ts'
import { type CommandRequest, createExecuteCommand, newCommandId } from '../execute-command.ts'
import { type Identity, seesEveryTenant } from '../identity.ts'
import { parseTenantId } from '../ids.ts'
import { awaitHead } from '../projection-lag.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { defaultLimit, envelope, envelopeExample, idOf, listOf, offsetPagination } from '../schemas/common.ts'
import { changeHeaders, creationHeaders, ifMatch, momentHeaders, pastListHeaders } from '../schemas/headers.ts'
import { atMomentQuery } from '../schemas/history.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { changeTenant, createTenant, listTenantsQuery, tenant } from '../schemas/tenant.ts'

const tag = 'Tenants'
const credentials = 'bearer'
const scope = 'admin'
const readModel = projectionNames.tenants

export const createTenantRoutes = (deps: ApiDependencies & { newUlid(): string }): Route[] => [
  ...createReadRoutes(deps),
  createTenantRoute(deps),
  ...createChangeRoutes(deps),
]

const createReadRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    method: 'GET',
    path: '/v1/tenants/:id',
    operationId: 'getTenant',
    summary: 'Read a tenant',
    description:
      'Returns the name of a tenant, its limits, and whether it is suspended, as they are now or as they were at a moment. With `read:audit` alone, a client can read only its own tenant, and only the past.',
    params: { id: idOf('tenant') },
    tag,
    credentials,
    scope,
    query: atMomentQuery,
    errors: ['event_not_readable'],
    responses: { 200: { description: 'The tenant, or its requested past state.', schema: envelope(tenant), headers: momentHeaders } },
    async handler({ params, query, caller }) {
      const id = parseTenantId(params.id)
      requireVisible(caller, id)
      if (namesMoment(query)) {
        const { state, revision, headers } = await stateAt(deps, tenantDecider, tenantStream(id), id, query)
        return envelopeResult(200, tenantView(state), { ...etagHeader(revision), ...headers })
      }
      const row = await findTenant(deps.pool, id)
      if (row === null) throw notFound()
      return envelopeResult(200, tenantView(row), etagHeader(row.revision))
    },
  }),
  guardedRoute({
    method: 'GET',
    path: '/v1/tenants',
    operationId: 'listTenants',
    summary: 'List tenants, newest first',
    description:
      'Returns the accounts of the service, with their limits, as they are now or as they were at a time. With `read:audit` alone, the list of a past time has only the tenant of the client.',
    tag,
    credentials,
    scope,
    query: listTenantsQuery,
    errors: ['event_not_readable'],
    responses: {
      200: { description: 'A page of tenants.', schema: envelope(listOf(tenant), offsetPagination), headers: pastListHeaders },
    },
    async handler({ query, caller }) {
      const { as_of, limit = defaultLimit, offset = 0 } = query
      if (as_of !== undefined) {
        const headers = await awaitHead(deps, { name: readModel, families: ['tenant'] })
        const registeredBy = parseAsOf(as_of, deps.now())
        // Tenants are never deleted. So the tenants of a past time are the present tenants that were registered by then.
        const visible: { only?: TenantId } = seesEveryTenant(caller) ? {} : { only: caller.tenant }
        const { rows, total } = await listTenants(deps.pool, { limit, offset, registeredBy, ...visible })
        const past = await Promise.all(rows.map(({ id }) => stateAt(deps, tenantDecider, tenantStream(id), id, { as_of })))
        return envelopeResult(
          200,
          past.map(({ state }) => tenantView(state)),
          { ...headers, ...(await listIndexHeader(deps, registeredBy, visible.only)) },
          { limit, offset, total },
        )
      }
      const { rows, total } = await listTenants(deps.pool, { limit, offset })
      return envelopeResult(200, rows.map(tenantView), {}, { limit, offset, total })
    },
  }),
]

function createTenantRoute(deps: ApiDependencies & { newUlid(): string }): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/tenants',
    operationId: 'createTenant',
    idempotent: true,
    summary: 'Create a tenant: an account whose events, keys and webhooks no other account sees',
    description: 'Creates an account of its own. It has no client yet: issue one next, so that somebody can get tokens for it.',
    tag,
    credentials,
    scope,
    body: createTenant,
    example: { name: 'Acme', limits: { webhooks: 500, events_per_second: null } },
    responses: {
      201: {
        description: 'The tenant.',
        schema: envelope(tenant),
        example: envelopeExample(exampleOf(tenant, { limits: { webhooks: 500, events_per_second: null, requests_per_second: null } })),
        headers: creationHeaders,
      },
    },
    async handler(request) {
      const { id, commandId } = await request.plan(() => ({ id: parseTenantId(deps.newUlid()), commandId: newCommandId() }))
      const { name, limits } = request.body
      const { state, headers } = await executeCommand(
        tenantDecider,
        tenantStream(id),
        { type: 'RegisterTenant', id, name: storable(name), ...(limits === undefined ? {} : { limits }) },
        onBehalfOf(request, id),
        { readModel, create: true, commandId },
      )
      return envelopeResult(201, tenantView(state), { ...headers, location: `/v1/tenants/${id}` })
    },
  })
}

/** Returns the function that carries out a command on the tenant of a path, and returns the changed tenant as the result of the route. */
export function createChangeTenant(deps: ApiDependencies) {
  const executeCommand = createExecuteCommand(deps)
  return async (request: CommandRequest & { params: { id: string } }, command: TenantCommand) => {
    const id = parseTenantId(request.params.id)
    const { state, headers } = await executeCommand(tenantDecider, tenantStream(id), command, onBehalfOf(request, id), { readModel })
    return envelopeResult(200, tenantView(state), headers)
  }
}
/** Returns the declared response of a route that changes a tenant. @param changed the fields of the example that differ */
export const changedTenant = (changed: object) => ({
  200: {
    description: 'The changed tenant.',
    schema: envelope(tenant),
    example: envelopeExample(exampleOf(tenant, changed)),
    headers: changeHeaders,
  },
})

function createChangeRoutes(deps: ApiDependencies): Route[] {
  const change = createChangeTenant(deps)
  return [
    guardedRoute({
      method: 'PATCH',
      path: '/v1/tenants/:id',
      operationId: 'changeTenant',
      summary: "Change a tenant's limits; limits that are not given stay",
      description: 'Changes the limits that the body has, and keeps all others. Null puts a limit back to the default of the service.',
      params: { id: idOf('tenant') },
      tag,
      credentials,
      scope,
      body: changeTenant,
      example: { limits: { events_per_second: 2_000 } },
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: changedTenant({ limits: { webhooks: null, events_per_second: 2_000, requests_per_second: null } }),
      handler: (request) => change(request, { type: 'ChangeTenantSettings', limits: request.body.limits ?? {} }),
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants/:id/suspend',
      operationId: 'suspendTenant',
      summary: 'Suspend a tenant: its clients and keys get 403, and its deliveries wait',
      description:
        'Stops everything of a tenant without losing anything. Events that it already posted are kept, and their deliveries wait until it is resumed.',
      params: { id: idOf('tenant') },
      tag,
      credentials,
      scope,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict', 'default_tenant'],
      responses: changedTenant({ is_suspended: true }),
      handler: (request) => change(request, { type: 'SuspendTenant' }),
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants/:id/resume',
      operationId: 'resumeTenant',
      summary: 'End the suspension of a tenant: its waiting deliveries continue',
      description: 'Lets a suspended tenant work again. The deliveries that waited go out now.',
      params: { id: idOf('tenant') },
      tag,
      credentials,
      scope,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: changedTenant({ is_suspended: false }),
      handler: (request) => change(request, { type: 'ResumeTenant' }),
    }),
  ]
}

const shownFields = fieldsThatAre(tenantFields, 'shown')
const noLimits = { webhooks: null, events_per_second: null, requests_per_second: null } satisfies Record<keyof TenantLimits, null>
const tenantView = (row: Tenant): shown.Tenant => ({ ...pick(row, shownFields), limits: { ...noLimits, ...row.limits } })

/** Throws not_found for a tenant that the caller may not see. Only admins and auditors of the service see other tenants than their own. */
export function requireVisible(caller: Caller, id: TenantId): void {
  if (id !== caller.tenant && !seesEveryTenant(caller)) throw notFound()
}

/** Returns the request with its caller in the given tenant. The command of an admin is carried out in that tenant, with the admin as its actor. */
export const onBehalfOf = <A extends Identity>(request: A, tenant: TenantId): A => ({ ...request, caller: { ...request.caller, tenant } })

/** Returns a name that Postgres can store. Names of tenants and clients are unsealed columns, which cannot contain NUL. */
export const storable = (text: string): string => text.toWellFormed().replaceAll('\u0000', '\ufffd')
