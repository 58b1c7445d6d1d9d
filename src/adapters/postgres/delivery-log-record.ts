import type { Pool } from 'pg'
import { finality, isGreaterFact, isListedAttempt, statusOf } from '../../events/delivery.ts'
import { isUuid } from '../../events/uuid.ts'
import { isDataError } from '../../lib/group-commit.ts'
import { hasTextSeparator, joinTexts, nullText } from '../../lib/joined-texts.ts'
import { deliveryRefArrays } from '../../lib/ref-columns.ts'
import { type DeliveryFact, FactRefused } from '../../ports/delivery-log.ts'
import { type DayPartitions, isMissingPartition } from './day-partitions.ts'

/** A fact to be written. The greatest fact of a delivery in the batch is written as its state, and any other fact as an attempt. */
interface Row {
  readonly fact: DeliveryFact
  readonly isState: boolean
}

/** Limits of one statement. */
const group = { rows: 1_000, bytes: 4 << 20 }

/**
 * Makes the writer of one build of the history. The writer first folds a batch in memory, so that a delivery is written once for all its facts in the
 * batch. It throws FactRefused, or the error of a database that cannot be reached.
 */
export function createFactWriter(pool: Pool, schema: string, days: DayPartitions): (facts: readonly DeliveryFact[]) => Promise<void> {
  const write = async (rows: readonly Row[], isRetry = false): Promise<void> => {
    try {
      await days.ensure(rows.map(({ fact }) => fact.accepted_at.slice(0, 10)))
      await insert(pool, schema, rows)
    } catch (error) {
      if (isMissingPartition(error) && !isRetry) {
        days.forget()
        return write(rows, true)
      }
      if (!isDataError(error)) throw error
      if (rows.length === 1) throw new FactRefused(rows[0]!.fact.event_id, error)
      // If a row is at fault, the batch is halved until the faulty row is alone.
      const middle = rows.length >> 1
      await write(rows.slice(0, middle))
      await write(rows.slice(middle))
    }
  }
  return async (facts) => {
    for (const rows of groups(fold(facts))) await write(rows)
  }
}

/** Returns the greatest fact and the other requests of each delivery, in the order of the table's key. */
function fold(facts: readonly DeliveryFact[]): Row[] {
  const deliveries = new Map<string, { key: string; greatest: DeliveryFact; others: DeliveryFact[] }>()
  for (const fact of facts) {
    checkStorable(fact)
    const key = `${fact.webhook} ${fact.accepted_at} ${fact.delivery}`
    const delivery = deliveries.get(key)
    if (delivery === undefined) deliveries.set(key, { key, greatest: fact, others: [] })
    else if (fact.event_id === delivery.greatest.event_id) continue
    else if (isGreaterFact(fact, delivery.greatest)) {
      delivery.others.push(delivery.greatest)
      delivery.greatest = fact
    } else delivery.others.push(fact)
  }
  const sorted = [...deliveries.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  return sorted.flatMap(({ greatest, others }) => [
    { fact: greatest, isState: true },
    ...others.filter((fact) => isListedAttempt(fact.type)).map((fact) => ({ fact, isState: false })),
  ])
}

function* groups(rows: readonly Row[]): Generator<Row[]> {
  let next: Row[] = []
  let bytes = 0
  for (const row of rows) {
    next.push(row)
    bytes += row.fact.response?.length ?? 0
    if (next.length < group.rows && bytes < group.bytes) continue
    yield next
    next = []
    bytes = 0
  }
  if (next.length > 0) yield next
}

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Throws FactRefused for a value that Postgres would refuse, or that would change in the joined parameters. */
function checkStorable(fact: DeliveryFact): void {
  const texts = [fact.webhook, fact.tenant, fact.message, fact.place, fact.fingerprint, fact.event, fact.correlation_id, fact.type]
  const problem =
    !isUuid(fact.delivery) || !isUuid(fact.event_id)
      ? 'an id is not a UUID in lower case'
      : !time.test(fact.accepted_at) || !time.test(fact.time)
        ? 'a time is not RFC 3339 with milliseconds in UTC'
        : [fact.chain, fact.attempt, fact.code ?? 0].some((number) => !Number.isInteger(number))
          ? 'a number is not whole'
          : [...texts, fact.reason, fact.reason_detail, fact.response].some((text) => text !== null && hasTextSeparator(text))
            ? 'a text holds a control character'
            : null
  if (problem !== null) throw new FactRefused(fact.event_id, new Error(problem))
}

const texts = (rows: readonly Row[], of: (fact: DeliveryFact) => string | null): string =>
  joinTexts(rows.map(({ fact }) => of(fact) ?? nullText))
const literal = (rows: readonly Row[], of: (fact: DeliveryFact) => string | number | boolean | null): string =>
  `{${rows.map(({ fact }) => of(fact)).join(',')}}`

const next_attempt_at = (fact: DeliveryFact): string | null =>
  fact.delay_seconds === null ? null : new Date(Date.parse(fact.time) + fact.delay_seconds * 1_000).toISOString()

/** The parameters of `record_facts`. The parameters for the delivery refs come first. */
const parameters = Array.from({ length: 25 }, (_, i) => `$${i + 1}`).join(', ')

async function insert(pool: Pool, schema: string, rows: readonly Row[]): Promise<void> {
  await pool.query({
    name: `deliveries-record-${schema}`,
    text: `select ${schema}.record_facts(${parameters})`,
    values: [
      ...deliveryRefArrays(rows.map(({ fact }) => fact)),
      `{${rows.map((row) => row.isState).join(',')}}`,
      texts(rows, (fact) => fact.type),
      texts(rows, (fact) => statusOf[fact.type]),
      literal(rows, (fact) => isListedAttempt(fact.type)),
      literal(rows, (fact) => finality[fact.type]),
      literal(rows, (fact) => fact.event_id),
      literal(rows, (fact) => fact.time),
      literal(rows, (fact) => fact.code ?? 'NULL'),
      literal(rows, (fact) => fact.duration_ms ?? 'NULL'),
      texts(rows, (fact) => fact.reason),
      texts(rows, (fact) => fact.reason_detail),
      texts(rows, (fact) => fact.response),
      literal(rows, (fact) => next_attempt_at(fact) ?? 'NULL'),
      literal(rows, (fact) => (fact.type === 'DeliveryDeadLettered' ? fact.time : 'NULL')),
    ],
  })
}
