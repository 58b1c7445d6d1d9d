import { type DeliveryFact, factsOf } from '../../events/delivery-facts.ts'
import type { EventId } from '../../events/ids.ts'
import { deliveryRefFields } from '../../events/refs.ts'
import { upcast } from '../../events/schema.ts'
import type { StreamName } from '../../events/streams.ts'
import type { Attempt, Delivery } from '../../ports/delivery-log.ts'

/** A delivery in its present state, with the request that brought it there. */
export type DeliveryRow = Delivery & Pick<Attempt, 'event_id' | 'duration_ms' | 'reason_detail' | 'response'>
/** The columns with the event of a first success. In the row of a first success, most other columns are null. */
export interface StoredSuccess {
  readonly event_id: EventId
  readonly event_stream: StreamName | null
  readonly event_data: string | null
  readonly event_metadata: string | null
}
/** The bounds of the times of acceptance that a query reads, as SQL. Without them, a query opens the partitions of every day. */
export interface Bounds {
  readonly first?: string | undefined
  readonly last?: string | undefined
}
interface StatesQuery {
  /** A condition on the columns of `deliveries`. */
  readonly where: string
  readonly order?: string
  readonly limit: number
  readonly bounds?: Bounds
}

/**
 * The columns of `deliveries` that queries read, each with its SQL for a first success. A column that no query compares is null, because
 * `deliveryOf` takes its value from the event.
 */
const successColumns: Readonly<Record<string, string>> = {
  ...Object.fromEntries([...deliveryRefFields, 'reason', 'reason_detail', 'response'].map((column) => [column, 'null::text'])),
  tenant: `(e.metadata::json->>'tenant') collate "C"`,
  webhook: 'substr(e.stream, 10, 26)',
  accepted_at: 'e.accepted_at',
  delivery: 'e.delivery',
  chain: '1',
  attempt: '1',
  finality: '3',
  type: `'DeliverySucceeded'::text`,
  status: `'success'::text`,
  event_id: 'e.id',
  time: 'null::timestamptz',
  next_attempt_at: 'null::timestamptz',
  died_at: 'null::timestamptz',
  // A query can ask for these two. The store refuses a text that Postgres cannot read as JSON (`first-successes.ts`).
  event: `(e.data::json->>'event')`,
  code: `(e.data::json->>'code')::integer`,
  duration_ms: 'null::double precision',
}
const columns = Object.keys(successColumns)
/** The columns from which `deliveryOf` makes a delivery. */
export const deliveryRowColumns = [
  ...columns.filter((column) => column !== 'died_at' && column !== 'finality'),
  'event_stream',
  'event_data',
  'event_metadata',
]
  .map((column) => `d.${column}`)
  .join(', ')
/** The rank of a first success among the facts of its delivery, in the order of `isGreaterFact`. */
const rankOf = (alias: string) => `(1, 3, 1, ${alias}.event_id)`
const successesIn = (bounds: Bounds, also = ''): string =>
  `(select ${columns.map((column) => `${successColumns[column]} as ${column}`).join(', ')}, e.day, e.stream as event_stream, e.data as event_data, e.metadata as event_metadata
    from day_events e where e.delivery is not null ${daysOf('e', bounds)} ${also})`

/**
 * Returns a query of the deliveries of a build in their present state, one row for each. With `readsEvents`, it also reads the first successes of the
 * event store. If a delivery has both a row and an event, the greater fact of the two
 * counts. So the result is right even if the row is older than the event, because only MessageRouted has been written.
 *
 * Each part of the union has the condition, order and limit, so that an index serves them. The look-ups of other facts are lateral joins with a limit,
 * because Postgres runs these for each row, and never turns them into a join that reads whole days.
 */
