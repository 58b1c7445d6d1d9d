import type { Place } from '../../src/events/ids.ts'
import { encodeRecord, type MessageRecord, placeOf } from '../../src/events/message-record.ts'
import type { BusRecord, MessageBus } from '../../src/ports/message-bus.ts'

/** A bus of one partition that a test controls. The test can revoke the partition, deliver a record again, and deliver invalid bytes. */
export interface HandDrivenBus extends MessageBus {
  put(record: MessageRecord): bigint
  putBytes(bytes: Buffer): bigint
  /** Revokes the partition. The next owner begins at the saved offset. */
  rebalance(): void
  /** Whether the owner still has its lease, by its own clock. */
  holds: boolean
}

export function handDrivenBus(): HandDrivenBus {
  const records: BusRecord[] = []
  let lose = () => {}
  let woken = () => {}
  const self: HandDrivenBus = {
    identity: 'hand',
    holds: true,
    put: (record) => self.putBytes(encodeRecord(record)),
    putBytes(bytes) {
      const offset = BigInt(records.length)
      records.push({ offset, bytes })
      woken()
      return offset
    },
    rebalance: () => lose(),
    produce: (record) => Promise.resolve(placeOf('hand', 0, self.put(record), 0) as Place),
    async consume({ startAt, own, signal }) {
      while (!signal.aborted) {
        let next = Number(await startAt(0))
        const lost = new AbortController()
        lose = () => lost.abort()
        const end = AbortSignal.any([lost.signal, signal])
        await own({
          partition: 0,
          lost: end,
          isHeld: () => self.holds && !end.aborted,
          async fetch(max) {
            while (next >= records.length && !end.aborted)
              await new Promise<void>((resolve) => {
                woken = resolve
                end.addEventListener('abort', () => resolve(), { once: true })
              })
            const fetched = end.aborted ? [] : records.slice(next, next + max)
            next += fetched.length
            return fetched
          },
        })
      }
    },
    lag: (saved) => Promise.resolve(new Map([[0, Math.max(0, records.length - Number(saved.get(0) ?? 0n))]])),
    ends: () => Promise.resolve(new Map([[0, BigInt(records.length)]])),
    close: () => Promise.resolve(),
  }
  return self
}
