import type { DeliveryId, WebhookId } from '../../src/events/ids.ts'
import { type DeliveryRef, deliveryRefFields, isLater } from '../../src/events/refs.ts'
import { type Effect, hasGuard, rowsOf, type Statement } from './statement.ts'
import type { ScheduledRow, Tables } from './tables.ts'

const numbers = (value: string | readonly number[]): number[] =>
  typeof value === 'string' ? value.slice(1, -1).split(',').filter(Boolean).map(Number) : [...value]
const isHigher = /\(\w+\.chain, \w+\.attempt\) < \(excluded\.chain, excluded\.attempt\)/

/** Returns the refs from the parameters that `deliveryRefArrays` made of them. */
const refsOf = (values: readonly never[]): DeliveryRef[] =>
  rowsOf(deliveryRefFields, values).map(
    (row) => ({ ...row, chain: Number(row.chain), attempt: Number(row.attempt) }) as unknown as DeliveryRef,
  )
const upsert = ({ scheduled }: Tables, text: string, row: ScheduledRow) => {
  const storedRow = scheduled.get(row.delivery)
  if (storedRow === undefined || !hasGuard(text, isHigher) || isLater(row, storedRow)) scheduled.set(row.delivery, row)
}
const isFree = ({ claimedUntil }: ScheduledRow, now: number) => claimedUntil === null || claimedUntil < now
/** Returns the rows of these keys that the owner has claimed. */
const ownClaims = ({ scheduled }: Tables, values: readonly never[]): ScheduledRow[] => {
  const [deliveries, chains, attempts, owner] = values as unknown as [DeliveryId[], string, string, string]
  return deliveries.flatMap((delivery, i) => {
    const row = scheduled.get(delivery)
    const isSame = row?.chain === numbers(chains)[i] && row?.attempt === numbers(attempts)[i] && row?.claimedBy === owner
    return row !== undefined && isSame ? [row] : []
  })
}
const toResultRow = (row: ScheduledRow, iso: Statement['iso']) => ({
  ...row,
  accepted_at: row.accepted_at,
  correlation_id: row.correlation_id,
  parked_at: row.parked_at === null ? null : iso(row.parked_at),
})

const waiting: Effect = ({ scheduled }, { values, now }) => {
  const [after, limit] = values as unknown as [string, number]
  const webhooks = new Map<WebhookId, { webhook: WebhookId; claimable: boolean; parked: boolean }>()
  for (const row of scheduled.values()) {
    if (row.webhook <= after || (row.dueAt !== null && row.dueAt > now)) continue
    const entry = webhooks.get(row.webhook) ?? { webhook: row.webhook, claimable: false, parked: false }
    entry.claimable ||= isFree(row, now)
    entry.parked ||= row.dueAt === null
    webhooks.set(row.webhook, entry)
  }
  return [...webhooks.values()].sort((a, b) => (a.webhook < b.webhook ? -1 : 1)).slice(0, limit)
}
const nextDue: Effect = ({ scheduled }, { now }) => {
  const next = [...scheduled.values()].flatMap(({ dueAt }) => (dueAt !== null && dueAt > now ? [dueAt] : []))
  return [{ ms: next.length === 0 ? null : Math.min(...next) - now }]
}
const claim: Effect = ({ scheduled }, { values, now, iso }) => {
  const [webhooks, counts, owner, claimMs] = values as unknown as [WebhookId[], string, string, number]
  const claimed = webhooks.flatMap((webhook, i) => {
    const freeRows = [...scheduled.values()].filter((row) => row.webhook === webhook && isFree(row, now))
    const due = freeRows.filter((row) => row.dueAt !== null && row.dueAt <= now).sort((a, b) => a.dueAt! - b.dueAt!)
    const parked = freeRows.filter((row) => row.dueAt === null).sort((a, b) => a.parked_at! - b.parked_at!)
    const count = numbers(counts)[i]!
    return [...due.slice(0, count), ...parked.slice(0, count)]
  })
  return claimed.map((row) => {
    const was_claimed = row.claimedBy !== null
    Object.assign(row, { claimedBy: owner, claimedUntil: now + claimMs })
    return { ...toResultRow(row, iso), was_claimed }
  })
}
const done: Effect = ({ scheduled }, { text, values }) => {
  const [deliveries, chains, attempts] = values as unknown as [DeliveryId[], string, string]
  deliveries.forEach((delivery, i) => {
    const row = scheduled.get(delivery)
    const isFurther = row !== undefined && isLater(row, { chain: numbers(chains)[i]!, attempt: numbers(attempts)[i]! })
    if (!isFurther || !hasGuard(text, /\(\w+\.chain, \w+\.attempt\) <= \(\w+\.chain, \w+\.attempt\)/)) scheduled.delete(delivery)
  })
  return []
}
const endChains: Effect = ({ scheduled }, { text, values, onEnded }) => {
  const [deliveries, chains] = values as unknown as [DeliveryId[], number[]]
  deliveries.forEach((delivery, i) => {
    onEnded(delivery, chains[i]!)
    const row = scheduled.get(delivery)
    if (row !== undefined && (!hasGuard(text, /\w+\.chain <= \w+\.chain/) || row.chain <= chains[i]!)) scheduled.delete(delivery)
  })
  return []
}

const existing: Effect = ({ scheduled }, { values }) =>
  (values[0] as unknown as DeliveryId[]).filter((id) => scheduled.has(id)).map((delivery) => ({ delivery }))

const makeDue: Effect = ({ scheduled }, { values, now }) =>
  (values[0] as unknown as DeliveryId[]).flatMap((delivery) => {
    const row = scheduled.get(delivery)
    if (row === undefined || row.dueAt === null || row.dueAt <= now) return []
    scheduled.set(delivery, { ...row, dueAt: now })
    return [{ delivery }]
  })

/** The statements on `scheduled_deliveries`, by their names. */
export const scheduleStatements: readonly (readonly [name: string, apply: Effect])[] = [
  [
    'schedule-park',
    (tables, { text, values, now }) => {
      for (const ref of refsOf(values)) upsert(tables, text, { ...ref, dueAt: null, parked_at: now, claimedBy: null, claimedUntil: null })
      return []
    },
  ],
  ['schedule-done', done],
  ['schedule-waiting', waiting],
  ['schedule-next-due', nextDue],
  ['schedule-claim', claim],
  [
    'schedule-renew',
    (tables, { values, now }) =>
      ownClaims(tables, values).map((row) => {
        row.claimedUntil = now + (values[4] as unknown as number)
        return { delivery: row.delivery }
      }),
  ],
  [
    'schedule-release',
    (tables, { values }) => {
      for (const row of ownClaims(tables, values)) Object.assign(row, { claimedBy: null, claimedUntil: null })
      return []
    },
  ],
  ['schedule-existing', existing],
  ['update scheduled_deliveries set due_at', makeDue],
  ['retries-lock', existing],
  [
    'retries-schedule',
    (tables, { text, values, now }) => {
      const delays = values[11] as unknown as number[]
      refsOf(values).forEach((ref, i) => {
        upsert(tables, text, { ...ref, dueAt: now + delays[i]! * 1_000, parked_at: null, claimedBy: null, claimedUntil: null })
      })
      return []
    },
  ],
  ['retries-end', endChains],
]
