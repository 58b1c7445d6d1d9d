import { createWake } from '../lib/wake.ts'

const maxRecordsPerFetch = 500

/** What this process has taken from the bus and not finished, over all partitions. While it is full, nothing is fetched. */
export class InHand {
  /** Messages and their deliveries. */
  private count = 0
  /** Bytes of records. */
  private bytes = 0
  /** Messages in a record, as the last fetch had them: a record holds 1 to 1,000. */
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
  /** How many records to fetch next. */
  get recordsToFetch(): number {
    return Math.max(1, Math.min(maxRecordsPerFetch, Math.floor((this.maxCount - this.count) / this.messagesPerRecord)))
  }
  /** Learns from a fetch how many messages a record holds. */
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
  /** Tells the partition that waits in `changed` that it may go on. */
  notify(): void {
    this.room.notify()
  }
  /** Resolves after `notify`, after 100 ms, or when the signal aborts. */
  async changed(signal?: AbortSignal): Promise<void> {
    await this.room.wait(100, signal)
  }
}
