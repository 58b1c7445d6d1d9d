import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { codeOf, describeError } from '../lib/errors.ts'
import type { Lease } from '../lib/leases.ts'
import { orIdle } from '../lib/or-idle.ts'
import { createBackoff, pause } from '../lib/retry.ts'
import type { EventBatch } from '../ports/event-store.ts'
import { applyBatch, BuildMoved, type BuildState, readState } from './apply-batch.ts'
import type { Difference } from './compare-tables.ts'
import { isEngineError } from './faulty-events.ts'
import { gather } from './gather.ts'
import { goLive } from './go-live.ts'
import type { Projection } from './projection.ts'
import type { RunnerDependencies } from './runner-dependencies.ts'

/** Keeps one build of a projection up to date while this process has the lease for it. */
export interface BuildRunner {
  /** The state of the build, or null while another process has the lease. */
  readonly state: BuildState | null
  /** The code of the last error, or null if a batch has succeeded since then. */
  readonly error: string | null
  lagSeconds(): number
  stop(): Promise<void>
}

export const startBuildRunner = (deps: RunnerDependencies, projection: Projection, build: number): BuildRunner =>
  new LeasedBuildRunner(deps, projection, build)

/** After this number of failures of a batch that are not the engine's fault, the runner searches for the faulty events in the batch. */
const failuresBeforeIsolation = 2
/** The most milliseconds for which a checkpoint stays unsaved while only events come that do not concern the projection. */
const unsavedMs = 10_000
/** A checkpoint is also saved when no event has come for this many milliseconds. */
const idleMs = 1_000
/** The most milliseconds for which the live build stands still while a new build catches up with it. */
const catchUpMs = 2_000

class LeasedBuildRunner implements BuildRunner {
  state: BuildState | null = null
  error: string | null = null
  /** Time of the first event that is not committed, or null. */
  #behindSince: number | null = null
  readonly #deps: RunnerDependencies
  readonly #projection: Projection
  readonly #build: number
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>

