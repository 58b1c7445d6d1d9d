import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import type { StreamName } from '../events/streams.ts'
import { sqlOn } from '../lib/sql.ts'
import { createWake } from '../lib/wake.ts'

interface LiveState {
  readonly build: number
  readonly checkpoint: Checkpoint | null
  readonly quarantined: ReadonlySet<StreamName>
}
/** The latest committed states of the live builds that run in this process. Callers that wait in this process need no query. */
export interface ProjectionProgress {
  report(name: string, state: LiveState): void
  /** Removes the state of a build that this process no longer runs. Another process may run the build now. */
  forget(name: string, build: number): void
  stateOf(name: string): LiveState | undefined
  /** Calls `listener` after each report. Returns a function that removes the listener. */
  onReport(name: string, listener: () => void): () => void
  /** Returns whether a caller of this process waits for the projection. */
  isAwaited(name: string): boolean
}

export function createProjectionProgress(): ProjectionProgress {
  const states = new Map<string, LiveState>()
  const listeners = new Map<string, Set<() => void>>()
  return {
    report(name, state) {
      states.set(name, state)
      for (const listener of listeners.get(name) ?? []) listener()
    },
    forget(name, build) {
      if (states.get(name)?.build === build) states.delete(name)
    },
    stateOf: (name) => states.get(name),
    onReport(name, listener) {
      const listenersOfName = listeners.get(name) ?? new Set()
      listeners.set(name, listenersOfName.add(listener))
      return () => void listenersOfName.delete(listener)
    },
    isAwaited: (name) => (listeners.get(name)?.size ?? 0) > 0,
  }
}

export interface ProjectionWaiter {
  /**
   * Returns whether the live build of a projection reaches the position within `ms`. Returns false at once when the stream is
   * quarantined there. A runner in this process wakes the waiting caller. The state of another process's runner is polled every 2 to 50 ms.
   */
  waitFor(name: string, position: Checkpoint, ms: number, stream?: StreamName): Promise<boolean>
}

const firstPollMs = 2
const longestPollMs = 50

export function createProjectionWaiter({ pool, progress }: { pool: Pool; progress: ProjectionProgress }): ProjectionWaiter {
  /** Returns true when the position is reached, false when the stream is quarantined there, and undefined while neither holds. */
  const queryReached = async (name: string, position: Checkpoint, stream: StreamName | undefined): Promise<boolean | undefined> => {
    const [row] = await sqlOn(pool)<{ reached: boolean; quarantined: boolean }>`
      select coalesce(checkpoint >= ${position}, false) as reached,
        exists (select from quarantined_streams q where q.projection = p.name and q.build = p.build and q.stream = ${stream ?? null}) as quarantined
      from projections p where name = ${name} and is_live`
    if (row?.quarantined) return false
    return row?.reached ? true : undefined
  }
  return {
    async waitFor(name, position, ms, stream) {
      const end = performance.now() + ms
      const report = createWake()
      const stopListening = progress.onReport(name, report.notify)
      let pollMs = firstPollMs
      try {
        for (let isFirst = true; ; isFirst = false) {
          const local = progress.stateOf(name)
          const isQuarantined = stream !== undefined && local?.quarantined.has(stream) === true
          if (local?.checkpoint != null && local.checkpoint >= position && !isQuarantined) return true
          // A runner of this process will probably report soon, so the first query is made only after a wait without a report.
          if (local === undefined || isQuarantined || !isFirst) {
            const reached = await queryReached(name, position, stream)
            if (reached !== undefined) return reached
          }
          const remainingMs = end - performance.now()
          if (remainingMs <= 0) return false
          pollMs = local === undefined ? Math.min(pollMs * 1.5, longestPollMs) : longestPollMs
          await report.wait(Math.min(remainingMs, pollMs))
        }
      } finally {
        stopListening()
      }
    },
  }
}
