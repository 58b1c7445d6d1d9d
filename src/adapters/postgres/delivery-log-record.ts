import type { Pool } from 'pg'
import { finality, isGreaterFact, isRequest, statusOf } from '../../events/delivery.ts'
import { isDataError } from '../../lib/group-commit.ts'
import { deliveryRefArrays } from '../../lib/ref-columns.ts'
import { joinTexts, separator } from '../../lib/sql.ts'
import { type DeliveryFact, FactRefused } from '../../ports/delivery-log.ts'
import { type DayPartitions, isMissingPartition } from './day-partitions.ts'

/** A fact as it goes to the database: the state of its delivery as far as this batch knows, or else a request to be listed. */
interface Row {
  readonly fact: DeliveryFact
  readonly isState: boolean
}

/** One statement writes at most so much. */
const group = { rows: 1_000, bytes: 4 << 20 }
const nullMark = '\u001d'

/**
 * Writes batches of facts to the history whose tables stand in a schema: folded in memory first, so that a delivery is written once however many of its facts have
 * come. Throws FactRefused, or the error of an engine that cannot be reached.
 */
export function factWriter(pool: Pool, schema: string, days: DayPartitions): (facts: readonly DeliveryFact[]) => Promise<void> {
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
      // One of them is at fault: halved until it stands alone.
      const middle = rows.length >> 1
      await write(rows.slice(0, middle))
      await write(rows.slice(middle))
    }
  }
  return async (facts) => {
    for (const rows of groups(fold(facts))) await write(rows)
  }
}

/** Of each delivery the greatest fact, and its other requests; in the order of keys. */
function fold(facts: readonly DeliveryFact[]): Row[] {
  const deliveries = new Map<string, { key: string; greatest: DeliveryFact; others: DeliveryFact[] }>()
  for (const fact of facts) {
    checkStorable(fact)
    const key = `${fact.webhook} ${fact.accepted_at} ${fact.delivery}`
    const known = deliveries.get(key)
    if (known === undefined) deliveries.set(key, { key, greatest: fact, others: [] })
    else if (fact.event_id === known.greatest.event_id) continue
    else if (isGreaterFact(fact, known.greatest)) {
      known.others.push(known.greatest)
      known.greatest = fact
    } else known.others.push(fact)
  }
  const sorted = [...deliveries.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  return sorted.flatMap(({ greatest, others }) => [
    { fact: greatest, isState: true },
    ...others.filter((fact) => isRequest(fact.type)).map((fact) => ({ fact, isState: false })),
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

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** What Postgres would refuse, or what would not stand for itself in the parameters below. */
function checkStorable(fact: DeliveryFact): void {
  const texts = [fact.webhook, fact.tenant, fact.message, fact.place, fact.fingerprint, fact.event, fact.correlation_id, fact.type]
  const problem =
    !uuid.test(fact.delivery) || !uuid.test(fact.event_id)
      ? 'an id is not a UUID in lower case'
      : !time.test(fact.accepted_at) || !time.test(fact.time)
        ? 'a time is not RFC 3339 with milliseconds in UTC'
        : [fact.chain, fact.attempt, fact.code ?? 0].some((number) => !Number.isInteger(number))
          ? 'a number is not whole'
          : [...texts, fact.reason, fact.response].some((text) => text !== null && (text.includes(separator) || text.includes(nullMark)))
            ? 'a text holds a control character'
            : null
  if (problem !== null) throw new FactRefused(fact.event_id, new Error(problem))
}

const texts = (rows: readonly Row[], of: (fact: DeliveryFact) => string | null): string =>
  joinTexts(rows.map(({ fact }) => of(fact) ?? nullMark))
const literal = (rows: readonly Row[], of: (fact: DeliveryFact) => string | number | boolean | null): string =>
  `{${rows.map(({ fact }) => of(fact)).join(',')}}`

const next_attempt_at = (fact: DeliveryFact): string | null =>
  fact.delay_seconds === null ? null : new Date(Date.parse(fact.time) + fact.delay_seconds * 1_000).toISOString()

/** The parameters of `record_facts`: those of the delivery refs first. */
const parameters = Array.from({ length: 24 }, (_, i) => `$${i + 1}`).join(', ')

async function insert(pool: Pool, schema: string, rows: readonly Row[]): Promise<void> {
  await pool.query({
    name: `deliveries-record-${schema}`,
    text: `select ${schema}.record_facts(${parameters})`,
    values: [
      ...deliveryRefArrays(rows.map(({ fact }) => fact)),
      `{${rows.map((row) => row.isState).join(',')}}`,
      texts(rows, (fact) => fact.type),
      texts(rows, (fact) => statusOf[fact.type]),
      literal(rows, (fact) => isRequest(fact.type)),
      literal(rows, (fact) => finality[fact.type]),
      literal(rows, (fact) => fact.event_id),
      literal(rows, (fact) => fact.time),
      literal(rows, (fact) => fact.code ?? 'NULL'),
      literal(rows, (fact) => fact.duration_ms ?? 'NULL'),
      texts(rows, (fact) => fact.reason),
      texts(rows, (fact) => fact.response),
      literal(rows, (fact) => next_attempt_at(fact) ?? 'NULL'),
      literal(rows, (fact) => (fact.type === 'DeliveryDeadLettered' ? fact.time : 'NULL')),
    ],
  })
}