  constructor(deps: RunnerDependencies, projection: Projection, build: number) {
    this.#deps = deps
    this.#projection = projection
    this.#build = build
    this.#running = deps.shares.keep(`projection/${projection.name}/${build}`, (lease) => this.#runWithLease(lease), {
      signal: this.#stopping.signal,
      onError: (cause, delayMs) => this.#reportFailure(cause, delayMs),
    })
  }

  lagSeconds(): number {
    return this.#behindSince === null ? 0 : Math.max(0, Date.now() - this.#behindSince) / 1_000
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  /** Applies events until the lease is lost, another process moves the build, or the runner stops. */
  async #runWithLease(lease: Lease): Promise<void> {
    const { progress, log } = this.#deps
    const { name } = this.#projection
    try {
      await this.#follow(lease.lost)
    } catch (cause) {
      if (!(cause instanceof BuildMoved)) throw cause
      log.debug({ projection: name, build: this.#build }, 'projection.moved') // The runner then reads the state again.
    } finally {
      this.state = null
      progress.forget(name, this.#build)
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { store, pool, progress, batchSize: batch = 500 } = this.#deps
    const { name, families, gathering } = this.#projection
    const initial = await readState(pool, name, this.#build)
    if (initial === null) return this.#stopping.abort() // The projection's runner then removes this build runner at its next refresh.
    let follower: Follower = { state: initial, goal: initial.is_live ? null : await store.head(families) }
    follower = await this.#publish(follower, initial, signal)
    const { is_live, checkpoint: start } = follower.state
    // The observer may have missed the last events of a process that was killed.
    if (is_live && start !== null) await this.#projection.observe?.([], start, start) // mutation: start-not-observed
    let savedAt = performance.now()
    /** A batch without events for this projection, whose checkpoint is not saved yet. */
    let unsaved: EventBatch | null = null
    const subscription = store.subscribe({ families, after: follower.state.checkpoint, signal, batch })
    const isUrgent = (event: RecordedEvent) => progress.isAwaited(name) || gathering?.isUrgent(event) === true
    const batches = gathering === undefined ? subscription : gather(subscription, { ...gathering, isUrgent })
    for await (const read of orIdle(batches, idleMs)) {
      const next: EventBatch | null = read === null ? unsaved : this.#select(read, follower.state)
      // This build may have applied the batch already, while it went live.
      if (next === null || next.checkpoint <= (follower.state.checkpoint ?? '')) continue
      const canWait = next.events.length === 0 && follower.state.is_live
      if (read !== null && canWait && performance.now() - savedAt < unsavedMs) {
        unsaved = next
        continue
      }
      unsaved = null
      savedAt = performance.now()
      const firstEvent = next.events[0]
      // An event of another application in the same store may have no time.
      if (firstEvent !== undefined) this.#behindSince = Date.parse(firstEvent.metadata.time) || null
      const applied = await this.#applyUntilDone(follower.state, next, signal)
      if (applied === null) return
      const { checkpoint: after } = follower.state
      if (read !== null && applied.is_live) await this.#projection.observe?.(read.events, after, read.checkpoint)
      follower = await this.#publish(follower, applied, signal)
    }
  }

  /** Publishes the state after a batch. Makes the build live when it has reached its goal. Stops the runner when a newer build is live. */
  async #publish({ state: previous, goal }: Follower, applied: BuildState, signal: AbortSignal): Promise<Follower> {
    const { store, progress } = this.#deps
    const { name, families } = this.#projection
    let follower: Follower = { state: applied, goal }
    if (previous.is_live && !applied.is_live) this.#stopping.abort()
    else if (!applied.is_live && (applied.checkpoint ?? '') >= (goal ?? '')) {
      const promoted = await this.#promote(applied, signal)
      follower = { state: promoted, goal: promoted.is_live ? goal : await store.head(families) }
    }
    this.state = follower.state
    this.error = null
    this.#behindSince = null
    if (follower.state.is_live) progress.report(name, follower.state)
    return follower
  }

  /** Makes the build live, and retries while the engine refuses, for instance because readers lock the views. */
  async #promote(initial: BuildState, signal: AbortSignal): Promise<BuildState> {
    const { pool, log } = this.#deps
    const { name, version, externalBuilds } = this.#projection
    let state = initial
    const catchUp = (liveCheckpoint: Checkpoint | null): Promise<boolean> =>
      this.#catchUp(state, liveCheckpoint, signal, (applied) => {
        state = applied
      })
    for (const delays = createBackoff(); !signal.aborted; )
      try {
        const onDifference = ({ table, key, changes }: Difference) =>
          log.error({ projection: name, build: this.#build, table, key, columns: changes.map(({ field }) => field) }, 'projection.differs')
        const isSame = (after: Checkpoint | null, upTo: Checkpoint | null) => this.#isWithoutEvents(after, upTo)
        const is_live = await goLive(pool, this.#projection, this.#build, catchUp, onDifference, isSame)
        if (is_live) {
          log.info({ projection: name, build: this.#build, version }, 'projection.switched')
          this.#deps.notices?.tell('builds')
        }
        // The build continues at the checkpoint of the former live build, so its state must be read again.
        if (is_live && externalBuilds !== undefined) throw new BuildMoved(name, this.#build)
        return { ...state, is_live }
      } catch (cause) {
        if (!isEngineError(cause)) throw cause
        const delayMs = delays.next()
        this.#reportFailure(cause, delayMs)
        await pause(delayMs, signal)
      }
    return state
  }

  /**
   * Returns whether only events of other families lie between two checkpoints. The live build saves such a checkpoint late, so the new build is often
   * ahead of it. Returns false if this takes longer than `catchUpMs`.
   */
  async #isWithoutEvents(after: Checkpoint | null, upTo: Checkpoint | null): Promise<boolean> {
    const { families } = this.#projection
    const signal = AbortSignal.timeout(catchUpMs)
    for await (const { events, checkpoint } of this.#deps.store.subscribe({ families, after, signal })) {
      if (events.some(({ position }) => position <= (upTo ?? ''))) return false
      if (checkpoint >= (upTo ?? '')) return true
    }
    return false
  }

  /**
   * Applies the events up to the checkpoint of the live build, while the live build stands still. Returns false when this takes longer
   * than `catchUpMs`. @param onApplied gets the state after each batch
   */
  async #catchUp(
    initial: BuildState,
    liveCheckpoint: Checkpoint | null,
    signal: AbortSignal,
    onApplied: (state: BuildState) => void,
  ): Promise<boolean> {
    const { store, batchSize: batch = 500 } = this.#deps
    const { families, externalBuilds } = this.#projection
    const limited = AbortSignal.any([signal, AbortSignal.timeout(catchUpMs)])
    // With external rows, the live build may have written one batch more than its checkpoint shows.
    const goal = (externalBuilds === undefined ? liveCheckpoint : await store.head(families)) ?? ''
    let state = initial
    if ((state.checkpoint ?? '') >= goal) return true
    for await (const read of store.subscribe({ families, after: state.checkpoint, signal: limited, batch })) {
      const applied = await this.#applyUntilDone(state, this.#select(read, state), limited)
      if (applied === null) return false
      state = applied
      onApplied(state)
      if (read.checkpoint >= goal) return true
    }
    return false
  }

  /** Retries the batch until it is applied. Returns null when the signal aborts first. */
  async #applyUntilDone(state: BuildState, batch: EventBatch, signal: AbortSignal): Promise<BuildState | null> {
    const { pool, log, macs } = this.#deps
    const { name } = this.#projection
    const delays = createBackoff()
    for (let failures = 0; !signal.aborted; )
      try {
        const applied = await applyBatch(pool, this.#projection, state, batch, { isolating: failures >= failuresBeforeIsolation, macs })
        this.#projection.afterCommit?.()
        for (const { event, error } of applied.faulty)
          log.error(
            { projection: name, build: this.#build, stream: event.stream, event: event.id, type: event.type, why: describeError(error) },
            'projection.quarantined',
          )
        this.error = null
        return applied.state
      } catch (cause) {
        if (cause instanceof BuildMoved) throw cause
        if (!isEngineError(cause)) failures++
        const delayMs = delays.next()
        this.#reportFailure(cause, delayMs)
        await pause(delayMs, signal)
      }
    return null
  }

  /** Returns the batch with only those events that are new to the build and concern its projection. */
  #select({ events, checkpoint }: EventBatch, state: BuildState): EventBatch {
    const { concerns } = this.#projection
    const isSelected = (event: EventBatch['events'][number]) =>
      event.position > (state.checkpoint ?? '') && (concerns === undefined || concerns.call(this.#projection, event))
    return { events: events.filter(isSelected), checkpoint }
  }

  #reportFailure(cause: unknown, delayMs: number): void {
    this.error = codeOf(cause) ?? 'error'
    this.#deps.log.warn({ projection: this.#projection.name, build: this.#build, error: cause, delayMs }, 'projection.failed')
  }
}

/** The state that a runner keeps from one batch to the next. */
interface Follower {
  readonly state: BuildState
  /** The checkpoint at which a build that is not live tries to go live. Null means at once. */
  readonly goal: Checkpoint | null
}
