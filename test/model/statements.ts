import type { IndexedMessage } from '../../src/dispatch/message-index.ts'
import { isLater, type Owed } from '../../src/dispatch/owed.ts'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { DeliveryId, WebhookId } from '../../src/events/ids.ts'
import { deliveryId } from '../../src/lib/delivery-id.ts'
import { indexKey, type ScheduledRow, type Tables } from './tables.ts'
import { applyWebhookEvent } from './webhook-model.ts'

/** One run of a statement: its text, its values, and Postgres's clock in virtual milliseconds. */
export interface Statement {
  readonly text: string
  // What each statement takes is known here as it is known to Postgres: by its text.
  readonly values: readonly never[]
  readonly now: number
  /** RFC 3339 of a virtual time. */
  iso(time: number): string
  /** Told of an offset before it is saved, and of chains whose ends the retry manager has read. */
  onSaved(partition: number, offset: bigint): void
  onEnded(delivery: DeliveryId, chain: number): void
  /** Told of the deliveries of a message that has come again, when their process looks at what is there. */
  onLooked(life: string, delivery: DeliveryId): void
  /** Which process asks. */
  readonly life: string
}
type Rows = object[]
type Run = (tables: Tables, statement: Statement) => Rows

const numbers = (value: string | readonly number[]): number[] =>
  typeof value === 'string' ? value.slice(1, -1).split(',').filter(Boolean).map(Number) : [...value]
/** The guards are those that the text has: a statement that loses one loses it here too. */
const has = (text: string, clause: string) => text.replaceAll(/\s+/g, ' ').includes(clause)
const isHigher = '(mine.chain, mine.attempt) < (excluded.chain, excluded.attempt)'

function ownedRows(values: readonly never[]): Owed[] {
  const [delivery, tenant, webhook, message, place, fingerprint, event, acceptedAt, correlationId, chain, attempt] =
    values as unknown as never[][]
  const chains = numbers(chain as never)
  const attempts = numbers(attempt as never)
  return (delivery as string[]).map(
    (id, i) =>
      ({
        delivery: id,
        tenant: tenant![i],
        webhook: webhook![i],
        message: message![i],
        place: place![i],
        fingerprint: fingerprint![i],
        event: event![i],
        acceptedAt: acceptedAt![i],
        correlationId: correlationId![i],
        chain: chains[i],
        attempt: attempts[i],
      }) as unknown as Owed,
  )
}
const upsert = ({ scheduled }: Tables, text: string, row: ScheduledRow) => {
  const there = scheduled.get(row.delivery)
  if (there === undefined || !has(text, isHigher) || isLater(row, there)) scheduled.set(row.delivery, row)
}
const isFree = ({ claimedUntil }: ScheduledRow, now: number) => claimedUntil === null || claimedUntil < now
/** Rows of these keys that the owner has claimed. */
const held = ({ scheduled }: Tables, values: readonly never[]): ScheduledRow[] => {
  const [deliveries, chains, attempts, owner] = values as unknown as [DeliveryId[], string, string, string]
  return deliveries.flatMap((delivery, i) => {
    const row = scheduled.get(delivery)
    const isSame = row?.chain === numbers(chains)[i] && row?.attempt === numbers(attempts)[i] && row?.claimedBy === owner
    return row !== undefined && isSame ? [row] : []
  })
}
const toAnswer = (row: ScheduledRow, iso: Statement['iso']) => ({
  ...row,
  accepted_at: row.acceptedAt,
  correlation_id: row.correlationId,
  parked_at: row.parkedAt === null ? null : iso(row.parkedAt),
})

