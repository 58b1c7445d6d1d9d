import type { Actor } from '../events/envelope.ts'
import type { KeyId, TenantId } from '../events/ids.ts'
import type { Scope } from '../events/tenant.ts'

/** The client, key or part of Kolbak for which a command is carried out. */
export interface Caller {
  readonly tenant: TenantId
  readonly actor: Actor
  readonly scopes: ReadonlySet<Scope>
  /** The key, if the caller is a key, or else null. A key sees and changes only the webhooks that it created. */
  readonly key_id: KeyId | null
}
