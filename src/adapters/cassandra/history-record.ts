import { finality, isGreaterFact, statusOf } from '../../events/delivery.ts'
import { deliveryRefFields } from '../../events/refs.ts'
import { step } from '../../events/steps.ts'
import { isUuid } from '../../events/uuid.ts'
import { mapBounded } from '../../lib/bounded.ts'
import { type DeliveryFact, FactRefused } from '../../ports/delivery-log.ts'
import type { HistoryTables } from './migrations.ts'
import type { Retention } from './retention.ts'
import type { Session, Statement } from './session.ts'

/** The most requests in flight at once for one call. More requests do not make one node faster (measured). */
const atOnce = 128
/** Limits of one write to one partition. */
const batch = { rows: 50, bytes: 64 << 10 }
/** The most UTF-16 units of all texts of a fact. This is far below Cassandra's limit for one write (16 MiB). */
const maxLength = 1 << 20
/** The most UTF-16 units of one key. Cassandra's limit for a part of a key is 64 KiB. */
const maxKeyLength = 4_096

interface Write extends Statement {
  readonly partition: string
  readonly bytes: number
}

/**
 * Makes the writer of one build of the history. The writer stores the facts first and then the rows of the indexes, so that an index never
 * points to a missing fact. Every row has a deterministic key, so writes that are repeated, late or in another order give the same rows.
 * Throws FactRefused, or DeliveryLogUnavailable.
 */
export function createFactWriter(
  session: Session,
  tables: HistoryTables,
  kept: Retention,
): (facts: readonly DeliveryFact[]) => Promise<void> {
  const statements = statementsOf(tables)
  const write = async (writes: readonly Write[]): Promise<void> => {
    await mapBounded(batches(writes), atOnce, (rows) => session.write(rows))
  }
  return async (facts) => {
    for (const fact of facts) checkStorable(fact)
    const unexpired = facts.flatMap((fact) => {
      const ttl = kept.ttlOf(fact.accepted_at)
      return ttl === null ? [] : [{ fact, ttl }] // a fact whose retention has passed is not stored
    })
    const distinct = new Map(unexpired.map((entry) => [`${entry.fact.delivery} ${entry.fact.event_id}`, entry]))
    const greatest = new Map<string, { fact: DeliveryFact; ttl: number }>()
    for (const entry of distinct.values()) {
      const greatestSoFar = greatest.get(entry.fact.delivery)
      if (greatestSoFar === undefined || isGreaterFact(entry.fact, greatestSoFar.fact)) greatest.set(entry.fact.delivery, entry)
    }
    await write([...distinct.values()].map(({ fact, ttl }) => statements.fact(fact, ttl)))
    // Only the state after this batch is indexed, because most deliveries are routed and end within one or two batches.
    await step('cassandra.places', () => write([...greatest.values()].flatMap(({ fact, ttl }) => statements.places(fact, ttl))))
  }
}

