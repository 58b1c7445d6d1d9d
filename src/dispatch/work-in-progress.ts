import { createWake } from '../lib/wake.ts'

const maxRecordsPerFetch = 500

/** The work that this process has taken from the bus and not finished, over all partitions. While it is full, no record is fetched. */
export class WorkInProgress {
  /** The number of messages and of their deliveries. */
  private count = 0
  /** The bytes of their records. */
  private bytes = 0
  /** The mean number of messages in a record (1 to 1,000) in the last fetch. */
  private messagesPerRecord = 100
  private readonly maxCount: number
  private readonly maxBytes: number
  private readonly room = createWake()

  constructor(maxCount: number, maxBytes: number) {
    this.maxCount = maxCount
    this.maxBytes = maxBytes
  }
  get isFull(): boolean {
    return this.count >= this.maxCount || this.bytes >= this.maxBytes
  }
  /** The number of records to fetch next. */
  get recordsToFetch(): number {
    return Math.max(1, Math.min(maxRecordsPerFetch, Math.floor((this.maxCount - this.count) / this.messagesPerRecord)))
  }
  /** Computes the mean number of messages in a record from a fetch. */
  noteFetch(records: number, messages: number): void {
    this.messagesPerRecord = Math.max(1, messages / records)
  }
  /** @param change messages and deliveries that were added, or negative for those that are done */
  addCount(change: number): void {
    this.count += change
  }
  addBytes(change: number): void {
    this.bytes += change
  }
  /** Wakes the partition consumer that waits in `changed`. */
  notify(): void {
    this.room.notify()
  }
  /** Resolves after a call of `notify`, after 100 ms, or when the signal aborts. */
  async changed(signal?: AbortSignal): Promise<void> {
    await this.room.wait(100, signal)
  }
}
