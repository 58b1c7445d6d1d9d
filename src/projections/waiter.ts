import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import type { StreamName } from '../events/streams.ts'
import { sqlOn } from '../lib/sql.ts'
import { createWake } from '../lib/wake.ts'

interface Reached {
  readonly build: number
  readonly checkpoint: Checkpoint | null
  readonly quarantined: ReadonlySet<StreamName>
}
/** What the runners of this process have committed to live builds: it spares those who wait in the same process the asking. */
export interface ProjectionProgress {
  report(name: string, reached: Reached): void
  /** This process does not run the build any more, another may. */
  forget(name: string, build: number): void
  of(name: string): Reached | undefined
  /** Calls back after each report; answers how to stop it. */
  onReport(name: string, heard: () => void): () => void
}

export function createProjectionProgress(): ProjectionProgress {
  const reached = new Map<string, Reached>()
  const listeners = new Map<string, Set<() => void>>()
  return {
    report(name, now) {
      reached.set(name, now)
      for (const heard of listeners.get(name) ?? []) heard()
    },
    forget(name, build) {
      if (reached.get(name)?.build === build) reached.delete(name)
    },
    of: (name) => reached.get(name),
    onReport(name, heard) {
      const of = listeners.get(name) ?? new Set()
      listeners.set(name, of.add(heard))
      return () => void of.delete(heard)
    },
  }
}

export interface ProjectionWaiter {
  /**
   * Whether the live build of the projection had the position within `ms`. False at once when the stream is quarantined
   * there. Woken at once by a runner in this process; another's is asked for, every 2 to 50 ms.
   */
  waitFor(name: string, position: Checkpoint, ms: number, stream?: StreamName): Promise<boolean>
}

const firstPollMs = 2
const lastPollMs = 50

export function createProjectionWaiter({ pool, progress }: { pool: Pool; progress: ProjectionProgress }): ProjectionWaiter {
  const ask = async (name: string, position: Checkpoint, stream: StreamName | undefined): Promise<boolean | undefined> => {
    const [row] = await sqlOn(pool)<{ reached: boolean; quarantined: boolean }>`
      select coalesce(checkpoint >= ${position}, false) as reached,
        exists (select from quarantined_streams q where q.projection = p.name and q.build = p.build and q.stream = ${stream ?? null}) as quarantined
      from projections p where name = ${name} and is_live`
    if (row?.quarantined) return false
    return row?.reached ? true : undefined
  }
  return {
    async waitFor(name, position, ms, stream) {
      const until = performance.now() + ms
      const latch = createWake()
      const unhear = progress.onReport(name, latch.notify)
      let pollMs = firstPollMs
      try {
        for (let isFirst = true; ; isFirst = false) {
          const known = progress.of(name)
          const held = stream !== undefined && known?.quarantined.has(stream)
          if (known?.checkpoint != null && known.checkpoint >= position && !held) return true
          // A runner of this process is about to report, so it is asked about only after a while without a report.
          if (known === undefined || held || !isFirst) {
            const answer = await ask(name, position, stream)
            if (answer !== undefined) return answer
          }
          const left = until - performance.now()
          if (left <= 0) return false
          pollMs = known === undefined ? Math.min(pollMs * 1.5, lastPollMs) : lastPollMs
          await latch.wait(Math.min(left, pollMs))
        }
      } finally {
        unhear()
      }
    },
  }
}
