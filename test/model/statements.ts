import { deliveryId } from '../../src/events/delivery-id.ts'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { Place } from '../../src/events/ids.ts'
import { type MessageRecord, recordedRef } from '../../src/events/message-record.ts'
import { type MessageRef, messageRefFields } from '../../src/events/refs.ts'
import type { IndexEntry, Match } from '../../src/ports/message-bus.ts'
import type { IndexedMessage } from '../../src/projections/message-index.ts'
import { scheduleStatements } from './schedule-statements.ts'
import { type Effect, hasGuard, rowsOf } from './statement.ts'
import { indexKey, type Tables } from './tables.ts'
import { applyWebhookEvent } from './webhook-model.ts'

const insertIndexRows: Effect = (tables, { values }) => {
  const { index } = tables
  const matched_at = values[8] as unknown as string | undefined
  if (matched_at !== undefined && matched_at !== liveCursor(tables).cursor) return [{ is_current: false, places: [] }]
  const places = rowsOf([...messageRefFields, 'webhooks', 'matched_at'], values).flatMap((row) => {
    const key = indexKey(row.tenant!, row.message!)
    if (index.has(key)) return []
    index.set(key, { ...row, webhooks: row.webhooks!.split(',').filter(Boolean) } as unknown as IndexedMessage)
    return [row.place]
  })
  return [{ is_current: true, places }]
}
/** The part of `messages-produce-indexed` that writes to the index. */
export function insertEntries(
  tables: Tables,
  record: MessageRecord,
  placeOf: (index: number) => Place,
  { webhooks, matched_at, cursor }: Match,
): (IndexEntry | null)[] | null {
  if (cursor !== liveCursor(tables).cursor) return null
  return record.messages.map((message, i) => {
    const key = indexKey(record.tenant, message.id)
    if (tables.index.has(key)) return null
    const entry = { webhooks: webhooks[0]![i]!, matched_at }
    tables.index.set(key, { ...recordedRef(record, message, placeOf(i)), ...entry })
    return entry
  })
}
const storedIndex: Effect = ({ index }, { values, onStateRead, life }) => {
  const [tenants, messages] = values as unknown as [string[], string[]]
  return tenants.flatMap((tenant, i) => {
    const row = index.get(indexKey(tenant, messages[i]!))
    for (const webhook of row?.webhooks ?? []) onStateRead(life, deliveryId(row!.tenant, row!.message, row!.place, webhook))
    return row === undefined ? [] : [{ ...row, accepted_at: row.accepted_at, matched_at: row.matched_at }]
  })
}
const saveOffsets: Effect = ({ offsets }, { text, values, onSaved }) => {
  const [, partitions, next] = values as unknown as [string, number[], string[]]
  partitions.forEach((partition, i) => {
    const offset = BigInt(next[i]!)
    onSaved(partition, offset)
    const before = offsets.get(partition) ?? 0n
    offsets.set(partition, hasGuard(text, /greatest\(/) && before > offset ? before : offset)
  })
  return []
}
const liveCursor = ({ projections, acknowledged }: Tables) => {
  const { build, lifted, checkpoint } = projections.get('webhooks')!
  const is_behind = acknowledged !== null && acknowledged > (checkpoint ?? '')
  return { cursor: `${build}.${lifted}@${checkpoint ?? ''}${is_behind ? `<${acknowledged}` : ''}`, checkpoint, is_behind }
}
const changedSince: Effect = (tables, { values }) => {
  const [after, build] = values as unknown as [string, string]
  const live = liveCursor(tables)
  const position = build === live.cursor.split('@')[0] ? after : ''
  const webhooks = [...tables.webhooks.values()].filter((row) => row.position > position).map((row) => ({ kind: 'webhook', ...row }))
  const tenants = [...tables.tenants]
    .filter(([, row]) => row.position > position)
    .map(([tenant, { is_suspended }]) => ({ kind: 'tenant', tenant, is_suspended }))
  const rows = [...webhooks, ...tenants]
  return (rows.length === 0 ? [{ kind: null }] : rows).map((row) => ({ ...row, ...live }))
}

/** The effect of each statement, by its name or by the beginning of its text. */
const statements: readonly (readonly [name: string, apply: Effect])[] = [
  ...scheduleStatements,
  ['message-index-insert', insertIndexRows],
  [
    'message-index-rejections',
    ({ rejections }, { values }) =>
      [...rejections.values()]
        .filter(({ tenant, message }) => tenant === values[0] && message === values[1])
        .map(({ place, fingerprint, accepted_at }) => ({ place, fingerprint, accepted_at })),
  ],
  ['message-index-stored', storedIndex],
  ['offsets-save', saveOffsets],
  [
    'offsets-start',
    ({ offsets }, { values }) => {
      const next = offsets.get(values[1] as unknown as number)
      return next === undefined ? [] : [{ next_offset: next }]
    },
  ],
  [
    'records-quarantine',
    ({ quarantinedRecords }, { values }) => {
      quarantinedRecords.add(`${values[1]}/${values[2]}`)
      return []
    },
  ],
  ['webhooks-cursor', (tables) => [liveCursor(tables)]],
  ['with live as (', changedSince],
  [
    'insert into acknowledged_changes',
    (tables, { values }) => {
      const position = values[1] as unknown as Checkpoint
      if (tables.acknowledged === null || tables.acknowledged < position) tables.acknowledged = position
      return []
    },
  ],
  ['deliveries-live-build', () => [{ build: 1 }]],
  ['select build, is_live, checkpoint, lifted', ({ projections }, { values }) => [{ ...projections.get(values[0]!)!, streams: [] }]],
  [
    'select checkpoint, lifted, is_live, applied_to from projections',
    ({ projections }, { values }) => [{ ...projections.get(values[0]!)! }],
  ],
  ['select is_live from projections', ({ projections }, { values }) => [{ ...projections.get(values[0]!)! }]],
  ['select pg_advisory_xact_lock_shared', () => []],
  [
    'insert into message_rejections',
    ({ rejections }, { values }) => {
      for (const row of rowsOf(messageRefFields, values)) rejections.set(row.place!, row as unknown as MessageRef)
      return []
    },
  ],
  ['select since from engines', () => []],
  ['delete from webhook_health', () => []],
  ['insert into webhook_health', () => []],
  ['insert into gathered_delivery_counts', () => []],
  [
    'apply webhook events',
    (tables, { values }) => {
      for (const event of values[0] as unknown as RecordedEvent[]) applyWebhookEvent(tables, event)
      return []
    },
  ],
  [
    'insert into public.quarantined_streams',
    ({ quarantinedStreams }, { values }) => {
      quarantinedStreams.push(values.join(' '))
      return []
    },
  ],
  [
    'update public.projections set checkpoint',
    ({ projections }, { text, values }) => {
      const [checkpoint, name, , from] = values as unknown as [Checkpoint, string, number, Checkpoint | null]
      const row = projections.get(name)!
      if (hasGuard(text, /checkpoint is not distinct from/) && row.checkpoint !== from) return []
      row.checkpoint = checkpoint
      return [{ is_live: true }]
    },
  ],
]

const cache = new Map<string, { apply: Effect; label: string }>()
/**
 * Returns the effect of a statement. Its name is that of the prepared statement, or is in a comment before its text. A statement without a name is
 * found by the beginning of its text. Throws if the model does not know the statement, which must then be added above.
 */
export function statementOf(name: string | undefined, text: string): { apply: Effect; label: string } {
  const cached = cache.get(name ?? text)
  if (cached !== undefined) return cached
  const label = name ?? /^\/\* ([a-z-]+) \*\//.exec(text)?.[1] ?? text.replaceAll(/\s+/g, ' ').trim()
  const apply = statements.find(([begins]) => label.startsWith(begins))?.[1]
  if (apply === undefined) throw new Error(`The model does not know this statement: ${label}`)
  const statement = { apply, label: label.slice(0, 40) }
  cache.set(name ?? text, statement)
  return statement
}
