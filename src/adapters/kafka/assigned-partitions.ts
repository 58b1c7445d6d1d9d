import { KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { createPartitionRuns } from '../../lib/partition-runs.ts'
import type { BusRecord, MessageBus } from '../../ports/message-bus.ts'
import { createIntake, type Intake } from './intake.ts'

/** Controls the client's fetches. Calls have no effect while this process is not a member of the group. */
export interface Fetching {
  pause(partition: number): void
  resume(partition: number): void
  /** Makes the next fetch of the partition begin at this offset. */
  from(partition: number, offset: bigint): void
}
interface AssignedPartitionsOptions {
  readonly consume: Parameters<MessageBus['consume']>[0]
  readonly fetching: Fetching
  /** Returns whether this process is certainly a member of the group now. */
  readonly isHeld: () => boolean
  /** Returns the offsets of the first record of a partition and after its last one. */
  readonly bounds: (partition: number) => Promise<{ low: bigint; high: bigint }>
  readonly fetchWaitMs: number
  readonly full: { records: number; bytes: number }
  /** The pause before a partition is started again after a failure, in milliseconds. */
  readonly retryMs: number
  readonly log: Log
}

/** The partitions that the group assigns to this process, and their runs. */
export interface AssignedPartitions {
  /**
   * Takes the partitions that the group assigns now. For a partition that was assigned before, the consumer keeps its work, and fetches continue at
   * the same offset.
   */
  assign(partitions: readonly number[]): void
  /** Starts every assigned partition that has no run, because its consumer ended or the session had lapsed. */
  startMissing(): void
  /** Ends the ownership of all partitions, because membership is no longer certain. `startMissing` or `assign` starts them again. */
  lapse(): void
  /** Adds the records of a fetch that began at `from`. @param end the offset after the last record of the partition */
  add(partition: number, from: bigint, records: readonly BusRecord[], end: bigint): void
  /** Partitions whose consumer reads. */
  owned(): number[]
  /** Resolves when every consumer has returned. */
  ended(): Promise<void>
}

export function createAssignedPartitions(options: AssignedPartitionsOptions): AssignedPartitions {
  const { consume, fetching, isHeld, fetchWaitMs, full, retryMs, log } = options
  let assigned: readonly number[] = []
  const startMissing = () => {
    if (consume.signal.aborted || !isHeld()) return
    for (const partition of assigned) if (!runs.has(partition)) start(partition)
  }
  const runs = createPartitionRuns<BusRecord, Intake>({
    log,
    onLost: fetching.pause,
    onEnded: startMissing,
    failurePause: { ms: retryMs, signal: consume.signal },
  })
  const start = (partition: number) => {
    fetching.pause(partition)
    runs.start(partition, {
      async open(lost) {
        const startAt = await startOffset(partition, options)
        return createIntake({ startAt, lost, waitMs: fetchWaitMs, full, onRoom: () => fetching.resume(partition) })
      },
      opened(intake) {
        fetching.from(partition, intake.next)
        fetching.resume(partition)
      },
      consume: consume.own,
      isHeld,
    })
  }
  return {
    assign(partitions) {
      assigned = partitions
      for (const partition of runs.running()) {
        const intake = runs.sourceOf(partition)
        if (!partitions.includes(partition)) runs.lose(partition)
        // After a rebalance the client has forgotten its position. Without this call it would begin at the offset that the group has committed.
        else if (intake !== undefined) fetching.from(partition, intake.next)
        else fetching.pause(partition)
      }
      startMissing()
    },
    startMissing,
    lapse() {
      for (const partition of runs.running()) runs.lose(partition)
    },
    add(partition, from, records, end) {
      const intake = runs.sourceOf(partition)
      if (intake === undefined) return
      if (end < intake.next || !intake.add(from, records)) {
        // Either records were deleted unread, or the partition has become shorter. The next start of the partition finds out which, and reports it.
        log.error({ partition, next: String(intake.next), from: String(from), end: String(end) }, 'bus.position_lost')
        runs.lose(partition)
      } else if (intake.isFull) fetching.pause(partition)
    },
    owned: runs.owned,
    ended: runs.ended,
  }
}

/** Returns the saved offset. If the record at this offset was deleted, returns the offset of the first record that still exists. */
async function startOffset(partition: number, { consume, bounds, log }: AssignedPartitionsOptions): Promise<bigint> {
  const saved = await consume.startAt(partition)
  const { low, high } = await bounds(partition)
  if (saved > high)
    throw new KolbakError(
      'offset_beyond_end',
      `Offset ${saved} is saved for partition ${partition}, but the partition ends at ${high}. Either Kafka has lost records, or this is not the topic of the saved offsets: restore the topic, or set KAFKA_TOPIC to the right one.`,
    )
  if (saved >= low) return saved
  log.error({ partition, saved: String(saved), first: String(low) }, 'bus.unread_records_missing')
  return low
}