function statementsOf(tables: HistoryTables) {
  const insert = (table: string, columns: readonly string[]): string =>
    `insert into ${table} (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')}) using ttl ?`
  const facts = insert(tables.facts, [
    ...[...deliveryRefFields, 'finality', 'event_id', 'type', 'time'],
    ...['code', 'duration_ms', 'reason', 'reason_detail', 'response', 'next_attempt_at'],
  ])
  const byWebhook = insert(tables.byWebhook, ['webhook', 'day', 'accepted_at', 'delivery'])
  const byStatus = insert(tables.byStatus, ['webhook', 'status', 'day', 'accepted_at', 'delivery'])
  const undeliveredByTenant = insert(tables.undeliveredByTenant, ['tenant', 'status', 'day', 'accepted_at', 'delivery', 'webhook'])
  const deadByTenant = insert(tables.deadByTenant, ['tenant', 'day', 'died_at', 'delivery', 'webhook'])
  const deadByWebhook = insert(tables.deadByWebhook, ['webhook', 'day', 'died_at', 'delivery'])
  return {
    fact: (fact: DeliveryFact, ttl: number): Write => {
      const next = fact.delay_seconds === null ? undefined : new Date(Date.parse(fact.time) + fact.delay_seconds * 1_000)
      return {
        cql: facts,
        partition: fact.delivery,
        bytes: 512 + (fact.response?.length ?? 0),
        params: [
          ...deliveryRefFields.map((field) => (field === 'accepted_at' ? new Date(fact.accepted_at) : fact[field])),
          ...[finality[fact.type], fact.event_id, fact.type, new Date(fact.time)],
          // Undefined leaves a column out, because null would write a tombstone.
          ...[fact.code ?? undefined, fact.duration_ms ?? undefined, fact.reason ?? undefined],
          ...[fact.reason_detail ?? undefined, fact.response ?? undefined, next],
          ttl,
        ],
      }
    },
    places(fact: DeliveryFact, ttl: number): Write[] {
      const { delivery, webhook, tenant } = fact
      const at = new Date(fact.accepted_at)
      const day = fact.accepted_at.slice(0, 10)
      const status = statusOf[fact.type]
      const row = (cql: string, partition: string, params: readonly unknown[]): Write => ({ cql, partition, bytes: 128, params })
      const writes = [
        row(byWebhook, `webhook ${webhook} ${day}`, [webhook, day, at, delivery, ttl]),
        row(byStatus, `status ${webhook} ${status} ${day}`, [webhook, status, day, at, delivery, ttl]),
      ]
      if (status !== 'success')
        writes.push(row(undeliveredByTenant, `undelivered ${tenant} ${status} ${day}`, [tenant, status, day, at, delivery, webhook, ttl]))
      if (fact.type === 'DeliveryDeadLettered') {
        const died = new Date(fact.time)
        const diedOn = fact.time.slice(0, 10)
        writes.push(
          row(deadByTenant, `dead ${tenant} ${diedOn}`, [tenant, diedOn, died, delivery, webhook, ttl]),
          row(deadByWebhook, `dead ${webhook} ${diedOn}`, [webhook, diedOn, died, delivery, ttl]),
        )
      }
      return writes
    },
  }
}

/** Groups the rows of each partition in bounded batches, because the server handles a batch of one partition as one write. */
function batches(writes: readonly Write[]): Write[][] {
  const grouped: Write[][] = []
  const open = new Map<string, { rows: Write[]; bytes: number }>()
  for (const write of writes) {
    const current = open.get(write.partition)
    if (current !== undefined && current.rows.length < batch.rows && current.bytes + write.bytes <= batch.bytes) {
      current.rows.push(write)
      current.bytes += write.bytes
      continue
    }
    const rows = [write]
    open.set(write.partition, { rows, bytes: write.bytes })
    grouped.push(rows)
  }
  return grouped
}

const isTime = (text: string): boolean => {
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text
}
const isInteger = (value: number): boolean => Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31

/** Throws FactRefused for a value that Cassandra would refuse or change. */
function checkStorable(fact: DeliveryFact): void {
  const keys = [fact.webhook, fact.tenant, fact.message]
  const outcome = [fact.reason ?? '', fact.reason_detail ?? '', fact.response ?? '']
  const texts = [...keys, fact.place, fact.fingerprint, fact.event, fact.correlation_id, ...outcome]
  const problem =
    !isUuid(fact.delivery) || !isUuid(fact.event_id)
      ? 'an id is not a UUID in lower case'
      : !isTime(fact.accepted_at) || !isTime(fact.time)
        ? 'a time is not RFC 3339 with milliseconds in UTC'
        : ![fact.chain, fact.attempt, fact.code ?? 0].every(isInteger)
          ? 'a number is not a whole number of 32 bits'
          : ![fact.duration_ms ?? 0, fact.delay_seconds ?? 0].every(Number.isFinite) || (fact.delay_seconds ?? 0) > 1e9
            ? 'a duration is not a finite number'
            : keys.some((key) => key.length > maxKeyLength) || texts.reduce((sum, text) => sum + text.length, 0) > maxLength
              ? 'a text is too long'
              : null
  if (problem !== null) throw new FactRefused(fact.event_id, new Error(problem))
}
