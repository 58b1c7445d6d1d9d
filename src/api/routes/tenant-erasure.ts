import { type TenantErasure, tenantDecider } from '../../commands/tenant.ts'
import type { TenantId } from '../../events/ids.ts'
import { tenantStream } from '../../events/streams.ts'
import { projectionNames } from '../../projections/names.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { invalid, notFound } from '../errors.ts'
import { createExecuteCommand } from '../execute-command.ts'
import { parseTenantId } from '../ids.ts'
import { awaitProjection } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope, envelopeExample, idOf } from '../schemas/common.ts'
import { type TenantRemainder, tenantErasure } from '../schemas/erasure.ts'
import { ifMatch } from '../schemas/headers.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { eraseTenant, holdTenant } from '../schemas/tenant.ts'
import { utcOf } from '../time-range.ts'
import { changedTenant, createChangeTenant, onBehalfOf } from './tenants.ts'

const spec = {
  tag: 'Tenants',
  credentials: 'bearer',
  scope: 'admin',
  params: { id: idOf('tenant') },
} as const

/** The routes that erase a tenant, and that forbid its erasure. */
export const createTenantErasureRoutes = (deps: ApiDependencies): Route[] => [...createHoldRoutes(deps), createEraseTenantRoute(deps)]

function createHoldRoutes(deps: ApiDependencies): Route[] {
  const change = createChangeTenant(deps)
  return [
    guardedRoute({
      ...spec,
      method: 'POST',
      path: '/v1/tenants/:id/hold',
      operationId: 'holdTenant',
      summary: 'Hold a tenant: neither it nor its payloads can be erased',
      description:
        'Forbids every erasure of the account until a time or until the hold is released, for example during a lawsuit. A second hold takes the place of the first. ' +
        'A hold does not stop the retention, which drops payloads and deliveries of all accounts after the same time.',
      body: holdTenant,
      example: { reason: 'Lawsuit 17/2026', until: '2027-03-31T00:00:00Z' },
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict', 'tenant_erased'],
      responses: changedTenant({ hold: { reason: 'Lawsuit 17/2026', until: '2027-03-31T00:00:00.000Z' } }),
      handler(request) {
        const { reason, until = null } = request.body
        const hold = { reason, until: until === null ? null : utcOf('until', until) }
        return change(request, { type: 'HoldTenant', hold })
      },
    }),
    guardedRoute({
      ...spec,
      method: 'DELETE',
      path: '/v1/tenants/:id/hold',
      operationId: 'releaseTenantHold',
      summary: 'Release the legal hold of a tenant',
      description: 'Allows erasures of the account again. An account without a hold stays as it is, so the request can be repeated.',
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict', 'tenant_erased'],
      responses: changedTenant({ hold: null }),
      handler: (request) => change(request, { type: 'ReleaseHold' }),
    }),
  ]
}

function createEraseTenantRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  const readModel = projectionNames.erasureManager
  const find = async (id: TenantId) => {
    const { events, position } = await deps.streams.read(tenantStream(id))
    return { erasure: events.reduce(tenantDecider.evolve, tenantDecider.initial)?.erasure ?? null, position }
  }
  /** Returns the erasure as it is stored now. It waits a bounded time for its completion. */
  const completed = async (id: TenantId): Promise<TenantErasure> => {
    let { erasure, position } = await find(id)
    if (erasure?.erased_at === null && position !== null) {
      await awaitProjection(deps, readModel, position, tenantStream(id))
      ;({ erasure, position } = await find(id))
    }
    if (erasure === null || position === null) throw notFound()
    await awaitProjection(deps, projectionNames.tenants, position, tenantStream(id))
    return erasure
  }
  return guardedRoute({
    ...spec,
    method: 'DELETE',
    path: '/v1/tenants/:id',
    operationId: 'eraseTenant',
    summary: 'Erase a suspended tenant for good: its data keys are destroyed',
    description:
      'Destroys the keys under which the data of the account is sealed: payloads, URLs, secrets, keys, descriptions and responses, in every table, engine and backup. ' +
      'This cannot be undone. The audit log stays readable, and shows `[erased]` in the place of each such value. Its deliveries end, and its webhooks count as deleted.',
    body: eraseTenant,
    example: { confirm: '01JQNV4T0M2ZB7V6RWKD5YQ3XE' },
    requestHeaders: ifMatch,
    errors: ['precondition_failed', 'conflict', 'not_suspended', 'on_hold'],
    responses: {
      200: { description: 'The tenant is erased.', schema: envelope(tenantErasure) },
      202: {
        description: 'The erasure is stored in the audit log and goes on. It is completed even after a crash.',
        schema: envelope(tenantErasure),
        example: envelopeExample(exampleOf(tenantErasure, { erased_at: null, erased_event_id: null })),
      },
    },
    async handler(request) {
      const id = parseTenantId(request.params.id)
      if (request.body.confirm !== id) throw invalid([{ path: 'confirm', message: 'must be the id of the tenant' }])
      const command = { type: 'EraseTenant', now: new Date(deps.now()).toISOString() } as const
      await executeCommand(tenantDecider, tenantStream(id), command, onBehalfOf(request, id), { readModel })
      const { asked_event, asked_at, erased_event, erased_at } = await completed(id)
      const view = { id, asked_at, asked_event_id: asked_event, erased_at, erased_event_id: erased_event, remains }
      return envelopeResult(erased_at === null ? 202 : 200, view)
    },
  })
}

const remains: readonly TenantRemainder[] = [
  { where: 'readable', until: null },
  { where: 'receivers', until: null },
  { where: 'backups', until: null },
]
