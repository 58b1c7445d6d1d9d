import type { ClientBase, Pool, QueryConfig, QueryResultRow } from 'pg'
import type { Checkpoint } from '../../events/envelope.ts'
import { dayOfStream, isDayStream } from '../../events/streams.ts'
import { createGroupCommit, type GroupCommit, isDataError } from '../../lib/group-commit.ts'
import type { Log } from '../../lib/log.ts'
import { type Notices, noNotices } from '../../lib/notices.ts'
import { splitAtRepeats } from '../../lib/split-at-repeats.ts'
import { transaction } from '../../lib/sql.ts'
import { EventRefused, type EventStore, RevisionConflict, StoreUnavailable } from '../../ports/event-store.ts'
import { advisoryLocks } from './advisory-locks.ts'
import { createDayPartitions, type DayPartitions, isMissingPartition } from './day-partitions.ts'
import { type AppendItem, type AppendOutcome, encodeAppend, maxAppendBytes, recordedEvents, writeAppends } from './event-store-append.ts'
import { createDayAppends } from './event-store-day-appends.ts'
import { toPortError } from './event-store-errors.ts'
import { type Ask, createAsk } from './event-store-query.ts'
import { type EventRow, toCheckpoint, toRecordedEvent } from './event-store-rows.ts'
import { filterOf, subscribe } from './event-store-subscription.ts'
import { createTail, type Tail } from './event-store-tail.ts'

export interface PostgresEventStore extends EventStore {
  /**
   * Drops the partitions of the days before `day` (`yyyy-mm-dd`) whose events every reader of day streams has passed. Returns their names. A day
   * partition that is in use, for example by a backup, is left for the next call. The day of the newest event stays, so that the head never goes
   * back. @param passed the checkpoint that every reader of day streams has passed
   */
  dropDaysBefore(day: string, passed: Checkpoint): Promise<string[]>
}
export interface PostgresEventStoreOptions {
  /** The pool, which the caller ends after it has closed the store. */
  readonly pool: Pool
  readonly log: Log
  readonly identity: string
  /** Default: none. Other processes then poll, and find new events within 50 ms. */
  readonly notices?: Notices
  /** Whether the delivery log is on the same database and reads first successes from the events. Default false. */
  readonly keepsHistory?: boolean
  /** Seconds after which stored events of day streams are no longer read. */
  readonly dayStreamMaxAgeSeconds: number
  /** Milliseconds after which a statement without a result fails. Default 10,000. */
  readonly statementTimeoutMs?: number
}

/**
 * A patient append waits for others, so that they are written together: at most `ms`, and only until `enough` of them wait. If the process is killed
 * meanwhile, the requests of the attempts that wait here are repeated.
 */
const gathering = { ms: 30, enough: 64 }

/**
 * Makes the event store on Postgres, which is one log in two tables (migration 0002). Command streams and day streams each have their own group
 * commit with one statement in flight. So the event of a command does not wait for the events of attempts.
 */
export function createPostgresEventStore(options: PostgresEventStoreOptions): PostgresEventStore {
  const { pool, log, identity, dayStreamMaxAgeSeconds, notices = noNotices, keepsHistory = false, statementTimeoutMs = 10_000 } = options
  const closing = new AbortController()
  const ask = createAsk(pool, statementTimeoutMs)
  const days = createDayPartitions({
    pool,
    tables: ['day_events'],
    onError: (error) => log.warn({ error }, 'event_store.next_day_not_made'),
  })
  const tail = createTail({ ask, log, notices, signal: closing.signal })
  const commandLane = createLane(tail, 0, (items) => writeAppends(ask, items))
  const dayLane = createLane(tail, gathering.ms, createDayWriter(ask, days))
  const query = async <R extends QueryResultRow>(config: QueryConfig): Promise<R[]> => {
    try {
      return await ask<R>(config)
    } catch (error) {
      throw toPortError(error, undefined)
    }
  }

  return {
    identity,
    problem: null, // other health checks report the database
    async append(stream, events, expected, { patient = false } = {}) {
      if (closing.signal.aborted) throw new StoreUnavailable('the event store is closed')
      const item = encodeAppend(stream, events, expected, keepsHistory)
      let outcome: AppendOutcome
      try {
        outcome = await (item.day === null ? commandLane : dayLane).add(item, { patient })
      } catch (error) {
        throw toPortError(error, stream)
      }
      if (outcome.kind === 'conflict') throw new RevisionConflict(stream, expected, outcome.actual)
      if (outcome.kind === 'refused') throw new EventRefused(`stream ${stream}: another stream has an event with an id of this append`)
      return { revision: outcome.revision, position: outcome.position }
    },
    async read(stream, { from, limit, backwards = false } = {}) {
      const direction = backwards ? 'backwards' : 'forwards'
      const isDay = isDayStream(stream)
      const rows = await query<EventRow>({
        name: `event-store-read-${isDay ? 'day' : 'commands'}-${direction}`,
        text: readText(isDay, backwards),
        values: [
          stream,
          from ?? (backwards ? maxInteger : 0),
          limit ?? null,
          ...(isDay ? [dayOfStream(stream), dayStreamMaxAgeSeconds] : []),
        ],
      })
      return rows.map(toRecordedEvent)
    },
    subscribe: ({ families, after, signal, batch = 500 }) =>
      subscribe({ ask, log, tail, families, after, batch, signal: AbortSignal.any([signal, closing.signal]) }),
    async head(families) {
      const filter = filterOf(families)
      const rows = await query<{ head: bigint | string | null }>({
        name: 'event-store-head',
        text: 'select events_head($1, $2) as head',
        values: [filter.commands, filter.days],
      })
      const head = rows[0]?.head ?? null
      return head === null ? null : toCheckpoint(head)
    },
    dropDaysBefore: (day, passed) => days.dropBefore(day, (client, partition) => mayDrop(client, partition, passed)),
    async close() {
      closing.abort()
      await Promise.all([commandLane.idle(), dayLane.idle()])
    },
  }
}

