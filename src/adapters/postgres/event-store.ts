import type { Pool, QueryConfig, QueryResultRow } from 'pg'
import type { Checkpoint } from '../../events/envelope.ts'
import { dayOfStream, type Family, isDayStream } from '../../events/streams.ts'
import { createGroupCommit, isDataError } from '../../lib/group-commit.ts'
import type { Log } from '../../lib/log.ts'
import { roundsOf } from '../../lib/rounds.ts'
import { EventRefused, type EventStore, RevisionConflict, StoreUnavailable } from '../../ports/event-store.ts'
import { createDayPartitions, isMissingPartition } from './day-partitions.ts'
import {
  type AppendItem,
  type AppendOutcome,
  createDayAppends,
  encodeAppend,
  maxAppendBytes,
  recordedOf,
  toCheckpoint,
  writeAppends,
} from './event-store-append.ts'
import { toPortError } from './event-store-errors.ts'
import { askWithin } from './event-store-query.ts'
import { type EventRow, toRecordedEvent } from './event-store-rows.ts'
import { subscription, wantedOf } from './event-store-subscription.ts'
import { tail } from './event-store-tail.ts'

export interface PostgresEventStore extends EventStore {
  /**
   * Drops the days before `day` (`yyyy-mm-dd`) whose events all stand at or before `passed`, the checkpoint that every
   * subscriber of day streams has passed. Answers the partitions dropped. One that is in use, as by a backup, is left for
   * the next time; that of the newest event stays, so that the head never goes back.
   */
  dropDaysBefore(day: string, passed: Checkpoint): Promise<string[]>
}
export interface PostgresEventStoreOptions {
  /** Its owner ends it, after `close`. */
  readonly pool: Pool
  readonly log: Log
  readonly identity: string
  /** Events of day streams are not read once Postgres has had them for longer. */
  readonly dayStreamMaxAgeSeconds: number
  /** A statement that takes longer counts as not answered. Default 10 s. */
  readonly statementTimeoutMs?: number
}

/** How long a patient append waits for company. */
const lingerMs = 10
/**
 * The event store on Postgres: one log of two tables (see its migration). Two lanes of group commit, each with one statement
 * under way, so that a caller who waits for a command's event does not stand behind the attempts.
 */
export function createPostgresEventStore(options: PostgresEventStoreOptions): PostgresEventStore {
  const { pool, log, identity, dayStreamMaxAgeSeconds, statementTimeoutMs = 10_000 } = options
  const closing = new AbortController()
  const ask = askWithin(pool, statementTimeoutMs)
  const days = createDayPartitions({
    pool,
    tables: ['day_events'],
    onError: (error) => log.warn({ error }, 'event_store.next_day_not_made'),
  })

  const newest = tail({ ask, log, signal: closing.signal })
  const lane = (linger: number, writeRound: (items: readonly AppendItem[]) => Promise<AppendOutcome[]>) =>
    createGroupCommit<AppendItem, AppendOutcome>({
      async write(items) {
        const outcomes: AppendOutcome[] = []
        for (const round of roundsOf(items)) {
          const answered = await writeRound(round)
          newest.appended(recordedOf(round, answered))
          outcomes.push(...answered)
        }
        return outcomes
      },
      bytesOf: (item) => item.bytes,
      maxBytes: maxAppendBytes,
      lingerMs: linger,
      isPoison: isDataError,
      full: () => new StoreUnavailable('too many appends are waiting to be written'),
    })
  const commandLane = lane(0, (items) => writeAppends(ask, items))
  const writeDays = createDayAppends(ask)
  const dayLane = lane(lingerMs, async (items) => {
    // Before the statement, never inside it: making a partition takes locks that appends must not wait for.
    const write = async () => {
      await days.ensure(items.map((item) => item.day!))
      return writeDays(items)
    }
    try {
      return await write()
    } catch (error) {
      if (!isMissingPartition(error)) throw error
      days.forget() // another process has dropped it
      return await write()
    }
  })

  const answer = async <R extends QueryResultRow>(query: QueryConfig): Promise<R[]> => {
    try {
      return await ask<R>(query)
    } catch (error) {
      throw toPortError(error, undefined)
    }
  }

  return {
    identity,
    async append(stream, events, expected, { patient = false } = {}) {
      if (closing.signal.aborted) throw new StoreUnavailable('the event store is closed')
      const item = encodeAppend(stream, events, expected)
      let outcome: AppendOutcome
      try {
        outcome = await (item.day === null ? commandLane : dayLane).add(item, { patient })
      } catch (error) {
        throw toPortError(error, stream)
      }
      if (outcome.kind === 'conflict') throw new RevisionConflict(stream, expected, outcome.actual)
      if (outcome.kind === 'refused') throw new EventRefused(`stream ${stream}: an event elsewhere has an id of this append`)
      return { revision: outcome.revision, position: outcome.position }
    },
    async read(stream, { from, limit, backwards = false } = {}) {
      const direction = backwards ? 'backwards' : 'forwards'
      const day = isDayStream(stream)
      const rows = await answer<EventRow>({
        name: `event-store-read-${day ? 'day' : 'commands'}-${direction}`,
        text: readText(day, backwards),
        values: [
          stream,
          from ?? (backwards ? maxInteger : 0),
          limit ?? null,
          ...(day ? [dayOfStream(stream), dayStreamMaxAgeSeconds] : []),
        ],
      })
      return rows.map(toRecordedEvent)
    },
    subscribe: ({ families, after, signal, batch = 500 }) =>
      subscription({ ask, log, tail: newest, families, after, batch, signal: AbortSignal.any([signal, closing.signal]) }),
    async head(families: readonly Family[]) {
      const wanted = wantedOf(families)
      const rows = await answer<{ head: bigint | string | null }>({
        name: 'event-store-head',
        text: 'select events_head($1, $2) as head',
        values: [wanted.commands, wanted.days],
      })
      const head = rows[0]?.head ?? null
      return head === null ? null : toCheckpoint(head)
    },
    dropDaysBefore: (day, passed) =>
      days.dropBefore(day, async (client, partition) => {
        const { rows } = await client.query<{ may: boolean }>(
          `with newest as (select max(position) as position from ${partition})
           select position is null or (position <= $1 and position < events_head(false, true)) as may from newest`,
          [passed],
        )
        if (rows[0]?.may !== true) return false
        await client.query(`delete from day_event_marks where day = to_date(right($1, 8), 'YYYYMMDD')`, [partition])
        return true
      }),
    async close() {
      closing.abort()
      await Promise.all([commandLane.idle(), dayLane.idle()])
    },
  }
}

const maxInteger = 2 ** 31 - 1
const readText = (day: boolean, backwards: boolean): string =>
  `select position, id, revision, stream, type, data, metadata from ${day ? 'day_events' : 'command_events'}
   where stream = $1 and revision ${backwards ? '<=' : '>='} $2
   ${day ? "and day = $4 and stored_at > clock_timestamp() - $5 * interval '1 second'" : ''}
   order by revision ${backwards ? 'desc' : 'asc'} limit $3`
