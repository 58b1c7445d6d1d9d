import type { Caller } from '../commands/caller.ts'
import type { Credential } from '../events/envelope.ts'
import type { Scope, TenantLimits } from '../events/tenant.ts'

/** The caller on whose behalf a request is carried out. */
export interface Identity {
  readonly caller: Caller
  /** The credential that the caller has sent. */
  readonly auth: Credential
  /** The limits of the caller's tenant. */
  readonly limits: TenantLimits
  /** Set while the caller's tenant is suspended. The caller may then only read the audit log and past states. */
  readonly isSuspended?: true
}

/** Returns whether a caller may read what needs a scope. The auditor of the service may read everything, but gets no scope by it. */
export const mayRead = ({ scopes }: Caller, scope: Scope): boolean =>
  scopes.has(scope) || (scopes.has('audit') && scope.startsWith('read:'))
/** Returns whether a caller sees all tenants. */
export const seesEveryTenant = ({ scopes }: Caller): boolean => scopes.has('admin') || scopes.has('audit')
