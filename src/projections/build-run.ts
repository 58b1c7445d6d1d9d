import type { Checkpoint } from '../events/envelope.ts'
import { codeOf } from '../lib/errors.ts'
import { orIdle } from '../lib/or-idle.ts'
import { createBackoff, keepRunning, pause } from '../lib/retry.ts'
import type { EventBatch } from '../ports/event-store.ts'
import { BuildMoved, type BuildState, describe, readState, takeBatch } from './apply-batch.ts'
import { isEngineError } from './faults.ts'
import { goLive } from './go-live.ts'
import type { Projection } from './projection.ts'
import type { RunnerDeps } from './runner.ts'

/** One build of a projection, followed by this process whenever it has the lease. */
export interface BuildRun {
  /** Its state while this process has the lease, else null. */
  readonly current: BuildState | null
  /** Code of the last error until a try succeeds. */
  readonly error: string | null
  lagSeconds(): number
  stop(): Promise<void>
}
const triesBeforeBlame = 2
/** Events of a batch below which more are gathered for the next. */
const smallBatch = 100
/** How long a checkpoint may stay unsaved that nothing of concern has moved, also when nothing comes any more. */
const unsavedMs = 250
/** For so long at the most the live build stands still while another catches up with it. */
const catchUpMs = 2_000

export function runBuild(deps: RunnerDeps, projection: Projection, build: number): BuildRun {
  const { store, pool, leases, progress, log, batch = 500, lookMs = 1_000 } = deps
  const { name, families, gatherMs = 0 } = projection
  const stopping = new AbortController()
  let current: BuildState | null = null
  let error: string | null = null
  let behindSince: number | null = null

  const failed = (cause: unknown, delayMs: number) => {
    error = codeOf(cause) ?? 'error'
    log.warn({ projection: name, build, error: cause, delayMs }, 'projection.failed')
  }
  /** Repeats the batch until it is taken; null when the signal aborts first. */
  const take = async (state: BuildState, events: EventBatch, signal: AbortSignal): Promise<BuildState | null> => {
    const delays = createBackoff()
    for (let blames = 0; !signal.aborted; )
      try {
        const taken = await takeBatch(pool, projection, state, events, blames >= triesBeforeBlame)
        projection.afterCommit?.()
        for (const { event, error: cause } of taken.poisons)
          log.error(
            { projection: name, build, stream: event.stream, event: event.id, type: event.type, why: describe(cause) },
            'projection.quarantined',
          )
        error = null
        return taken.state
      } catch (cause) {
        if (cause instanceof BuildMoved) throw cause
        if (!isEngineError(cause)) blames++
        const delay = delays.next()
        failed(cause, delay)
        await pause(delay, signal)
      }
    return null
  }
  /** What of a batch is new to the build and concerns its projection. */
  const concerning = ({ events, checkpoint }: EventBatch, state: BuildState): EventBatch => ({
    events: events.filter((event) => event.position > (state.checkpoint ?? '') && (projection.concerns?.(event) ?? true)),
    checkpoint,
  })
  /** Takes the live build's place, catching up with it. Readers may hold the views for a while: then it tries again. */
  const promote = async (from: BuildState, signal: AbortSignal): Promise<BuildState> => {
    let state = from
    const catchUp = async (live: Checkpoint | null): Promise<boolean> => {
      const soon = AbortSignal.any([signal, AbortSignal.timeout(catchUpMs)])
      // The live one's copy may be a batch ahead of its checkpoint.
      const to = (projection.copies === undefined ? live : await store.head(families)) ?? ''
      if ((state.checkpoint ?? '') >= to) return true
      for await (const read of store.subscribe({ families, after: state.checkpoint, signal: soon, batch })) {
        const next = await take(state, concerning(read, state), soon)
        if (next === null) return false
        state = next
        if (read.checkpoint >= to) return true
      }
      return false
    }
    for (const delays = createBackoff(); !signal.aborted; )
      try {
        const is_live = await goLive(pool, projection, build, catchUp)
        if (is_live) log.info({ projection: name, build, version: projection.version }, 'projection.switched')
        // It goes on where the one before it stood.
        if (is_live && projection.copies !== undefined) throw new BuildMoved(name, build)
        return { ...state, is_live }
      } catch (cause) {
        if (!isEngineError(cause)) throw cause
        const delay = delays.next()
        failed(cause, delay)
        await pause(delay, signal)
      }
    return state
  }

  const follow = async (signal: AbortSignal): Promise<void> => {
    const start = await readState(pool, name, build)
    if (start === null) return stopping.abort() // whoever started this finds out at the next look
    let wanted = start.is_live ? null : await store.head(families)
    let wasLive = start.is_live
    const settle = async (taken: BuildState): Promise<BuildState> => {
      let state = taken
      if (wasLive && !state.is_live)
        stopping.abort() // another build has taken its place
      else if (!state.is_live && (state.checkpoint ?? '') >= (wanted ?? '')) {
        state = await promote(state, signal)
        if (!state.is_live) wanted = await store.head(families)
      }
      wasLive = state.is_live
      current = state
      error = null
      behindSince = null
      if (state.is_live) progress.report(name, state)
      return state
    }
    let state = await settle(start)
    let savedAt = performance.now()
    /** What has been passed over, and the checkpoint not moved for. */
    let unsaved: EventBatch | null = null
    for await (const read of orIdle(store.subscribe({ families, after: state.checkpoint, signal, batch }), unsavedMs)) {
      const events: EventBatch | null = read === null ? unsaved : concerning(read, state)
      if (events === null || events.checkpoint <= (state.checkpoint ?? '')) continue // or caught up with while it took its place
      const isSilent = events.events.length === 0 && state.is_live
      if (read !== null && isSilent && performance.now() - savedAt < unsavedMs) {
        unsaved = events
        continue
      }
      unsaved = null
      savedAt = performance.now()
      const first = events.events[0]
      if (first !== undefined) behindSince = Date.parse(first.metadata.time) || null // of one that is not ours it may be no time
      const next = await take(state, events, signal)
      if (next === null) return
      state = await settle(next)
      if (gatherMs > 0 && events.events.length < smallBatch) await pause(gatherMs, signal)
    }
  }
  const turn = async (): Promise<void> => {
    const lease = await leases.take(`projection/${name}/${build}`)
    if (lease === null) {
      error = null
      return pause(lookMs, stopping.signal)
    }
    try {
      await follow(AbortSignal.any([stopping.signal, lease.lost]))
    } catch (cause) {
      if (!(cause instanceof BuildMoved)) throw cause
      log.debug({ projection: name, build }, 'projection.moved') // its state is read anew by the next turn
    } finally {
      current = null
      progress.forget(name, build)
      await lease.release()
    }
  }
  const running = keepRunning(turn, { signal: stopping.signal, onError: failed })

  return {
    get current() {
      return current
    },
    get error() {
      return error
    },
    lagSeconds: () => (behindSince === null ? 0 : Math.max(0, Date.now() - behindSince) / 1_000),
    async stop() {
      stopping.abort()
      await running
    },
  }
}
