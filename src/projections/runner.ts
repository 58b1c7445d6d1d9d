import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { codeOf } from '../lib/errors.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import type { EventStore } from '../ports/event-store.ts'
import { type BuildRun, runBuild } from './build-run.ts'
import { type Build, dropSuperseded, installProjections, listBuilds } from './builds.ts'
import type { Projection } from './projection.ts'
import type { ProjectionProgress } from './waiter.ts'

export interface RunnerDeps {
  readonly store: Pick<EventStore, 'subscribe' | 'head'>
  readonly pool: Pool
  readonly leases: LeaseKeeper
  readonly progress: ProjectionProgress
  readonly log: Log
  /** Events in one transaction at the most. Default 500. */
  readonly batch?: number
  /** How often it looks for leases that have become free and builds that have been asked for. Default 1 s. */
  readonly lookMs?: number
}
export interface ProjectionStatus {
  readonly name: string
  /** `waiting`: another process runs it. `failed`: the last try failed, and it is tried again. */
  readonly state: 'running' | 'waiting' | 'failed'
  /** Code of the last error while failed; `newer_version` when the database was built by newer code than this. */
  readonly error: string | null
  /** Of the build that readers see. */
  readonly checkpoint: Checkpoint | null
  /** How old the first event is that is in hand and not committed; 0 when there is none, null when another process knows. */
  readonly lagSeconds: number | null
  /** Streams. */
  readonly quarantined: number
  /** The build that is to take the live one's place, while there is one. */
  readonly building: { readonly build: number; readonly checkpoint: Checkpoint | null } | null
}
export interface RunningProjection {
  status(): ProjectionStatus
  /** Lets the batch in hand finish and gives the leases back. */
  stop(): Promise<void>
}

/**
 * Keeps a projection up to date, in one process at a time (a lease for each of its builds; the compare-and-set on the
 * checkpoint is the fence): its live build, and beside it a newer one until that takes its place.
 *
 * What is the engine's fault is tried again for ever. What is an event's fault quarantines its stream after three tries.
 */
export function runProjection(deps: RunnerDeps, projection: Projection): RunningProjection {
  const { pool, log, lookMs = 1_000 } = deps
  const { name, version } = projection
  const hasCopies = projection.copies !== undefined
  const stopping = new AbortController()
  const runs = new Map<number, BuildRun>()
  let builds: readonly Build[] = []
  let failure: string | null = null

  const look = async () => {
    builds = await listBuilds(pool, name)
    if (builds.every((build) => build.version < version)) {
      await installProjections(pool, [projection])
      builds = await listBuilds(pool, name)
    }
    // A live build whose rows stand elsewhere goes on by newer code: what it makes happen is not to wait for the new build.
    const mine = builds.filter((build) => build.version === version || (hasCopies && build.is_live && build.version < version))
    for (const [build, run] of runs)
      if (!mine.some((known) => known.build === build)) {
        await run.stop()
        runs.delete(build)
      }
    for (const { build } of mine) if (!runs.has(build)) runs.set(build, runBuild(deps, projection, build))
    const live = builds.find((build) => build.is_live)
    failure = live !== undefined && live.version > version ? 'newer_version' : null
    if (live !== undefined && builds.some((build) => build.build < live.build)) {
      const dropped = await dropSuperseded(pool, projection)
      log.info({ projection: name, builds: dropped }, 'projection.dropped')
    }
    await pause(lookMs, stopping.signal)
  }
  const looking = keepRunning(look, {
    signal: stopping.signal,
    onError(error, delayMs) {
      failure = codeOf(error) ?? 'error'
      log.warn({ projection: name, error, delayMs }, 'projection.look_failed')
    },
  })

  return {
    status() {
      const live = builds.find((build) => build.is_live)
      const next = builds.find(({ build, version: of }) => build > (live?.build ?? 0) && of === version)
      const run = live === undefined ? undefined : runs.get(live.build)
      const error = run?.error ?? failure
      const now = run?.current ?? live
      return {
        name,
        state: error !== null ? 'failed' : run?.current == null ? 'waiting' : 'running',
        error,
        checkpoint: now?.checkpoint ?? null,
        lagSeconds: run?.current == null ? null : run.lagSeconds(),
        quarantined: run?.current?.quarantined.size ?? live?.quarantined ?? 0,
        building:
          next === undefined ? null : { build: next.build, checkpoint: runs.get(next.build)?.current?.checkpoint ?? next.checkpoint },
      }
    },
    async stop() {
      stopping.abort()
      await looking
      await Promise.all([...runs.values()].map((run) => run.stop()))
    },
  }
}
