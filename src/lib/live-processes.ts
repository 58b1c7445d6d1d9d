import { isDeepStrictEqual } from 'node:util'
import type { Pool } from 'pg'
import type { Notices } from './notices.ts'
import { keepRunning } from './retry.ts'
import { createWake, untilPoll } from './wake.ts'

/** Counts the live processes of a role, so that limits can be divided among them. */
export interface LiveProcesses {
  /** Returns the number of live processes of the role, and at least 1. */
  count(role: string): number
  /** Whether this is the only live process. Processes of all roles count. */
  readonly isAlone: boolean
  /** Whether no process of version 0.2 lived at the last heartbeat. Such a process cannot read every event of this version. */
  readonly isVersion02Gone: boolean
  /** Returns whether every live process writes MACs of commands or of attempts. A process of an older version does not. */
  allWrite(macs: 'writes_macs' | 'writes_attempt_macs'): Promise<boolean>
  /**
   * Announces that this process is about to stop. The others no longer count it, and take its share of the work, while it finishes what it has begun.
   */
  withdraw(): void
  close(): Promise<void>
}

/**
 * Announces this process and counts the others, by heartbeats in Postgres every `everyMs`. A process that misses three heartbeats is no longer
 * counted. Notices report at once that a process starts or stops.
 */
export async function joinLiveProcesses(options: {
  pool: Pool
  id: string
  roles: readonly string[]
  notices: Notices
  everyMs?: number
  onError(error: unknown): void
}): Promise<LiveProcesses> {
  const { pool, id, roles, notices, everyMs = 2_000, onError } = options
  /** Live processes of each role, this one included. */
  let counts = new Map(roles.map((role) => [role, 1]))
  let isAlone = true
  let isVersion02Gone = false
  const wake = createWake()
  const stop = new AbortController()
  let announcedRoles = roles
  let withdrawing = Promise.resolve()
  const beat = async () => {
    const { rows } = await pool.query<{ roles: string[]; writes_macs: boolean }>({
      name: 'live-processes-beat',
      text: `with beat as (
               insert into live_processes (id, roles, seen_at, writes_macs, writes_attempt_macs) values ($1, $2, clock_timestamp(), true, true)
               on conflict (id) do update set seen_at = excluded.seen_at, roles = excluded.roles
             ), gone as (
               delete from live_processes where seen_at < clock_timestamp() - interval '1 hour'
             )
             select roles, writes_macs from live_processes where seen_at > clock_timestamp() - $3 * interval '1 ms' and id <> $1`,
      values: [id, announcedRoles, everyMs * 3],
    })
    const formerCounts = counts
    counts = new Map(roles.map((role) => [role, 1]))
    for (const role of rows.flatMap((row) => row.roles)) counts.set(role, (counts.get(role) ?? 0) + 1)
    isAlone = rows.length === 0
    isVersion02Gone = rows.every((row) => row.writes_macs)
    if (!isDeepStrictEqual(counts, formerCounts)) notices.tell('processes')
  }
  await beat()
  const stopListening = notices.on('processes', wake.notify)
  notices.tellOthers('processes')
  const loop = keepRunning(
    async () => {
      await wake.wait(untilPoll(everyMs), stop.signal)
      if (!stop.signal.aborted) await beat()
    },
    { signal: stop.signal, onError },
  )
  return {
    count: (role) => Math.max(1, counts.get(role) ?? 0),
    get isAlone() {
      return isAlone
    },
    get isVersion02Gone() {
      return isVersion02Gone
    },
    async allWrite(macs) {
      const { rowCount } = await pool.query(
        `select from live_processes where not ${macs} and seen_at > clock_timestamp() - $1 * interval '1 ms' limit 1`,
        [everyMs * 3],
      )
      return rowCount === 0
    },
    withdraw() {
      announcedRoles = []
      withdrawing = beat().then(() => notices.tellOthers('processes'), onError)
    },
    async close() {
      stop.abort()
      stopListening()
      await loop
      await withdrawing
      await pool.query('delete from live_processes where id = $1', [id])
      notices.tellOthers('processes')
    },
  }
}