const waiting: Run = ({ scheduled }, { values, now }) => {
  const [after, limit] = values as unknown as [string, number]
  const found = new Map<WebhookId, { webhook: WebhookId; claimable: boolean; parked: boolean }>()
  for (const row of scheduled.values()) {
    if (row.webhook <= after || (row.dueAt !== null && row.dueAt > now)) continue
    const of = found.get(row.webhook) ?? { webhook: row.webhook, claimable: false, parked: false }
    of.claimable ||= isFree(row, now)
    of.parked ||= row.dueAt === null
    found.set(row.webhook, of)
  }
  return [...found.values()].sort((a, b) => (a.webhook < b.webhook ? -1 : 1)).slice(0, limit)
}
const claim: Run = ({ scheduled }, { values, now, iso }) => {
  const [webhooks, counts, owner, claimMs] = values as unknown as [WebhookId[], string, string, number]
  const claimed = webhooks.flatMap((webhook, i) => {
    const free = [...scheduled.values()].filter((row) => row.webhook === webhook && isFree(row, now))
    const due = free.filter((row) => row.dueAt !== null && row.dueAt <= now).sort((a, b) => a.dueAt! - b.dueAt!)
    const parked = free.filter((row) => row.dueAt === null).sort((a, b) => a.parkedAt! - b.parkedAt!)
    const count = numbers(counts)[i]!
    return [...due.slice(0, count), ...parked.slice(0, count)]
  })
  for (const row of claimed) Object.assign(row, { claimedBy: owner, claimedUntil: now + claimMs })
  return claimed.map((row) => toAnswer(row, iso))
}
const claimIndex: Run = ({ index }, { values }) => {
  const columns = values as unknown as string[][]
  return columns[0]!.flatMap((_, i) => {
    const [tenant, message, fingerprint, place, event, acceptedAt, webhooks, matchedAt] = columns.map((column) => column[i])
    const key = indexKey(tenant!, message!)
    if (index.has(key)) return []
    const row = { tenant, message, fingerprint, place, event, acceptedAt, webhooks: webhooks!.split(',').filter(Boolean), matchedAt }
    index.set(key, row as unknown as IndexedMessage)
    return [{ place }]
  })
}
const storedIndex: Run = ({ index }, { values, onLooked, life }) => {
  const [tenants, messages] = values as unknown as [string[], string[]]
  return tenants.flatMap((tenant, i) => {
    const row = index.get(indexKey(tenant, messages[i]!))
    for (const webhook of row?.webhooks ?? []) onLooked(life, deliveryId(row!.tenant, row!.message, row!.place, webhook))
    return row === undefined ? [] : [{ ...row, accepted_at: row.acceptedAt, matched_at: row.matchedAt }]
  })
}
const done: Run = ({ scheduled }, { text, values }) => {
  const [deliveries, chains, attempts] = values as unknown as [DeliveryId[], string, string]
  deliveries.forEach((delivery, i) => {
    const row = scheduled.get(delivery)
    const isFurther = row !== undefined && isLater(row, { chain: numbers(chains)[i]!, attempt: numbers(attempts)[i]! })
    if (!isFurther || !has(text, '(mine.chain, mine.attempt) <= (over.chain, over.attempt)')) scheduled.delete(delivery)
  })
  return []
}
const saveOffsets: Run = ({ offsets }, { text, values, onSaved }) => {
  const [, partitions, next] = values as unknown as [string, number[], string[]]
  partitions.forEach((partition, i) => {
    const offset = BigInt(next[i]!)
    onSaved(partition, offset)
    const before = offsets.get(partition) ?? 0n
    offsets.set(partition, has(text, 'greatest(') && before > offset ? before : offset)
  })
  return []
}
const endChains: Run = ({ scheduled }, { text, values, onEnded }) => {
  const [deliveries, chains] = values as unknown as [DeliveryId[], number[]]
  deliveries.forEach((delivery, i) => {
    onEnded(delivery, chains[i]!)
    const row = scheduled.get(delivery)
    if (row !== undefined && (!has(text, 'mine.chain <= over.chain') || row.chain <= chains[i]!)) scheduled.delete(delivery)
  })
  return []
}
const liveCursor = ({ projections }: Tables) => {
  const { build, lifted, checkpoint } = projections.get('webhooks')!
  return { generation: `${build}.${lifted}`, cursor: `${build}.${lifted}@${checkpoint ?? ''}`, checkpoint }
}
const changed: Run = (tables, { values }) => {
  const [after, ofGeneration] = values as unknown as [string, string]
  const { generation, checkpoint } = liveCursor(tables)
  const position = ofGeneration === generation ? after : ''
  const webhooks = [...tables.webhooks.values()].filter((row) => row.position > position).map((row) => ({ kind: 'webhook', ...row }))
  const tenants = [...tables.tenants]
    .filter(([, row]) => row.position > position)
    .map(([tenant, { isSuspended }]) => ({ kind: 'tenant', tenant, isSuspended }))
  const rows = [...webhooks, ...tenants]
  return (rows.length === 0 ? [{ kind: null }] : rows).map((row) => ({ ...row, generation, checkpoint }))
}

