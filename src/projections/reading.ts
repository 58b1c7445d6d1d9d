import type { Pool } from 'pg'
import type { Keyring } from '../lib/keyring.ts'

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
/** A row beside the total of all that match, both from one snapshot; past the end there is one row with the total alone (id null). */
export type Counted<T extends { readonly id: string }> = Omit<T, 'id'> & { readonly id: T['id'] | null; readonly total: bigint }
/** The page that such rows make; `open` opens the sealed fields of each. */
export const pageOf = async <T extends { readonly id: string }>(
  rows: readonly Counted<T>[],
  open: (row: T) => T | Promise<T>,
): Promise<Page<T>> => ({
  rows: await Promise.all(rows.filter(({ id }) => id !== null).map(({ total, ...row }) => open(row as unknown as T))),
  total: Number(rows[0]?.total ?? 0n),
})
