import type { Pool } from 'pg'
import type { Keyring } from '../lib/keyring.ts'

/** The dependencies of queries that open sealed fields. */
export interface ReadModelDependencies {
  readonly pool: Pool
  readonly keyring: Keyring
}
export interface Page<T> {
  readonly rows: T[]
  /** The number of matching rows on all pages. */
  readonly total: number
}
/** A row and the number of all matching rows, from one snapshot. A page beyond the end is a single row with only `total` (its id is null). */
export type Counted<T extends { readonly id: string }> = Omit<T, 'id'> & { readonly id: T['id'] | null; readonly total: bigint }
/** Returns the page that these rows make. @param open opens the sealed fields of a row */
export const pageOf = async <T extends { readonly id: string }>(
  rows: readonly Counted<T>[],
  open: (row: T) => T | Promise<T>,
): Promise<Page<T>> => ({
  rows: await Promise.all(rows.filter(({ id }) => id !== null).map(({ total, ...row }) => open(row as unknown as T))),
  total: Number(rows[0]?.total ?? 0n),
})
