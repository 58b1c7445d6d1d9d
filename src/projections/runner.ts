import type { Checkpoint } from '../events/envelope.ts'
import { codeOf } from '../lib/errors.ts'
import { noNotices } from '../lib/notices.ts'
import { keepRunning } from '../lib/retry.ts'
import { createWake, untilPoll } from '../lib/wake.ts'
import { type BuildRunner, startBuildRunner } from './build-runner.ts'
import { type Build, dropSuperseded, installProjections, listBuilds } from './builds.ts'
import type { Projection } from './projection.ts'
import type { RunnerDependencies } from './runner-dependencies.ts'

export interface ProjectionStatus {
  readonly name: string
  /** `waiting`: another process runs the projection. `failed`: the last try failed and will be repeated. */
  readonly state: 'running' | 'waiting' | 'failed'
  /** The code of the last error in state `failed`, `newer_version` when newer code has made the live build, or null. */
  readonly error: string | null
  /** The checkpoint of the live build. */
  readonly checkpoint: Checkpoint | null
  /**
   * The age of the first event that is not committed yet. It is 0 when all events are committed, and null when another process runs the projection.
   */
  readonly lagSeconds: number | null
  /** The number of quarantined streams. */
  readonly quarantined: number
  /** The build that will become the live build, or null. */
  readonly building: { readonly build: number; readonly checkpoint: Checkpoint | null } | null
}
export interface RunningProjection {
  status(): ProjectionStatus
  /** Finishes the present batch and releases the leases. */
  stop(): Promise<void>
}

/** Without a notice, the list of builds is read again after this many times `notices.pollMs`. The number is high, because builds seldom change. */
const pollsPerRefresh = 15

/**
 * Keeps the live build of a projection up to date, and also a newer build until it becomes the live build. A lease lets only one process at a time
 * run a build, and each process has a share of the leases. Even if two processes ran it, only one of them could commit a batch, because of the compare-and-set on the checkpoint.
 *
 * A batch that fails because of the engine is retried for ever. A batch that fails because of an event quarantines the stream of
 * the event after three tries.
 */
export function startProjection(deps: RunnerDependencies, projection: Projection): RunningProjection {
  const { pool, log, notices = noNotices, refreshMs } = deps
  const { name, version } = projection
  const stopping = new AbortController()
  const runners = new Map<number, BuildRunner>()
  let builds: readonly Build[] = []
  let failure: string | null = null
  const wake = createWake()
  const stopListening = notices.on('builds', wake.notify)

  const refresh = async () => {
    builds = await listBuilds(pool, name)
    if (builds.every((build) => build.version < version)) {
      await installProjections(pool, [projection])
      notices.tellOthers('builds')
      builds = await listBuilds(pool, name)
    }
    // With external rows, this version also runs the older live build, so that its effects do not wait for the new build.
    const runsOlder = projection.externalBuilds !== undefined
    const runnable = builds.filter((build) => build.version === version || (runsOlder && build.is_live && build.version < version))
    for (const [build, runner] of runners)
      if (!runnable.some((candidate) => candidate.build === build)) {
        await runner.stop()
        runners.delete(build)
      }
    for (const { build } of runnable) if (!runners.has(build)) runners.set(build, startBuildRunner(deps, projection, build))
    const live = builds.find((build) => build.is_live)
    failure = live !== undefined && live.version > version ? 'newer_version' : null
    if (live !== undefined && builds.some((build) => build.build < live.build)) {
      const dropped = await dropSuperseded(pool, projection)
      log.info({ projection: name, builds: dropped }, 'projection.dropped')
    }
    await wake.wait(refreshMs ?? untilPoll(notices.pollMs * pollsPerRefresh), stopping.signal)
  }
  const refreshing = keepRunning(refresh, {
    signal: stopping.signal,
    onError(error, delayMs) {
      failure = codeOf(error) ?? 'error'
      log.warn({ projection: name, error, delayMs }, 'projection.refresh_failed')
    },
  })

  return {
    status() {
      const live = builds.find((build) => build.is_live)
      const next = builds.find((build) => build.build > (live?.build ?? 0) && build.version === version)
      const runner = live === undefined ? undefined : runners.get(live.build)
      const state = runner?.state ?? null
      const error = runner?.error ?? failure
      return {
        name,
        state: error !== null ? 'failed' : state === null ? 'waiting' : 'running',
        error,
        checkpoint: (state ?? live)?.checkpoint ?? null,
        lagSeconds: runner === undefined || state === null ? null : runner.lagSeconds(),
        quarantined: state?.quarantined.size ?? live?.quarantined ?? 0,
        building:
          next === undefined ? null : { build: next.build, checkpoint: runners.get(next.build)?.state?.checkpoint ?? next.checkpoint },
      }
    },
    async stop() {
      stopping.abort()
      stopListening()
      await refreshing
      await Promise.all([...runners.values()].map((runner) => runner.stop()))
    },
  }
}
