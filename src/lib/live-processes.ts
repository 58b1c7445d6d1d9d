import type { Pool } from 'pg'
import { keepRunning, pause } from './retry.ts'

/** Counts the live processes of a role, so that limits can be divided among them. */
export interface LiveProcesses {
  /** Returns the number of live processes of the role, and at least 1. */
  count(role: string): number
  close(): Promise<void>
}

/**
 * Announces this process and counts the others, by heartbeats in Postgres every `everyMs`. A process that misses five heartbeats is no longer
 * counted.
 */
export async function joinLiveProcesses(options: {
  pool: Pool
  id: string
  roles: readonly string[]
  everyMs?: number
  onError(error: unknown): void
}): Promise<LiveProcesses> {
  const { pool, id, roles, everyMs = 1_000, onError } = options
  let counts = new Map<string, number>()
  const stop = new AbortController()
  const beat = async () => {
    const { rows } = await pool.query<{ role: string; n: string }>({
      name: 'live-processes-beat',
      text: `with beat as (
               insert into live_processes (id, roles, seen_at) values ($1, $2, clock_timestamp())
               on conflict (id) do update set seen_at = excluded.seen_at
             ), gone as (
               delete from live_processes where seen_at < clock_timestamp() - interval '1 hour'
             )
             select role, count(*) as n from live_processes, unnest(roles) as role
             where seen_at > clock_timestamp() - $3 * interval '1 ms' and id <> $1 group by role`,
      values: [id, roles, everyMs * 5],
    })
    counts = new Map(rows.map((row) => [row.role, Number(row.n)]))
  }
  await beat()
  const loop = keepRunning(
    async () => {
      await pause(everyMs, stop.signal)
      if (!stop.signal.aborted) await beat()
    },
    { signal: stop.signal, onError },
  )
  return {
    count: (role) => Math.max(1, (counts.get(role) ?? 0) + (roles.includes(role) ? 1 : 0)),
    async close() {
      stop.abort()
      await loop
      await pool.query('delete from live_processes where id = $1', [id])
    },
  }
}
