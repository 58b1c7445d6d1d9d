import type { Pool } from 'pg'
import { fieldAad } from '../events/sealed-fields.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Vault } from '../lib/seal.ts'

/** What queries need that open sealed fields. */
export interface ReadDeps {
  readonly pool: Pool
  readonly keyring: Keyring
}
export interface Page<T> {
  readonly rows: T[]
  /** Of all that match, on whatever page. */
  readonly total: number
}

/** Opens sealed columns: they hold the text as the event has it, bound to tenant, aggregate and the event's field. */
export const fieldOpener = (vault: Vault, tenant: string, id: string) => ({
  field: (name: string, sealed: string): string => vault.openText(fieldAad(tenant, id, name), sealed),
  optional: (name: string, sealed: string | null): string | null =>
    sealed === null ? null : vault.openText(fieldAad(tenant, id, name), sealed),
})
