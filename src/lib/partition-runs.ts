import type { Log } from './log.ts'
import { pause } from './retry.ts'

/** The source from which a consumer reads a partition. */
interface Source<R> {
  fetch(max: number): Promise<R[]>
}
/** A partition, as its consumer sees it while this process owns it. */
interface Owned<R> extends Source<R> {
  readonly partition: number
  /** Aborts when the partition is lost. */
  readonly lost: AbortSignal
  isHeld(): boolean
}
/** The functions of one run, in the order in which they are called. `isHeld` is called at any time. */
interface RunSteps<R, S extends Source<R>> {
  /** Finds the offset to start at, and opens the source. */
  open(lost: AbortSignal): Promise<S>
  /** Called when `sourceOf` begins to return the source. */
  opened?(source: S): void
  /** The consumer. It returns when it has stopped working on the partition. */
  consume(partition: Owned<R>): Promise<void>
  /** Returns whether ownership is certain now, by this process's monotonic clock. */
  isHeld(): boolean
}
/**
 * The partitions that this process owns. The run of a partition begins with `start`, and ends when its consumer has returned, soon after the
 * partition was lost. So a partition that is lost and assigned again never has two consumers.
 */
interface PartitionRuns<R, S extends Source<R>> {
  /** Starts the run of a partition that has none. Resolves when the run has ended. */
  start(partition: number, steps: RunSteps<R, S>): Promise<void>
  /** Returns whether the partition has a run, also while a lost partition waits for its consumer to return. */
  has(partition: number): boolean
  /** Returns the source from which the consumer of a partition reads. Returns undefined before the source is open and after the partition is lost. */
  sourceOf(partition: number): S | undefined
  /** Partitions that have a run. */
  running(): number[]
  /** Partitions whose consumer reads. */
  owned(): number[]
  /** Ends the ownership of a partition. */
  lose(partition: number): void
  /** Resolves when every run has ended. */
  ended(): Promise<void>
}

interface Run<S> {
  readonly loss: AbortController
  source: S | null
  readonly done: Promise<void>
}

export function createPartitionRuns<R, S extends Source<R>>(options: {
  log: Log
  /** Called once for each run, when its partition is lost or its consumer has ended. */
  onLost?(partition: number): void
  /** Called when a run has ended. */
  onEnded?(partition: number): void
  /** Milliseconds for which a run stays after its consumer has failed, so that the partition is not started again at once. Default 0. */
  failurePause?: { readonly ms: number; readonly signal?: AbortSignal }
}): PartitionRuns<R, S> {
  const { log, onLost, onEnded, failurePause } = options
  const runs = new Map<number, Run<S>>()
  const keptRuns = () => [...runs].filter(([, run]) => !run.loss.signal.aborted)

  const lose = (partition: number, run: Run<S>) => {
    if (run.loss.signal.aborted) return
    run.loss.abort()
    onLost?.(partition)
  }
  const openAndConsume = async (partition: number, run: Run<S>, steps: RunSteps<R, S>) => {
    const lost = run.loss.signal
    const source = await steps.open(lost)
    if (lost.aborted) return
    run.source = source
    steps.opened?.(source)
    log.info({ partition }, 'bus.partition_taken')
    await steps.consume({ partition, lost, isHeld: () => !lost.aborted && steps.isHeld(), fetch: (max) => source.fetch(max) })
  }
  return {
    start(partition, steps) {
      const runToEnd = async () => {
        try {
          await openAndConsume(partition, run, steps)
        } catch (error) {
          // The next owner, which may be this process, starts at the saved offset.
          log.error({ error, partition }, 'bus.consumer_failed')
          lose(partition, run)
          if (failurePause !== undefined) await pause(failurePause.ms, failurePause.signal)
        }
        lose(partition, run)
        runs.delete(partition)
        log.info({ partition }, 'bus.partition_left')
        onEnded?.(partition)
      }
      const run: Run<S> = { loss: new AbortController(), source: null, done: Promise.resolve().then(runToEnd) }
      runs.set(partition, run)
      return run.done
    },
    has: (partition) => runs.has(partition),
    sourceOf(partition) {
      const run = runs.get(partition)
      return run === undefined || run.loss.signal.aborted ? undefined : (run.source ?? undefined)
    },
    running: () => [...runs.keys()],
    owned: () => keptRuns().flatMap(([partition, run]) => (run.source === null ? [] : [partition])),
    lose(partition) {
      const run = runs.get(partition)
      if (run !== undefined) lose(partition, run)
    },
    async ended() {
      while (runs.size > 0) await Promise.all([...runs.values()].map((run) => run.done))
    },
  }
}
