import { factsOf } from '../../events/delivery-facts.ts'
import type { RecordedEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import { deliveryRefFields } from '../../events/refs.ts'
import { upcast } from '../../events/schema.ts'
import type { StreamName } from '../../events/streams.ts'
import type { Attempt, Delivery } from '../../ports/delivery-log.ts'
import { toRecordedEvent } from './event-store-rows.ts'

/** A delivery in its present state, with the request that brought it there. */
export type DeliveryRow = Delivery & Pick<Attempt, 'event_id' | 'duration_ms' | 'reason_detail' | 'response'>
/** The columns with the event of a first success. In the row of a first success, most other columns are null. */
export interface StoredSuccess {
  readonly event_id: EventId
  readonly event_stream: StreamName | null
  readonly event_data: string | null
  readonly event_metadata: string | null
  readonly event_position: bigint | string | null
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
  /** The ids of events that are left out, as SQL. By default none. */
  readonly except?: string | undefined
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
  'event_position',
]
  .map((column) => `d.${column}`)
  .join(', ')
/** The rank of a first success among the facts of its delivery, in the order of `isGreaterFact`. */
const rankOf = (alias: string) => `(1, 3, 1, ${alias}.event_id)`
const successesIn = (bounds: Bounds, except: string | undefined, also = ''): string =>
  `(select ${columns.map((column) => `${successColumns[column]} as ${column}`).join(', ')}, e.day, e.stream as event_stream, e.data as event_data, e.metadata as event_metadata, e.position as event_position
    from day_events e where e.delivery is not null ${daysOf('e', bounds)} ${except === undefined ? '' : `and e.id <> all (${except})`} ${also})`

/**
 * Returns a query of the deliveries of a build in their present state, one row for each. With `readsEvents`, it also reads the first successes of the
 * event store. If a delivery has both a row and an event, the greater fact of the two
 * counts. So the result is right even if the row is older than the event, because only MessageRouted has been written.
 *
 * Each part of the union has the condition, order and limit, so that an index serves them. The look-ups of other facts are lateral joins with a limit,
 * because Postgres runs these for each row, and never turns them into a join that reads whole days.
 */
export function statesIn(schema: string, readsEvents: boolean, { where, order, limit, bounds = {}, except }: StatesQuery): string {
  const end = `${order === undefined ? '' : `order by ${order}`} limit ${limit}`
  const rowColumns = columns.map((column) => `r.${column}`).join(', ')
  const rows = `select ${rowColumns}, null::text as event_stream, null::text as event_data, null::text as event_metadata, null::bigint as event_position from ${schema}.deliveries r`
  if (!readsEvents) return `(${rows} where ${where} ${end})`
  const isSame = (alias: string, otherAlias: string) =>
    `${alias}.webhook = ${otherAlias}.webhook and ${alias}.accepted_at = ${otherAlias}.accepted_at and ${alias}.delivery = ${otherAlias}.delivery`
  const daysOfSame = (other: string) => `and e.day between ${other}.accepted_at::date and ${other}.accepted_at::date + 1`
  return `(
    (select r.* from (${rows} where ${where}) r
     left join lateral (
       select true as is_there from ${successesIn(bounds, except, daysOfSame('r'))} g
       where r.chain = 1 and ${isSame('g', 'r')} and (r.chain, r.finality, r.attempt, r.event_id) < ${rankOf('g')} limit 1
     ) as greater_event on true
     where greater_event.is_there is null ${end})
    union all
    (select ${columns.map((column) => `s.${column}`).join(', ')}, s.event_stream, s.event_data, s.event_metadata, s.event_position from ${successesIn(bounds, except)} s
     left join lateral (
       select true as is_there from ${successesIn(bounds, except, daysOfSame('s'))} t where ${isSame('t', 's')} and t.event_id > s.event_id limit 1
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
    .join(', ')}, e.stream as event_stream, e.data as event_data, e.metadata as event_metadata, e.position as event_position
   from day_events e where substr(e.stream, 10, 26) = k.webhook and e.accepted_at = k.accepted_at and e.delivery = k.delivery ${daysOf('e', bounds)}`

/** Returns the condition that selects the days of the events in the bounds. A first success is at most one day later than the acceptance. */
const daysOf = (alias: string, { first, last }: Bounds): string =>
  `${first === undefined ? '' : `and ${alias}.day >= ${first}::date`} ${last === undefined ? '' : `and ${alias}.day <= ${last}::date + 1`}`

const acceptedIn = (alias: string, { first, last }: Bounds): string =>
  `${first === undefined ? '' : `and ${alias}.accepted_at >= ${first}`} ${last === undefined ? '' : `and ${alias}.accepted_at <= ${last}`}`

/** Returns the delivery of a row of `statesIn`. */
export function deliveryOf({ event_stream, event_data, event_metadata, event_position, ...row }: DeliveryRow & StoredSuccess): DeliveryRow {
  const event = successOf({ event_id: row.event_id, event_stream, event_data, event_metadata, event_position })
  if (event === null) return row
  const { delay_seconds, ...success } = factsOf(upcast(event))[0]!
  return { ...success, status: 'success', next_attempt_at: null }
}
/** Returns the attempt of a row that may be a first success. */
export function attemptOf({ event_stream, event_data, event_metadata, event_position, ...attempt }: Attempt & StoredSuccess): Attempt {
  const event = successOf({ event_id: attempt.event_id, event_stream, event_data, event_metadata, event_position })
  if (event === null) return attempt
  const { event_id, chain, attempt: number, type, time, code, duration_ms, reason, reason_detail, response } = factsOf(upcast(event))[0]!
  return { event_id, chain, attempt: number, type, time, code, duration_ms, reason, reason_detail, response }
}
/** Returns the event of a first success as it is stored, or null for a row of the history. Its revision is not read, and its MAC does not cover it. */
export function successOf({
  event_id: id,
  event_stream: stream,
  event_data,
  event_metadata,
  event_position,
}: StoredSuccess): RecordedEvent | null {
  if (stream === null || event_data === null || event_metadata === null || event_position === null) return null
  const stored = {
    id,
    type: 'DeliverySucceeded',
    stream,
    revision: 0,
    position: event_position,
    data: event_data,
    metadata: event_metadata,
  }
  return toRecordedEvent(stored)
}
