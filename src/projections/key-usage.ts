import type { Pool } from 'pg'
import type { KeyId } from '../events/ids.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { createWake } from '../lib/wake.ts'

/** Records when keys were last used. The recorder is not a projection, because no event records the use of a key. */
export interface KeyUsage {
  /** Remembers a use. It is written within about a second. @param time RFC 3339 */
  touch(key: KeyId, time: string): void
  /** Writes the uses that are still in memory, and stops. */
  close(): Promise<void>
}

/** Milliseconds after which the recorder writes the uses in memory, even if no call has woken it. */
const longestWaitMs = 60_000

/** Makes a recorder that collects uses in memory and writes the latest use of each key in one statement every `everyMs`. */
export function createKeyUsage(options: { pool: Pool; everyMs?: number; onError(error: unknown): void }): KeyUsage {
  const { pool, everyMs = 1_000, onError } = options
  let uses = new Map<KeyId, string>()
  const wake = createWake()
  const remember = (key: KeyId, time: string) => {
    if (time > (uses.get(key) ?? '')) uses.set(key, time)
    wake.notify()
  }
  const flush = async () => {
    if (uses.size === 0) return
    const batch = uses
    uses = new Map()
    // The keys are sorted, because several processes write the same rows, and different orders of locks cause deadlocks.
    const keys = [...batch.keys()].sort()
    try {
      await pool.query({
        name: 'key-usage-write',
        text: `insert into key_usage (key_id, last_accessed_at) select * from unnest($1::text[], $2::timestamptz[])
               on conflict (key_id) do update set last_accessed_at = excluded.last_accessed_at
               where key_usage.last_accessed_at < excluded.last_accessed_at`,
        values: [keys, keys.map((key) => batch.get(key))],
      })
    } catch (error) {
      for (const [key, time] of batch) remember(key, time) // The next write includes the uses of this batch.
      throw error
    }
  }
  const stop = new AbortController()
  const loop = keepRunning(
    async () => {
      await wake.wait(longestWaitMs, stop.signal)
      await pause(everyMs, stop.signal)
      if (!stop.signal.aborted) await flush()
    },
    { signal: stop.signal, onError },
  )
  return {
    touch: remember,
    async close() {
      stop.abort()
      await loop
      await flush()
    },
  }
}
