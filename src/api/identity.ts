import type { Caller } from '../commands/caller.ts'
import type { Credential } from '../events/envelope.ts'
import type { TenantLimits } from '../events/tenant.ts'

/** The caller on whose behalf a request is carried out. */
export interface Identity {
  readonly caller: Caller
  /** The credential that the caller has sent. */
  readonly auth: Credential
  /** The limits of the caller's tenant. */
  readonly limits: TenantLimits
}
