import type { Place } from '../events/ids.ts'
import { decodeRecord, type Message, type MessageRecord, placeOf } from '../events/message-record.ts'
import { Countdown } from '../lib/countdown.ts'
import type { BusRecord, IndexEntry, MessageBus, OwnedPartition } from '../ports/message-bus.ts'
import type { DispatchMetrics } from './metrics.ts'
import { createOffsetTracker, type Offsets, type OffsetTracker } from './offsets.ts'
import { type QuarantineDeps, quarantineRecord } from './quarantine-record.ts'
import type { Incoming, Router } from './route.ts'
import type { StageHealth } from './stage-health.ts'
import type { WorkInProgress } from './work-in-progress.ts'

export interface ConsumeDeps extends Omit<QuarantineDeps, 'metrics'> {
  readonly metrics: Pick<DispatchMetrics, 'quarantined' | 'partitions'>
  readonly bus: MessageBus
  readonly offsets: Pick<Offsets, 'startAt' | 'save'>
  readonly router: Router
  readonly stageHealth: StageHealth
  /** The most messages and deliveries that are not done, over all partitions. */
  readonly maxInProgress?: number
  /** The most bytes of records that are not done. */
  readonly maxBytesInProgress?: number
  readonly saveEveryMs?: number
}
interface PartitionConsumerDeps extends ConsumeDeps {
  /** Called when a record is done. */
  readonly onDone: () => void
}

interface DecodedRecord {
  readonly record: MessageRecord
  readonly offset: bigint
  /** The size of the encoded record. */
  readonly bytes: number
  readonly entries: BusRecord['entries'] | undefined
}

/** Consumes one partition while this process owns it. */
export class PartitionConsumer {
  /** The offset that was saved last. */
  savedOffset: bigint
  /** The number of messages on which work is still in progress. */
  private unsettled = 0
  /**
   * True after a message was dropped because the lease had lapsed for a moment. The partition is then given up even if the lease is
   * back, so that it is opened again at the saved offset.
   */
  private hasLostMessage = false
  private readonly tracker: OffsetTracker
  private readonly deps: PartitionConsumerDeps
  private readonly workInProgress: WorkInProgress
  private readonly partition: OwnedPartition

  constructor(deps: PartitionConsumerDeps, workInProgress: WorkInProgress, partition: OwnedPartition, start: bigint) {
    this.deps = deps
    this.workInProgress = workInProgress
    this.partition = partition
    this.savedOffset = start
    this.tracker = createOffsetTracker(start)
  }
  /** The offset of the first record that is not done. */
  get nextOffset(): bigint {
    return this.tracker.next
  }
  /** Takes records until the partition or a message is lost. Resolves when no message of the partition is in progress. */
  async run(): Promise<void> {
    const { log, stageHealth } = this.deps
    const { partition } = this.partition
    log.debug({ partition, offset: String(this.savedOffset) }, 'partition.taken')
    try {
      await this.takeUntilLost()
    } catch (error) {
      stageHealth.failed('consuming', error, { partition })
      throw error
    }
    // Deliveries in progress are finished and recorded. The saved offset cannot go back, even if another process saves offsets too.
    while (this.unsettled > 0) await this.workInProgress.changed()
    log.debug({ partition, offset: String(this.nextOffset) }, 'partition.left')
  }
  isOwned(): boolean {
    return this.partition.isHeld()
  }
  /** Called when the work on a message has ended. @param isDone false if the bus must deliver the message again */
  onSettled(isDone: boolean): void {
    this.unsettled--
    if (!isDone) this.hasLostMessage = true // mutation: lost-message-ignored
    if (!this.workInProgress.isFull || this.unsettled === 0) this.workInProgress.notify()
  }
  async quarantine(offset: bigint, error: unknown): Promise<void> {
    await quarantineRecord(this.deps, { bus: this.deps.bus.identity, partition: this.partition.partition, offset }, error)
  }

  private async takeUntilLost(): Promise<void> {
    const { workInProgress, partition } = this
    const { lost } = partition
    while (!lost.aborted && !this.hasLostMessage) {
      while (workInProgress.isFull && !lost.aborted) await workInProgress.changed(lost)
      const records = await partition.fetch(workInProgress.recordsToFetch)
      this.deps.stageHealth.succeeded('consuming')
      // Records that arrive after the loss belong to the next owner.
      if (lost.aborted || records.length === 0) continue
      const before = this.unsettled
      const starting = records.map((record) => this.take(record))
      workInProgress.noteFetch(records.length, this.unsettled - before)
      await Promise.all(starting)
    }
  }
  /** Routes the messages of a record, or quarantines the record if it cannot be decoded. Resolves when their deliveries have started. */
  private async take({ offset, bytes, entries }: BusRecord): Promise<void> {
    const markDone = this.tracker.add(offset)
    const recordDone = () => {
      markDone()
      this.deps.onDone()
    }
    let record: MessageRecord
    try {
      record = decodeRecord(bytes)
    } catch (error) {
      await this.quarantine(offset, error)
      recordDone()
      return
    }
    await this.routeMessages({ record, offset, bytes: bytes.length, entries }, recordDone)
  }
  private async routeMessages({ record, offset, bytes, entries }: DecodedRecord, recordDone: () => void): Promise<void> {
    const { deps, workInProgress } = this
    const { messages } = record
    workInProgress.addBytes(bytes)
    workInProgress.addCount(messages.length)
    this.unsettled += messages.length
    const onSettled = (isDone: boolean) => {
      workInProgress.addBytes(-bytes)
      if (isDone) recordDone()
    }
    const countdown = new Countdown(messages.length, onSettled) // mutation: record-done-with-first-message
    await Promise.all(
      messages.map((message, i) => {
        const place = placeOf(deps.bus.identity, this.partition.partition, offset, i)
        const entry = entries?.[i] ?? null // mutation: entry-of-another-message
        return deps.router.route(new IncomingMessage({ record, message, place, offset, entry }, this, workInProgress, countdown))
      }),
    )
  }
}

class IncomingMessage implements Incoming {
  readonly record: MessageRecord
  readonly message: Message
  readonly place: Place
  readonly entry: IndexEntry | null
  private readonly offset: bigint
  /** The number of parts of the message that are not done: its routing, and each of its deliveries. */
  private count = 1
  private isSettled = false
  private readonly consumer: PartitionConsumer
  private readonly workInProgress: WorkInProgress
  private readonly countdown: Countdown

  constructor(
    { record, message, place, offset, entry }: Pick<Incoming, 'record' | 'message' | 'place' | 'entry'> & { offset: bigint },
    consumer: PartitionConsumer,
    workInProgress: WorkInProgress,
    countdown: Countdown,
  ) {
    this.record = record
    this.message = message
    this.place = place
    this.entry = entry
    this.offset = offset
    this.consumer = consumer
    this.workInProgress = workInProgress
    this.countdown = countdown
  }
  isOwned(): boolean {
    return this.consumer.isOwned()
  }
  addDeliveries(count: number): void {
    this.workInProgress.addCount(count)
    this.count += count
  }
  quarantine(error: unknown): Promise<void> {
    return this.consumer.quarantine(this.offset, error)
  }
  settle(isDone: boolean): void {
    if (this.isSettled) return
    this.isSettled = true
    this.workInProgress.addCount(-this.count)
    this.countdown.end(isDone)
    this.consumer.onSettled(isDone)
  }
}
