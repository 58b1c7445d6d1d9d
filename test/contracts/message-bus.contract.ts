import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import type { MessageId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { decodeRecord, type Message, type MessageRecord, parsePlace, placeOf } from '../../src/events/message-record.ts'
import { BusFull, type BusRecord, type MessageBus, type OwnedPartition, RecordTooLarge } from '../../src/ports/message-bus.ts'
import { waitFor } from '../support/wait-for.ts'

/** One member of the group. It has its own connections and leases, like a separate process. */
export interface BusMember {
  readonly bus: MessageBus
  /** Ends the member like a kill -9, so that it neither releases nor renews its leases. */
  crash(): Promise<void>
  close(): Promise<void>
}
/** A bus of 4 partitions. A silent member counts as dead after less than two seconds. */
export interface BusHarness {
  readonly partitions: number
  /** @param maxWaiting number of records that may wait to be written */
  member(options?: { maxWaiting?: number }): Promise<BusMember>
  drop(): Promise<void>
}

const tenant = '01JZ0000000000000000000000' as TenantId
export const message = (id: string, body: Buffer | string = '{}'): Message => ({
  id: id as MessageId,
  event: 'order.created',
  event_time: null,
  source: null,
  fingerprint: 'f'.repeat(64),
  sealedBody: Buffer.from(body),
})
export const record = (...messages: Message[]): MessageRecord => ({
  tenant,
  accepted_at: new Date().toISOString(),
  correlation_id: 'test',
  messages,
})
export const idsOf = (bytes: Buffer): string[] => decodeRecord(bytes).messages.map((m) => m.id)

export interface Collector {
  /** Records in the order in which they came. */
  readonly seen: readonly { partition: number; record: BusRecord }[]
  /** Ids of all messages in the order in which they came. */
  ids(): string[]
  places(identity: string): string[]
  /** Partitions that are owned now. */
  readonly owned: ReadonlyMap<number, OwnedPartition>
  stop(): Promise<void>
}
/**
 * Consumes all partitions that this member gets.
 * @param saved the offset at which each partition starts; the map is updated after each fetch
 */
export function collect(bus: MessageBus, saved = new Map<number, bigint>(), max = 100): Collector {
  const stopping = new AbortController()
  const seen: { partition: number; record: BusRecord }[] = []
  const owned = new Map<number, OwnedPartition>()
  const done = bus.consume({
    signal: stopping.signal,
    startAt: async (partition) => saved.get(partition) ?? 0n,
    async own(partition) {
      owned.set(partition.partition, partition)
      while (!partition.lost.aborted)
        for (const fetched of await partition.fetch(max)) {
          seen.push({ partition: partition.partition, record: fetched })
          saved.set(partition.partition, fetched.offset + 1n)
        }
      owned.delete(partition.partition)
    },
  })
  return {
    seen,
    owned,
    ids: () => seen.flatMap(({ record: { bytes } }) => idsOf(bytes)),
    places: (identity) => seen.map(({ partition, record: { offset } }) => placeOf(identity, partition, offset, 0)),
    async stop() {
      stopping.abort()
      await done
    },
  }
}

/** The behaviour of every message bus. */
export function messageBusContract(name: string, make: () => Promise<BusHarness>): void {
  describe(`message bus contract: ${name}`, () => {
    let harness: BusHarness
    beforeEach(async () => {
      harness = await make()
    })
    afterEach(() => harness.drop())

    it('returns the place at which a consumer finds the record', async () => {
      const { bus } = await harness.member()
      const collector = collect(bus)
      const place = await bus.produce(record(message('m1')))
      await waitFor(() => collector.seen.length === 1)
      await collector.stop()
      expect(parsePlace(place)).to.include({ bus: bus.identity, index: 0 })
      expect(collector.places(bus.identity)).to.deep.equal([place])
      expect(collector.ids()).to.deep.equal(['m1'])
      expect(bus.identity).to.not.include('/')
    })

    it('carries every byte and every field of a record unchanged', async () => {
      const { bus } = await harness.member()
      const collector = collect(bus)
      const everyByte = Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256))
      const sent: MessageRecord = {
        tenant,
        accepted_at: new Date().toISOString(),
        correlation_id: 'a-request:1',
        target: '01JZ0000000000000000000001' as WebhookId,
        messages: [
          message('bytes', everyByte),
          message('nuls', Buffer.alloc(64)),
          message('none', Buffer.alloc(0)),
          { ...message('large', randomBytes(1 << 20)), event_time: '2026-01-01T00:00:00+02:00', source: 'naïve-☃ a"b\\c\u0000' },
        ],
      }
      await bus.produce(sent)
      await waitFor(() => collector.seen.length === 1)
      await collector.stop()
      expect(decodeRecord(Buffer.from(collector.seen[0]!.record.bytes))).to.deep.equal(sent)
    })

    it('loses and repeats no record of many concurrent producers, and keeps the order within each partition', async () => {
      const { bus } = await harness.member()
      const other = await harness.member()
      const collector = collect(bus)
      const producer = async (from: MessageBus, name: string) => {
        for (let i = 0; i < 40; i++) await from.produce(record(message(`${name}-${i}`), message(`${name}-${i}-second`)))
      }
      await Promise.all(Array.from({ length: 24 }, (_, i) => producer(i % 3 === 0 ? other.bus : bus, `p${i}`)))
      await waitFor(() => collector.seen.length >= 24 * 40)
      await collector.stop()
      expect(new Set(collector.ids()).size).to.equal(24 * 40 * 2)
      expect(collector.seen).to.have.length(24 * 40)
      for (let partition = 0; partition < harness.partitions; partition++) {
        const offsets = collector.seen.filter((s) => s.partition === partition).map((s) => s.record.offset)
        expect(offsets.every((offset, i) => i === 0 || offset > offsets[i - 1]!)).to.equal(true)
      }
    })

    it('continues after a restart exactly at the saved offset', async () => {
      const first = await harness.member()
      const saved = new Map<number, bigint>()
      const before = collect(first.bus, saved, 7)
      const earlyPlaces = await Promise.all(Array.from({ length: 60 }, (_, i) => first.bus.produce(record(message(`early-${i}`)))))
      await waitFor(() => before.seen.length === 60)
      await before.stop()
      await first.close()

      const second = await harness.member()
      const latePlaces = await Promise.all(Array.from({ length: 30 }, (_, i) => second.bus.produce(record(message(`late-${i}`)))))
      // One partition is read again from the middle.
      const restart = parsePlace(earlyPlaces[20]!)
      saved.set(restart.partition, restart.offset)
      const repeated = earlyPlaces
        .map(parsePlace)
        .filter((place) => place.partition === restart.partition && place.offset >= restart.offset)
      const after = collect(second.bus, saved, 7)
      await waitFor(() => after.seen.length >= latePlaces.length + repeated.length)
      await after.stop()
      const expected = [...latePlaces, ...repeated.map((p) => placeOf(p.bus, p.partition, p.offset, 0))]
      expect(after.places(second.bus.identity).sort()).to.deep.equal(expected.sort())
    })

    it('returns the end of each partition, so that a saved offset beyond the end reveals another bus', async () => {
      const { bus } = await harness.member()
      expect([...(await bus.ends())].sort(([a], [b]) => a - b)).to.deep.equal([0, 1, 2, 3].map((partition) => [partition, 0n]))
      const places = await Promise.all(Array.from({ length: 40 }, (_, i) => bus.produce(record(message(`m${i}`)))))
      const ends = new Map([0, 1, 2, 3].map((partition) => [partition, 0n]))
      for (const { partition, offset } of places.map(parsePlace)) if (offset >= ends.get(partition)!) ends.set(partition, offset + 1n)
      expect(new Map(await bus.ends())).to.deep.equal(ends)
    })

    it('begins at the first record when no offset was saved', async () => {
      const producer = await harness.member()
      await Promise.all(Array.from({ length: 50 }, (_, i) => producer.bus.produce(record(message(`m${i}`)))))
      await producer.close()
      const collector = collect((await harness.member()).bus)
      await waitFor(() => collector.seen.length === 50)
      await collector.stop()
      expect(new Set(collector.ids()).size).to.equal(50)
    })

    it('divides the partitions among its members, and one member takes over the partitions that another releases', async () => {
      const [first, second] = [await harness.member(), await harness.member()]
      const firstCollector = collect(first.bus)
      const secondCollector = collect(second.bus)
      await waitFor(() => firstCollector.owned.size === harness.partitions / 2 && secondCollector.owned.size === harness.partitions / 2)
      expect(new Set([...firstCollector.owned.keys(), ...secondCollector.owned.keys()]).size).to.equal(harness.partitions)
      await secondCollector.stop()
      await second.close()
      await waitFor(() => firstCollector.owned.size === harness.partitions)
      await firstCollector.stop()
    })

    it('gives the partitions of a dead member to the others, which read every record after the saved offset', async () => {
      const [first, second] = [await harness.member(), await harness.member()]
      const firstCollector = collect(first.bus)
      const secondCollector = collect(second.bus)
      await waitFor(() => firstCollector.owned.size === harness.partitions / 2 && secondCollector.owned.size === harness.partitions / 2)
      for (let i = 0; secondCollector.seen.length < 3; i++) await second.bus.produce(record(message(`m${i}`)))
      const unsaved = secondCollector.ids()
      await second.crash()
      await waitFor(() => firstCollector.owned.size === harness.partitions)
      await waitFor(() => unsaved.every((id) => firstCollector.ids().includes(id)))
      await first.bus.produce(record(message('after')))
      await waitFor(() => firstCollector.ids().includes('after'))
      expect(new Set(firstCollector.ids()).size).to.equal(firstCollector.seen.length)
      await firstCollector.stop()
      await secondCollector.stop()
    })

    it('notifies the owner when a partition is lost', async () => {
      const { bus, crash } = await harness.member()
      const collector = collect(bus)
      await waitFor(() => collector.owned.size === harness.partitions)
      const owned = [...collector.owned.values()]
      expect(owned.every((partition) => partition.isHeld() && !partition.lost.aborted)).to.equal(true)
      await crash()
      await waitFor(() => owned.every((partition) => !partition.isHeld() && partition.lost.aborted))
      await waitFor(() => collector.owned.size === 0, { what: 'every fetch to end' })
      await collector.stop()
    })

    it('ends a waiting fetch when consuming ends, and then starts no more work', async () => {
      const { bus } = await harness.member()
      const collector = collect(bus)
      await waitFor(() => collector.owned.size === harness.partitions)
      const [partition] = collector.owned.values()
      await collector.stop()
      expect(partition!.isHeld()).to.equal(false)
      expect(await partition!.fetch(10)).to.deep.equal([])
    })

    it('ends a fetch without records after a time, and returns at most the requested number of records', async () => {
      const { bus } = await harness.member()
      const stopping = new AbortController()
      const sizes: number[] = []
      const done = bus.consume({
        signal: stopping.signal,
        startAt: async () => 0n,
        async own(partition) {
          while (!partition.lost.aborted) sizes.push((await partition.fetch(3)).length)
        },
      })
      await waitFor(() => sizes.length >= harness.partitions)
      expect(Math.max(...sizes)).to.equal(0)
      await Promise.all(Array.from({ length: 50 }, (_, i) => bus.produce(record(message(`m${i}`)))))
      await waitFor(() => sizes.reduce((sum, size) => sum + size, 0) === 50)
      expect(Math.max(...sizes)).to.equal(3)
      stopping.abort()
      await done
    })

    it('refuses a record above 2 MiB, and stores the others that are produced with it', async () => {
      const { bus } = await harness.member()
      const results = await Promise.allSettled([
        bus.produce(record(message('a'))),
        bus.produce(record(message('too-large', Buffer.alloc(2 << 20)))),
        bus.produce(record(message('b', Buffer.alloc((2 << 20) - 1_000)))),
      ])
      expect(results.map((result) => result.status)).to.deep.equal(['fulfilled', 'rejected', 'fulfilled'])
      expect((results[1] as PromiseRejectedResult).reason).to.be.instanceOf(RecordTooLarge)
    })

    it('throws BusFull beyond its limit of waiting records, and stores the records that it accepted', async () => {
      const { bus } = await harness.member({ maxWaiting: 20 })
      const collector = collect(bus)
      const results = await Promise.allSettled(Array.from({ length: 200 }, (_, i) => bus.produce(record(message(`m${i}`)))))
      const refused = results.filter((result) => result.status === 'rejected')
      expect(refused.length).to.be.greaterThan(0)
      expect(refused.every((result) => result.reason instanceof BusFull)).to.equal(true)
      const accepted = results.flatMap((result, i) => (result.status === 'fulfilled' ? [`m${i}`] : []))
      await waitFor(() => collector.seen.length >= accepted.length)
      await collector.stop()
      expect(collector.ids().sort()).to.deep.equal(accepted.sort())
      await bus.produce(record(message('later')))
    })
  })
}
