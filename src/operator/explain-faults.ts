import type { RecordedEvent } from '../events/envelope.ts'
import type { DeliveryId, TenantId } from '../events/ids.ts'
import { leafHash, storedEntry } from '../events/leaf.ts'
import { familyOf, type StreamName } from '../events/streams.ts'
import { isUuid } from '../events/uuid.ts'
import { changesBetween, type FieldChange, withoutSealed } from '../lib/field-changes.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import { type AuditedEvent, auditedColumns, recordedOf } from '../projections/audit.ts'
import { createLiveDeliveryLog } from '../projections/live-delivery-log.ts'
import type { Shared } from '../service/shared.ts'
import type { FaultDetails, Faults } from './verify-faults.ts'

/** The most events that are explained. Each takes some queries. */
const maxExplained = 1_000
/** The most inserted events whose MACs are searched in the whole log. */
const maxSearched = 20

/**
 * Says of each event with a fault what was changed. The audit log's read model has a copy of each command event as it was when the log read it. The
 * history of deliveries has the outcome of each attempt.
 * Returns the places of events that are stored as the log read them first, so that no head differs because of them.
 * @param intactSize the number of copies that a head confirms, from the first one
 */
export async function explainFaults(shared: Shared, faults: Faults, intactSize: number): Promise<Set<string>> {
  let searched = 0
  const unchanged = new Set<string>()
  for (const where of faults.events().slice(0, maxExplained)) {
    const { stream, revision } = placeOf(where)
    const [found] = await shared.store.read(stream, { from: revision, limit: 1 })
    const stored = found?.revision === revision ? found : null
    if (familyOf(stream) === 'attempts') {
      if (stored !== null) faults.describe(where, await detailsOfAttempt(shared, stored))
      continue
    }
    const sql = sqlOn(shared.pools.reads)
    const copy = await copyOf(sql, stream, revision)
    const genuine = copy === null ? null : genuineCopy(copy, shared.macs)
    if (stored === null) {
      if (genuine !== null) faults.describe(where, { event: summaryOf(genuine), notes: [contentOf(genuine)] })
    } else if (genuine !== null) {
      const changes = differences(genuine, stored)
      if (changes.length > 0) faults.describe(where, { event: summaryOf(genuine), changes })
    } else if (shared.macs.faultOf(stored) === null) {
      unchanged.add(where)
      faults.describe(where, { event: summaryOf(stored), notes: [copy === null ? notIndexed : copyAltered] })
    } else {
      const isFirstRead = copy !== null && Number(copy.index) < intactSize
      if (isFirstRead) unchanged.add(where)
      if (isFirstRead || copy === null) faults.callInserted(where)
      const notes = [contentOf(stored), insertedNote(copy, intactSize)]
      if (searched++ < maxSearched) notes.push(...(await originOf(sql, stored)))
      faults.describe(where, { event: summaryOf(stored), notes })
    }
  }
  return unchanged
}

const placeOf = (where: string) => {
  const at = where.lastIndexOf('@')
  return { stream: where.slice(0, at) as StreamName, revision: Number(where.slice(at + 1)) }
}
const notIndexed = "The event is genuine, but the audit log's read model has no copy of it."
const copyAltered = "The event is genuine. Its copy in the audit log's read model is not."
/** Returns the copy in the read model. If there are several, the first one is that which the log had first. */
async function copyOf(sql: Sql, stream: StreamName, revision: number): Promise<AuditedEvent | null> {
  const [row] = await sql<AuditedEvent>`
    select ${auditedColumns} from audit_events where stream = ${stream} and revision = ${revision} order by index limit 1`
  return row ?? null
}
/** Returns the copied event, or null if it is not what Kolbak has written. An event without a MAC must be the content of its leaf. */
function genuineCopy(copy: AuditedEvent, macs: Shared['macs']): RecordedEvent | null {
  try {
    const event = recordedOf(copy)
    const isWhole = event.metadata.mac !== undefined || leafHash(storedEntry(copy)).equals(copy.leaf)
    return isWhole && macs.faultOf(event) === null ? event : null
  } catch {
    return null // somebody has written a text that is no JSON
  }
}

