import { type TenantCommand, tenantDecider } from '../../commands/tenant.ts'
import { fieldsThatAre, pick } from '../../events/fields.ts'
import type { TenantId } from '../../events/ids.ts'
import { tenantStream } from '../../events/streams.ts'
import { type Tenant, type TenantLimits, tenantFields } from '../../events/tenant.ts'
import { projectionNames } from '../../projections/names.ts'
import { findTenant, listTenants } from '../../projections/tenants.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { etagHeader } from '../etag.ts'
import { createExecuteCommand, newTurnId } from '../execute-command.ts'
import type { Identity } from '../identity.ts'
import { parseTenantId } from '../ids.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { defaultLimit, envelope, listOf, offsetPagination } from '../schemas/common.ts'
import { changeHeaders, creationHeaders, ifMatch, stateHeaders } from '../schemas/headers.ts'
import { changeTenant, createTenant, listTenantsQuery, tenant } from '../schemas/tenant.ts'

const shownFields = fieldsThatAre(tenantFields, 'shown')
const noLimits = { webhooks: null, events_per_second: null, requests_per_second: null } satisfies Record<keyof TenantLimits, null>
const view = (tenant: Tenant) => ({ ...pick(tenant, shownFields), limits: { ...noLimits, ...tenant.limits } })

/** An admin's command on a tenant: carried out in that tenant, under the admin's name. */
export const within = <A extends Identity>(request: A, tenant: TenantId): A => ({ ...request, caller: { ...request.caller, tenant } })

export function createTenantRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const executeCommand = createExecuteCommand(deps)
  const readModel = projectionNames.tenants
  const tag = 'Tenants'
  const credentials = 'bearer'
  const scope = 'admin'

  const turn = async (request: Parameters<typeof executeCommand>[3], id: TenantId, command: TenantCommand) => {
    const { state, headers } = await executeCommand(tenantDecider, tenantStream(id), command, within(request, id), { readModel })
    return envelopeResult(200, view(state), headers)
  }

  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/tenants/:id',
      operationId: 'getTenant',
      summary: 'Read a tenant',
      tag,
      credentials,
      scope,
      responses: { 200: { description: 'The tenant.', schema: envelope(tenant), headers: stateHeaders } },
      async handler({ params }) {
        const row = await findTenant(deps.pool, parseTenantId(params.id))
        if (row === null) throw notFound()
        return envelopeResult(200, view(row), etagHeader(row.revision))
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/tenants',
      operationId: 'listTenants',
      summary: 'List tenants, newest first',
      tag,
      credentials,
      scope,
      query: listTenantsQuery,
      responses: { 200: { description: 'A page of tenants.', schema: envelope(listOf(tenant), offsetPagination) } },
      async handler({ query }) {
        const { limit = defaultLimit, offset = 0 } = query
        const { rows, total } = await listTenants(deps.pool, { limit, offset })
        return envelopeResult(200, rows.map(view), {}, { limit, offset, total })
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants',
      operationId: 'createTenant',
      idempotent: true,
      summary: 'Create a tenant: an account whose events, keys and webhooks nobody else sees',
      tag,
      credentials,
      scope,
      body: createTenant,
      responses: { 201: { description: 'Created.', schema: envelope(tenant), headers: creationHeaders } },
      async handler(request) {
        const { id, turnId } = await request.plan(() => ({ id: parseTenantId(deps.newUlid()), turnId: newTurnId() }))
        const { name, limits } = request.body
        const { state, headers } = await executeCommand(
          tenantDecider,
          tenantStream(id),
          { type: 'RegisterTenant', id, name: storable(name), ...(limits === undefined ? {} : { limits }) },
          within(request, id),
          { readModel, create: true, turnId },
        )
        return envelopeResult(201, view(state), { ...headers, location: `/v1/tenants/${id}` })
      },
    }),
    guardedRoute({
      method: 'PATCH',
      path: '/v1/tenants/:id',
      operationId: 'changeTenant',
      summary: "Change a tenant's limits; those that are not named stay",
      tag,
      credentials,
      scope,
      body: changeTenant,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: { 200: { description: 'The tenant as it is now.', schema: envelope(tenant), headers: changeHeaders } },
      handler: (request) =>
        turn(request, parseTenantId(request.params.id), { type: 'ChangeTenantSettings', limits: request.body.limits ?? {} }),
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants/:id/suspend',
      operationId: 'suspendTenant',
      summary: 'Suspend a tenant: its clients and keys get 403, and what is owed to its webhooks waits',
      tag,
      credentials,
      scope,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict', 'default_tenant'],
      responses: { 200: { description: 'The tenant as it is now.', schema: envelope(tenant), headers: changeHeaders } },
      handler: (request) => turn(request, parseTenantId(request.params.id), { type: 'SuspendTenant' }),
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants/:id/resume',
      operationId: 'resumeTenant',
      summary: 'End the suspension of a tenant: what waited is delivered',
      tag,
      credentials,
      scope,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: { 200: { description: 'The tenant as it is now.', schema: envelope(tenant), headers: changeHeaders } },
      handler: (request) => turn(request, parseTenantId(request.params.id), { type: 'ResumeTenant' }),
    }),
  ]
}

/** Names of tenants and clients are columns of their own, unsealed: Postgres takes no NUL there. */
export const storable = (text: string): string => text.toWellFormed().replaceAll('\u0000', '\ufffd')
