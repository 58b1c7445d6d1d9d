import type { Pool } from 'pg'
import { finality, isGreaterFact, isListedAttempt, statusOf } from '../../events/delivery.ts'
import { isDataError } from '../../lib/group-commit.ts'
import { joinTexts, nullText } from '../../lib/joined-texts.ts'
import { deliveryRefArrays } from '../../lib/ref-columns.ts'
import { type DeliveryFact, FactRefused } from '../../ports/delivery-log.ts'
import { type DayPartitions, isMissingPartition } from './day-partitions.ts'
import { problemOf } from './storable-facts.ts'

/** A fact to be written. The greatest fact of a delivery in the batch is written as its state, and any other fact as an attempt. */
interface Row {
  readonly fact: DeliveryFact
  readonly isState: boolean
}

interface FactWriterOptions {
  readonly pool: Pool
  /** The schema of the build's tables. */
  readonly schema: string
  readonly days: DayPartitions
  /** Whether the queries of the history read the events of first successes. The writer then leaves out most of these events. */
  readonly readsEvents: boolean
}

/** One statement writes at most this many rows and bytes. */
const group = { rows: 1_000, bytes: 4 << 20 }

/**
 * Makes the writer of one build of the history. The writer first folds a batch in memory, so that a delivery is written once for all its facts in the
 * batch. It throws FactRefused, or the error of a database that cannot be reached.
 */
export function createFactWriter({
  pool,
  schema,
  days,
  readsEvents,
}: FactWriterOptions): (facts: readonly DeliveryFact[]) => Promise<void> {
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
    const deliveries = fold(facts)
    const unwritten = readsEvents ? deliveries.filter((delivery) => !isInEvents(delivery)) : deliveries
    for (const rows of groups(rowsOf(unwritten))) await write(rows)
  }
}

/** The facts of one delivery in a batch. */
interface FoldedDelivery {
  /** A text by which deliveries are sorted into the order of the table's key. */
  readonly key: string
  greatest: DeliveryFact
  readonly others: DeliveryFact[]
}

/** Returns the greatest fact and the other facts of each delivery, in the order of the table's key. */
function fold(facts: readonly DeliveryFact[]): FoldedDelivery[] {
  const deliveries = new Map<string, FoldedDelivery>()
  for (const fact of facts) {
    if (fact.in_history !== true) checkStorable(fact) // the store has checked an event that it keeps as history
    const key = `${fact.webhook} ${fact.accepted_at} ${fact.delivery}`
    const delivery = deliveries.get(key)
    if (delivery === undefined) deliveries.set(key, { key, greatest: fact, others: [] })
    else if (fact.event_id === delivery.greatest.event_id) continue
    else if (isGreaterFact(fact, delivery.greatest)) {
      delivery.others.push(delivery.greatest)
      delivery.greatest = fact
    } else delivery.others.push(fact)
  }
  return [...deliveries.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
}

/**
 * Returns whether the events of first successes show all that these facts say. A first success alone is not enough: without the MessageRouted in the same
 * batch, the delivery may have a row as pending, which the success must overwrite.
 */
const isInEvents = ({ greatest, others }: FoldedDelivery): boolean =>
  greatest.in_history === true &&
  others.some(({ type }) => type === 'MessageRouted') &&
  others.every((fact) => fact.type === 'MessageRouted' || fact.in_history === true)

const rowsOf = (deliveries: readonly FoldedDelivery[]): Row[] =>
  deliveries.flatMap(({ greatest, others }) => [
    { fact: greatest, isState: true },
    ...others.filter((fact) => isListedAttempt(fact.type)).map((fact) => ({ fact, isState: false })),
  ])

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

function checkStorable(fact: DeliveryFact): void {
  const problem = problemOf(fact)
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
