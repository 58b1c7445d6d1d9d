import type { Caller } from '../commands/caller.ts'
import type { TenantLimits } from '../events/tenant.ts'

/** The caller on whose behalf a request is carried out. */
export interface Identity {
  readonly caller: Caller
  /** The limits of the caller's tenant. */
  readonly limits: TenantLimits
}
