import type { Pool } from 'pg'
import type { TenantId } from '../events/ids.ts'
import { KolbakError } from '../lib/errors.ts'
import { type Head, readHead } from '../lib/log-signer.ts'
import { MissingNodes, rootAt } from '../lib/merkle.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import { readLogNodes } from './audit.ts'

/** A head that was given out, and the place where it is kept. */
export interface KeptHead extends Head {
  /** The signed note, without the signatures of witnesses. */
  readonly note: string
  /** The signatures of witnesses, as lines of the note. Empty if no witness has signed the head. */
  readonly cosignatures?: string
  /** The RFC 3339 time at which it was signed, or null if that is not known. */
  readonly signed_at: string | null
}

interface HeadRow {
  readonly note: string
  readonly cosignatures: string
  readonly signed_at: string
}
const headsOf = (rows: readonly HeadRow[]): KeptHead[] =>
  rows.flatMap(({ note, ...row }) => {
    const head = readHead(note)
    return head === null ? [] : [{ ...head, note, ...row }]
  })

/** Returns the heads in the table, newest first. @param limit the most heads */
export const listHeads = async (client: Sql, limit = 1_000_000): Promise<KeptHead[]> =>
  headsOf(
    await client<HeadRow>`
      select note, cosignatures, signed_at from public.log_heads where not is_ended order by size desc limit ${limit}`,
  )
/** Returns the newest head that a witness has signed, or null. */
export async function newestCosignedHead(client: Sql): Promise<KeptHead | null> {
  const rows = await client<HeadRow>`
    select note, cosignatures, signed_at from public.log_heads
    where not is_ended and cosignatures <> '' order by size desc limit 1`
  return headsOf(rows)[0] ?? null
}
/** Adds the signature of a witness to a head. @param line a line of the signed note */
export const storeCosignature = (pool: Pool, { origin, size }: Head, line: string) =>
  sqlOn(pool)`update log_heads set cosignatures = cosignatures || ${line} where origin = ${origin} and size = ${size}`

export const storeHead = (pool: Pool, { origin, size, root, note }: Head & { note: string }) =>
  sqlOn(
    pool,
  )`insert into log_heads (origin, size, root, note) values (${origin}, ${size}, ${root}, ${note}) on conflict (origin, size) do nothing`

/** A tenant that is to get the newest head as a message. */
export interface Subscriber {
  readonly tenant: TenantId
  /** The last head that the tenant got, as a signed note, or null. */
  readonly note: string | null
  readonly previous: Head | null
}
const patternsOfHeads = ['kolbak.log.head', 'kolbak.log.*', 'kolbak.*']
/** Returns the tenants with an active webhook that names the heads of the log, except those that got one less than `sendMs` ago. */
export async function subscribersOfHeads(pool: Pool, sendMs: number): Promise<Subscriber[]> {
  const rows = await sqlOn(pool)<{ tenant: TenantId; note: string | null }>`
    select w.tenant, s.note
    from (select distinct tenant from webhook_subscriptions where is_active and deleted_at is null and event = any (${patternsOfHeads})) w
    join webhook_tenants t on t.tenant = w.tenant and not t.is_suspended
    left join log_sent_heads s on s.tenant = w.tenant
    where s.sent_at is null or s.sent_at <= clock_timestamp() - ${sendMs} * interval '1 ms'
    order by w.tenant`
  return rows.map(({ tenant, note }) => ({ tenant, note, previous: note === null ? null : readHead(note) }))
}
/** Stores which head a tenant got last. */
export const storeSentHead = (pool: Pool, tenant: TenantId, note: string) =>
  sqlOn(pool)`
    insert into log_sent_heads (tenant, note) values (${tenant}, ${note})
    on conflict (tenant) do update set note = excluded.note, sent_at = excluded.sent_at`

/** Deletes heads that are older than a week, except the last of each hour and the last that a witness has signed. Returns their number. */
export async function thinHeads(pool: Pool): Promise<number> {
  const rows = await sqlOn(pool)`
    delete from log_heads old where signed_at < clock_timestamp() - interval '7 days'
      and exists (select from log_heads newer where newer.origin = old.origin and newer.size > old.size and (old.cosignatures = '' or newer.cosignatures <> '')
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