/** What each statement does, by its name or the beginning of its text. */
const statements: readonly (readonly [begins: string, run: Run])[] = [
  [
    'schedule-park',
    (tables, { text, values, now }) => {
      for (const owed of ownedRows(values))
        upsert(tables, text, { ...owed, dueAt: null, parkedAt: now, claimedBy: null, claimedUntil: null })
      return []
    },
  ],
  ['schedule-done', done],
  ['schedule-waiting', waiting],
  ['schedule-claim', claim],
  [
    'schedule-renew',
    (tables, { values, now }) =>
      held(tables, values).map((row) => {
        row.claimedUntil = now + (values[4] as unknown as number)
        return { delivery: row.delivery }
      }),
  ],
  [
    'schedule-release',
    (tables, { values }) => {
      for (const row of held(tables, values)) Object.assign(row, { claimedBy: null, claimedUntil: null })
      return []
    },
  ],
  [
    'select delivery from scheduled_deliveries',
    ({ scheduled }, { values }) =>
      (values[0] as unknown as DeliveryId[]).filter((id) => scheduled.has(id)).map((delivery) => ({ delivery })),
  ],
  ['message-index-claim', claimIndex],
  ['message-index-stored', storedIndex],
  ['offsets-save', saveOffsets],
  [
    'select next_offset from bus_offsets',
    ({ offsets }, { values }) => {
      const next = offsets.get(values[1] as unknown as number)
      return next === undefined ? [] : [{ next_offset: next }]
    },
  ],
  [
    'insert into unreadable_records',
    ({ unreadable }, { values }) => {
      unreadable.add(`${values[1]}/${values[2]}`)
      return []
    },
  ],
  ['webhooks-cursor', (tables) => [liveCursor(tables)]],
  ['with live as (', changed],
  ['deliveries-live-build', () => [{ build: 1 }]],
  [
    'select build, is_live as "isLive", checkpoint, lifted',
    ({ projections }, { values }) => [{ ...projections.get(values[0]!)!, streams: [] }],
  ],
  [
    'select checkpoint, lifted, is_live as "isLive" from projections',
    ({ projections }, { values }) => [{ ...projections.get(values[0]!)! }],
  ],
  ['select pg_advisory_xact_lock_shared', () => []],
  [
    'insert into message_rejections',
    ({ rejections }, { values }) => {
      for (const place of values[2] as unknown as string[]) rejections.add(place)
      return []
    },
  ],
  ['delete from webhook_health', () => []],
  ['insert into webhook_health', () => []],
  [
    'insert into scheduled_deliveries as mine',
    (tables, { text, values, now }) => {
      const delays = values[11] as unknown as number[]
      ownedRows(values).forEach((owed, i) => {
        upsert(tables, text, { ...owed, dueAt: now + delays[i]! * 1_000, parkedAt: null, claimedBy: null, claimedUntil: null })
      })
      return []
    },
  ],
  ['delete from scheduled_deliveries mine', endChains],
  [
    'apply webhook events',
    (tables, { values }) => {
      for (const event of values[0] as unknown as RecordedEvent[]) applyWebhookEvent(tables, event)
      return []
    },
  ],
  [
    'insert into public.quarantined_streams',
    ({ quarantined }, { values }) => {
      quarantined.push(values.join(' '))
      return []
    },
  ],
  [
    'update public.projections set checkpoint',
    ({ projections }, { text, values }) => {
      const [checkpoint, name, , from] = values as unknown as [Checkpoint, string, number, Checkpoint | null]
      const row = projections.get(name)!
      if (has(text, 'checkpoint is not distinct from') && row.checkpoint !== from) return []
      row.checkpoint = checkpoint
      return [{ build: 1 }]
    },
  ],
]

const known = new Map<string, { run: Run; label: string }>()
/** The statement of this name or text. Throws when the model does not know it: then the model is to learn it. */
export function statementOf(name: string | undefined, text: string): { run: Run; label: string } {
  const found = known.get(name ?? text)
  if (found !== undefined) return found
  const begin = name ?? text.replaceAll(/\s+/g, ' ').trim()
  const run = statements.find(([begins]) => begin.startsWith(begins))?.[1]
  if (run === undefined) throw new Error(`the model does not know this statement: ${begin}`)
  const statement = { run, label: name ?? begin.slice(0, 40) }
  known.set(name ?? text, statement)
  return statement
}
