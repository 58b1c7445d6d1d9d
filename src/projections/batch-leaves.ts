import type { Sql } from '../lib/sql.ts'

const hashBytes = 32

/** Stores the leaves of a batch. @param revision the revision of its BatchSealed */
export const storeBatchLeaves = (sql: Sql, revision: number, leaves: readonly Buffer[]) =>
  sql`insert into log_batch_leaves (revision, hashes) values (${revision}, ${Buffer.concat(leaves)}) on conflict (revision) do nothing`

/** Returns the leaves of a batch that was sealed before a move, or null. */
export async function readBatchLeaves(sql: Sql, revision: number): Promise<Buffer[] | null> {
  const [row] = await sql<{ hashes: Buffer }>`select hashes from log_batch_leaves where revision = ${revision}`
  if (row === undefined) return null
  return Array.from({ length: row.hashes.length / hashBytes }, (_, i) => row.hashes.subarray(i * hashBytes, (i + 1) * hashBytes))
}