export function statesIn(schema: string, readsEvents: boolean, { where, order, limit, bounds = {} }: StatesQuery): string {
  const end = `${order === undefined ? '' : `order by ${order}`} limit ${limit}`
  const rowColumns = columns.map((column) => `r.${column}`).join(', ')
  const rows = `select ${rowColumns}, null::text as event_stream, null::text as event_data, null::text as event_metadata from ${schema}.deliveries r`
  if (!readsEvents) return `(${rows} where ${where} ${end})`
  const isSame = (alias: string, otherAlias: string) =>
    `${alias}.webhook = ${otherAlias}.webhook and ${alias}.accepted_at = ${otherAlias}.accepted_at and ${alias}.delivery = ${otherAlias}.delivery`
  const daysOfSame = (other: string) => `and e.day between ${other}.accepted_at::date and ${other}.accepted_at::date + 1`
  return `(
    (select r.* from (${rows} where ${where}) r
     left join lateral (
       select true as is_there from ${successesIn(bounds, daysOfSame('r'))} g
       where r.chain = 1 and ${isSame('g', 'r')} and (r.chain, r.finality, r.attempt, r.event_id) < ${rankOf('g')} limit 1
     ) as greater_event on true
     where greater_event.is_there is null ${end})
    union all
    (select ${columns.map((column) => `s.${column}`).join(', ')}, s.event_stream, s.event_data, s.event_metadata from ${successesIn(bounds)} s
     left join lateral (
       select true as is_there from ${successesIn(bounds, daysOfSame('s'))} t where ${isSame('t', 's')} and t.event_id > s.event_id limit 1
     ) as greater_twin on true
     left join lateral (
       select true as is_there from ${schema}.deliveries r
       where ${isSame('r', 's')} ${acceptedIn('r', bounds)} and (r.chain, r.finality, r.attempt, r.event_id) >= ${rankOf('s')} limit 1
     ) as greater_row on true
     where ${where} and greater_twin.is_there is null and greater_row.is_there is null ${end})
    ${end}
  )`
}

/** Returns the first successes of the deliveries `k` as attempts, like the other attempts of a query. */
export const successesAsAttempts = (attemptColumns: string, bounds: Bounds): string =>
  `select ${attemptColumns
    .split(', ')
    .map((column) => (column === 'time' ? `(e.metadata::json->>'time')::timestamptz` : successColumns[column]))
    .join(', ')}, e.stream as event_stream, e.data as event_data, e.metadata as event_metadata
   from day_events e where substr(e.stream, 10, 26) = k.webhook and e.accepted_at = k.accepted_at and e.delivery = k.delivery ${daysOf('e', bounds)}`

/** Returns the condition that selects the days of the events in the bounds. A first success is at most one day later than the acceptance. */
const daysOf = (alias: string, { first, last }: Bounds): string =>
  `${first === undefined ? '' : `and ${alias}.day >= ${first}::date`} ${last === undefined ? '' : `and ${alias}.day <= ${last}::date + 1`}`

const acceptedIn = (alias: string, { first, last }: Bounds): string =>
  `${first === undefined ? '' : `and ${alias}.accepted_at >= ${first}`} ${last === undefined ? '' : `and ${alias}.accepted_at <= ${last}`}`

/** Returns the delivery of a row of `statesIn`. */
export function deliveryOf({ event_stream, event_data, event_metadata, ...row }: DeliveryRow & StoredSuccess): DeliveryRow {
  const fact = successOf({ event_id: row.event_id, event_stream, event_data, event_metadata })
  if (fact === null) return row
  const { delay_seconds, ...success } = fact
  return { ...success, status: 'success', next_attempt_at: null }
}
/** Returns the attempt of a row that may be a first success. */
export function attemptOf({ event_stream, event_data, event_metadata, ...attempt }: Attempt & StoredSuccess): Attempt {
  const fact = successOf({ event_id: attempt.event_id, event_stream, event_data, event_metadata })
  if (fact === null) return attempt
  const { event_id, chain, attempt: number, type, time, code, duration_ms, reason, reason_detail, response } = fact
  return { event_id, chain, attempt: number, type, time, code, duration_ms, reason, reason_detail, response }
}
function successOf({ event_id: id, event_stream: stream, event_data, event_metadata }: StoredSuccess): DeliveryFact | null {
  if (stream === null || event_data === null || event_metadata === null) return null
  const event = { id, type: 'DeliverySucceeded', stream, data: JSON.parse(event_data) as object, metadata: JSON.parse(event_metadata) }
  return factsOf(upcast(event))[0]!
}
