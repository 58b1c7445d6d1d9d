import type { Pool } from 'pg'
import { KolbakError } from '../lib/errors.ts'
import { type Head, readHead } from '../lib/log-signer.ts'
import { MissingNodes, rootAt } from '../lib/merkle.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import { readLogNodes } from './audit.ts'

/** A head that was given out, and the place where it is kept. */
export interface KeptHead extends Head {
  readonly note: string
  /** The RFC 3339 time at which it was signed, or null if that is not known. */
  readonly signed_at: string | null
}

/** Returns the heads in the table, newest first. @param limit the most heads */
export async function listHeads(client: Sql, limit = 1_000_000): Promise<KeptHead[]> {
  const rows = await client<{ note: string; signed_at: string }>`
    select note, signed_at from public.log_heads where not is_ended order by size desc limit ${limit}`
  return rows.flatMap(({ note, signed_at }) => {
    const head = readHead(note)
    return head === null ? [] : [{ ...head, note, signed_at }]
  })
}

export const storeHead = (pool: Pool, { origin, size, root, note }: Head & { note: string }) =>
  sqlOn(
    pool,
  )`insert into log_heads (origin, size, root, note) values (${origin}, ${size}, ${root}, ${note}) on conflict (origin, size) do nothing`

/** Deletes heads that are older than a week, except the last of each hour. Returns their number. */
export async function thinHeads(pool: Pool): Promise<number> {
  const rows = await sqlOn(pool)`
    delete from log_heads old where signed_at < clock_timestamp() - interval '7 days'
      and exists (select from log_heads newer where newer.origin = old.origin and newer.size > old.size
        and date_trunc('hour', newer.signed_at) = date_trunc('hour', old.signed_at)) returning size`
  return rows.length
}

const remedy = 'Put back the newest state, or declare the loss: npm run -s kolbak -- audit declare-loss --reason "..." (see docs/audit.md).'

/**
 * Returns why the log does not extend a head that was given out, or null. @param sql sees the tables of one build in one snapshot
 */
export async function forkOf(sql: Sql, head: Pick<KeptHead, 'size' | 'root' | 'signed_at'>): Promise<string | null> {
  const [state] = await sql<{ size: bigint }>`select size from log_state`
  const size = Number(state?.size ?? 0n)
  const when = head.signed_at === null ? '' : ` at ${head.signed_at}`
  if (size < head.size)
    return `The audit log ends at ${size}, but a head of ${head.size} was given out${when}: events are missing, as after an older backup was put back. ${remedy}`
  const root = await rootAt(readLogNodes(sql), head.size).catch((error: unknown) => {
    // A tree without its nodes cannot have the root. Any other error, such as a lost connection, says nothing about the tree.
    if (error instanceof MissingNodes) return null
    throw error
  })
  return root?.equals(head.root) === true
    ? null
    : `The audit log has another root at ${head.size} than the head that was given out${when}: events were changed, removed or put in between. ${remedy}`
}
export const logForked = (why: string) => new KolbakError('log_forked', why)

/** Throws log_forked unless the build whose tables `sql` sees extends the last stored head. */
export async function checkAgainstLastHead(sql: Sql): Promise<void> {
  const [last] = await listHeads(sql, 1)
  const fork = last === undefined ? null : await forkOf(sql, last)
  if (fork !== null) throw logForked(fork)
}
