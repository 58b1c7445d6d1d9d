import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { createMerkleTree } from '../lib/merkle.ts'
import { sqlOn } from '../lib/sql.ts'
import { audit } from '../projections/audit.ts'
import type { KeptHead } from '../projections/log-heads.ts'
import type { Faults } from './verify-faults.ts'

const pageSize = 5_000

interface IndexInput {
  readonly head: Checkpoint | null
  readonly indexedBefore: number
  /** The leaves of the stored events, by their places. */
  readonly leaves: ReadonlyMap<string, Buffer>
  readonly heads: readonly KeptHead[]
}
interface IndexCheck {
  /** The indexes of the events that have a fault. An event that is not in the read model has none. */
  readonly indexes: ReadonlyMap<string, number>
  /** The size of the largest head whose root the copy has. */
  readonly intactSize: number
}

/**
 * Compares the events with the rows of the read model, which are the audit log's own copy of the events. Finds events that are gone, that differ, or
 * that have no row. Also compares the copy with the heads.
 */
export async function compareWithIndex(
  pool: Pool,
  { head, indexedBefore, leaves, heads }: IndexInput,
  faults: Faults,
): Promise<IndexCheck> {
  const indexed = new Set<string>()
  const indexes = new Map<string, number>()
  const copied = createMerkleTree()
  const headsBySize = Map.groupBy(heads, ({ size }) => size)
  let intactSize = 0
  for (let after = -1; ; ) {
    const rows = await sqlOn(pool)<{ index: bigint; stream: string; revision: number; position: Checkpoint; leaf: Buffer }>`
      select index, stream, revision, position, leaf from audit_events where index > ${after} order by index limit ${pageSize}`
    for (const { index, stream, revision, position, leaf } of rows) {
      copied.push(leaf)
      if (headsBySize.get(copied.size)?.some(({ root }) => copied.root().equals(root))) intactSize = copied.size
      if (Number(index) >= indexedBefore && position > (head ?? '')) continue
      const where = `${stream}@${revision}`
      indexed.add(where)
      const stored = leaves.get(where)
      if (stored === undefined) faults.add(where, `missing (leaf ${index})`)
      else if (!stored.equals(leaf)) faults.add(where, `altered (leaf ${index})`)
      if (faults.has(where) && !indexes.has(where)) indexes.set(where, Number(index))
    }
    const lastRow = rows.at(-1)
    if (lastRow === undefined || rows.length < pageSize) break
    after = Number(lastRow.index)
  }
  // The read model may be a moment behind. Events without a row are then not reported.
  const checkpoint = await checkpointOf(pool)
  if (checkpoint !== null && head !== null && checkpoint >= head)
    for (const where of leaves.keys()) if (!indexed.has(where)) faults.add(where, 'not in the log')
  return { indexes, intactSize }
}
async function checkpointOf(pool: Pool): Promise<Checkpoint | null> {
  const [row] = await sqlOn(pool)<{ checkpoint: Checkpoint | null }>`
    select checkpoint from projections where name = ${audit.name} and is_live`
  return row?.checkpoint ?? null
}