const summaryOf = ({ id, type, metadata }: RecordedEvent) => ({ id, type, time: metadata.time ?? null, actor: metadata.actor ?? null })
const contentOf = ({ data }: RecordedEvent): string => `Its data are ${JSON.stringify(withoutSealed(data)).slice(0, 500)}.`

function insertedNote(copy: AuditedEvent | null, intactSize: number): string {
  if (copy === null) return 'The log has never contained an event at this place.'
  return Number(copy.index) < intactSize
    ? `Kolbak has not written it. The log read it with this content, as leaf ${copy.index}.`
    : `Kolbak has not written it like this. The log's own copy (leaf ${copy.index}) is not genuine either, and no head confirms the copy.`
}
/** Returns sentences that say from which event an inserted one has its id or its MAC. */
async function originOf(sql: Sql, { stream, revision, id, metadata }: RecordedEvent): Promise<string[]> {
  const { mac } = metadata
  const rows = await sql<{ stream: string; revision: number; type: string; has_mac: boolean; has_id: boolean }>`
    select stream, revision, type, id = ${id}::uuid as has_id, ${mac ?? null}::text is not null and strpos(metadata, ${mac ?? ''}) > 0 as has_mac
    from audit_events
    where (stream, revision) <> (${stream}, ${revision})
      and (id = ${id}::uuid or (${mac ?? null}::text is not null and strpos(metadata, ${mac ?? ''}) > 0))
    order by index limit 3`
  return rows.map(({ has_id, has_mac, ...event }) => {
    const copied = [...(has_id ? ['id'] : []), ...(has_mac ? ['MAC'] : [])].join(' and its ')
    return `Its ${copied} ${has_id && has_mac ? 'are those' : 'is that'} of ${event.stream}@${event.revision} (${event.type}).`
  })
}

/** Returns the fields in which two events differ. The fields of data and metadata are compared one by one. */
function differences(was: RecordedEvent, is: RecordedEvent): FieldChange[] {
  const [before, after] = [was, is].map(({ id, type, data, metadata }) => ({
    id,
    type,
    ...prefixed('data', data),
    ...prefixed('metadata', metadata),
  }))
  return changesBetween(before ?? {}, after ?? {})
}
const prefixed = (prefix: string, value: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).map(([name, inner]) => [`${prefix}.${name}`, inner]))
/** Says which delivery an attempt belongs to, and compares it with the history of deliveries. */
async function detailsOfAttempt({ deliveryLog, pools }: Shared, event: RecordedEvent): Promise<FaultDetails> {
  const attempt = event.data as Partial<Record<'delivery' | 'message' | 'chain' | 'attempt' | 'code' | 'reason', unknown>>
  const webhook = event.stream.slice('attempts-'.length, event.stream.lastIndexOf('-'))
  const responseOf = (code: unknown, reason: unknown) =>
    `${code === undefined || code === null ? 'no response' : `response ${code}`}${typeof reason === 'string' ? `, ${reason}` : ''}`
  const notes = [
    `Delivery ${attempt.delivery}, message ${attempt.message}, webhook ${webhook}, chain ${attempt.chain}, attempt ${attempt.attempt}.`,
    `The stored event says: ${event.type}, ${responseOf(attempt.code, attempt.reason)}.`,
  ]
  const history = createLiveDeliveryLog({ log: deliveryLog, pool: pools.reads })
  const state = isUuid(String(attempt.delivery))
    ? await history.find(event.metadata.tenant as TenantId, attempt.delivery as DeliveryId)
    : null
  notes.push(
    state === null
      ? 'The history of deliveries does not have this delivery.'
      : `The history of deliveries says: ${state.status} by ${state.type} (chain ${state.chain}, attempt ${state.attempt}, ${responseOf(state.code, state.reason)}).`,
  )
  return { event: summaryOf(event), notes }
}