/** Writes appends in groups, and gives the written events to the tail. */
const createLane = (
  tail: Tail,
  lingerMs: number,
  writePart: (items: readonly AppendItem[]) => Promise<AppendOutcome[]>,
): GroupCommit<AppendItem, AppendOutcome> =>
  createGroupCommit<AppendItem, AppendOutcome>({
    async write(items) {
      const outcomes: AppendOutcome[] = []
      for (const part of splitAtRepeats(items)) {
        const partOutcomes = await writePart(part)
        tail.appended(recordedEvents(part, partOutcomes))
        outcomes.push(...partOutcomes)
      }
      return outcomes
    },
    bytesOf: (item) => item.bytes,
    maxBytes: maxAppendBytes,
    lingerMs,
    enough: gathering.enough,
    isItemFault: isDataError,
    full: () => new StoreUnavailable('too many appends are waiting to be written'),
  })

/** Writes appends to day streams, and makes the partitions of their days first. */
function createDayWriter(ask: Ask, days: DayPartitions): (items: readonly AppendItem[]) => Promise<AppendOutcome[]> {
  const append = createDayAppends(ask)
  return async (items) => {
    const write = async () => {
      // Partitions are created before the statement and not inside it, because creating one takes locks for which appends must not wait.
      await days.ensure(items.map((item) => item.day!))
      return append(items)
    }
    try {
      return await write()
    } catch (error) {
      if (!isMissingPartition(error)) throw error
      days.forget() // another process has dropped the partition
      return await write()
    }
  }
}

/** Returns whether every reader has passed the events of a day's partition. The head marks of a dropped day are deleted with it. */
async function mayDrop(client: ClientBase, partition: string, passed: Checkpoint): Promise<boolean> {
  const { rows } = await client.query<{ may: boolean }>(
    `with newest as (select max(position) as position from ${partition})
     select position is null or (position <= $1 and position < events_head(false, true)) as may from newest`,
    [passed],
  )
  if (rows[0]?.may !== true) return false
  await client.query(`delete from day_event_marks where day = to_date(right($1, 8), 'YYYYMMDD')`, [partition])
  return true
}

const maxInteger = 2 ** 31 - 1
const readText = (isDay: boolean, backwards: boolean): string =>
  `select position, id, revision, stream, type, data, metadata from ${isDay ? 'day_events' : 'command_events'}
   where stream = $1 and revision ${backwards ? '<=' : '>='} $2
   ${isDay ? "and day = $4 and stored_at > clock_timestamp() - $5 * interval '1 second'" : ''}
   order by revision ${backwards ? 'desc' : 'asc'} limit $3`

/**
 * Moves the sequence of positions past the last position that is taken. Otherwise an event that somebody inserted by SQL would have the same position as
 * the next genuine one, which subscriptions and the batches of attempts would then skip.
 */
export async function skipTakenPositions(pool: Pool): Promise<void> {
  await transaction(pool, async (client) => {
    await client.query('select pg_advisory_xact_lock($1)', [advisoryLocks.eventLog])
    // The sequence is gone once the events were moved to another engine.
    const { rows } = await client.query(`select where to_regclass('event_positions') is not null`)
    if (rows.length === 0) return
    await client.query(`
      select setval('event_positions', taken.position)
      from (select greatest((select max(position) from command_events), (select max(position) from day_events)) as position) taken
      where taken.position > (select last_value from event_positions)`)
  })
}
