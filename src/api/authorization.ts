import type { IncomingHttpHeaders } from 'node:http'
import { isUlid, type TenantId } from '../events/ids.ts'
import type { Scope } from '../events/tenant.ts'
import { findTenant } from '../projections/tenants.ts'
import { asksForPast } from './as-of.ts'
import { suspended } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import { invalid, lacksScope } from './errors.ts'
import { type Identity, mayRead } from './identity.ts'
import type { Route } from './route.ts'

/** The tag of the routes of tenants and their clients, which the auditor of the service may read. */
const tenantTag = 'Tenants'

/**
 * Returns the auditor of the service as a caller in the tenant that `Kolbak-Tenant` names, or the identity as it is if the header is absent. Throws
 * insufficient_scope, also for every change, and validation_failed.
 */
export async function inRequestedTenant(
  { pool }: Pick<ApiDependencies, 'pool'>,
  { method }: Route,
  headers: IncomingHttpHeaders,
  identity: Identity | null,
): Promise<Identity | null> {
  const requested = headers['kolbak-tenant']
  if (identity === null || requested === undefined) return identity
  if (method !== 'GET' || !identity.caller.scopes.has('audit')) throw lacksScope('audit')
  const tenant = String(requested)
  if (!isUlid(tenant) || (await findTenant(pool, tenant as TenantId)) === null)
    throw invalid([{ path: 'Kolbak-Tenant', message: 'must be the id of a tenant' }])
  return { ...identity, caller: { ...identity.caller, tenant: tenant as TenantId, scopes: auditScope } }
}
const auditScope: ReadonlySet<Scope> = new Set<Scope>(['audit'])

const requiredScope = ({ scope, hasPast }: Route, search: URLSearchParams): Scope | null =>
  hasPast === true && asksForPast(search) ? 'read:audit' : scope

/**
 * Returns whether a request reads the audit log, a history or a past state, or is one of the auditor of the service. Reads of the newest head do not
 * count: it says nothing about a tenant, and a program that fetches it every minute would cause a new head every minute.
 */
export const isAuditRead = (route: Route, identity: Identity | null, search: URLSearchParams): boolean =>
  identity !== null &&
  route.method === 'GET' &&
  route.operationId !== 'getLogHead' &&
  (requiredScope(route, search) === 'read:audit' || identity.caller.scopes.has('audit'))

/** Throws insufficient_scope or tenant_suspended. A read of a past state needs only `read:audit`. On the routes of admins, an admin may read the past too. */
export function requireScope(route: Route, identity: Identity | null, search: URLSearchParams): void {
  if (identity === null) return
  const { caller, isSuspended } = identity
  const { method, tag, scope } = route
  const required = requiredScope(route, search)
  if (isSuspended === true && (method !== 'GET' || required !== 'read:audit')) throw suspended()
  if (required === null || caller.scopes.has(required)) return
  if (scope === 'admin' && required === 'read:audit' && caller.scopes.has('admin')) return
  if (method === 'GET' && (mayRead(caller, required) || (tag === tenantTag && caller.scopes.has('audit')))) return
  throw lacksScope(required)
}
