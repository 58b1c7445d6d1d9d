import { KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/retry.ts'
import type { BusRecord, MessageBus, OwnedPartition } from '../../ports/message-bus.ts'
import { createIntake, type Intake } from './intake.ts'

type ConsumeOptions = Parameters<MessageBus['consume']>[0]

/** Where the client fetches, for the group's membership of now. */
export interface Fetching {
  pause(partition: number): void
  resume(partition: number): void
  /** The next fetch of the partition begins at this offset. */
  from(partition: number, offset: bigint): void
}
export interface TenuresOptions {
  readonly consume: ConsumeOptions
  readonly fetching: Fetching
  /** Whether membership of the group is certain now. */
  readonly held: () => boolean
  /** The offsets of the first record of a partition and after its last one. */
  readonly bounds: (partition: number) => Promise<{ low: bigint; high: bigint }>
  readonly fetchWaitMs: number
  readonly full: { records: number; bytes: number }
  /** A partition that could not be begun or has failed is tried again after so long. */
  readonly againMs: number
  readonly log: Log
}

/** The partitions that this process has, each from when the group gives it until it is lost and its `own` has returned. */
export interface Tenures {
  /** The group gives these now. Those had before and given again keep their work; their fetching goes on where it was. */
  given(partitions: readonly number[]): void
  /** Begins those that are given and not had: whoever has ended before, or was lost when membership was not certain. */
  begin(): void
  /** Membership is not certain any more: all are lost, and begun again by `begin` or `given`. */
  lapse(): void
  /** What a fetch that began at `from` has brought. @param end the offset after the last record that the partition has */
  add(partition: number, from: bigint, records: readonly BusRecord[], end: bigint): void
  /** Partitions had now. */
  had(): number[]
  /** Resolves when every `own` has returned. */
  idle(): Promise<void>
}

interface Tenure {
  readonly letGo: AbortController
  /** From when its consumer is told of it; null before. */
  intake: Intake | null
  done: Promise<void>
}

export function tenures(options: TenuresOptions): Tenures {
  const { consume, fetching, held, bounds, fetchWaitMs, full, againMs, log } = options
  const running = new Map<number, Tenure>()
  let given: readonly number[] = []

  /** Where to begin: at the saved offset, or at the first record there is when what was saved has been deleted. */
  const begins = async (partition: number): Promise<bigint> => {
    const saved = await consume.startAt(partition)
    const { low, high } = await bounds(partition)
    if (saved > high)
      throw new KolbakError(
        'offset_beyond_end',
        `Offset ${saved} was saved for partition ${partition}, which ends at ${high}: Kafka has lost records, or this is another topic than before.`,
      )
    if (saved >= low) return saved
    log.error({ partition, saved: String(saved), first: String(low) }, 'bus.unread_records_missing')
    return low
  }
  const own = async (partition: number, tenure: Tenure) => {
    const startAt = await begins(partition)
    const lost = tenure.letGo.signal
    if (lost.aborted) return
    const mine = createIntake({ startAt, lost, waitMs: fetchWaitMs, full, onRoom: () => fetching.resume(partition) })
    tenure.intake = mine
    fetching.from(partition, startAt)
    fetching.resume(partition)
    const owned: OwnedPartition = { partition, lost, held: () => !lost.aborted && held(), fetch: (max) => mine.fetch(max) }
    log.info({ partition }, 'bus.partition_taken')
    await consume.own(owned)
  }
  const start = (partition: number) => {
    const letGo = new AbortController()
    const run = async () => {
      try {
        await own(partition, tenure)
      } catch (error) {
        // Whoever takes it next, this process included, begins at what was saved.
        log.error({ error, partition }, 'bus.consumer_failed')
        lose(partition, tenure)
        await pause(againMs, consume.signal)
      }
      lose(partition, tenure)
      running.delete(partition)
      log.info({ partition }, 'bus.partition_left')
      begin()
    }
    fetching.pause(partition)
    const tenure: Tenure = { letGo, intake: null, done: Promise.resolve().then(run) }
    running.set(partition, tenure)
  }
  const lose = (partition: number, tenure: Tenure) => {
    if (tenure.letGo.signal.aborted) return
    tenure.letGo.abort()
    fetching.pause(partition)
  }
  const begin = () => {
    if (consume.signal.aborted || !held()) return
    for (const partition of given) if (!running.has(partition)) start(partition)
  }

  return {
    given(partitions) {
      given = partitions
      for (const [partition, tenure] of running)
        if (!partitions.includes(partition)) lose(partition, tenure)
        // The client has forgotten where it was: it would begin at what its group has committed.
        else if (tenure.intake !== null && !tenure.letGo.signal.aborted) fetching.from(partition, tenure.intake.next)
        else fetching.pause(partition)
      begin()
    },
    begin,
    lapse() {
      for (const [partition, tenure] of running) lose(partition, tenure)
    },
    add(partition, from, records, end) {
      const tenure = running.get(partition)
      if (tenure === undefined || tenure.intake === null || tenure.letGo.signal.aborted) return
      if (end < tenure.intake.next || !tenure.intake.add(from, records)) {
        // Records were deleted before they were read, or the partition is shorter than it was: it begins anew, which tells.
        log.error({ partition, next: String(tenure.intake.next), from: String(from), end: String(end) }, 'bus.position_lost')
        lose(partition, tenure)
      } else if (tenure.intake.isFull) fetching.pause(partition)
    },
    had: () => [...running].filter(([, { intake, letGo }]) => intake !== null && !letGo.signal.aborted).map(([partition]) => partition),
    async idle() {
      while (running.size > 0) await Promise.all([...running.values()].map((tenure) => tenure.done))
    },
  }
}
