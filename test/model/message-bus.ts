import type { Place } from '../../src/events/ids.ts'
import { decodeRecord, encodeRecord, type MessageRecord, parsePlace, placeOf } from '../../src/events/message-record.ts'
import type { MessageRef } from '../../src/events/refs.ts'
import { erasedBody } from '../../src/events/sealed-body.ts'
import type { BusRecord, IndexEntry, Match, Matcher, MessageBus, OwnedPartition } from '../../src/ports/message-bus.ts'
import { Later, type Life, type Simulation } from './simulation.ts'

interface Partition {
  readonly records: Buffer[]
  owner: Life | null
  until: number
}
/** The lease of a process on a partition, as the process sees it. */
interface PartitionLease {
  readonly loss: AbortController
  until: number
  /** The entries that the process wrote with its records while it had the lease, by the offsets of the records. A fetch returns them with the records. */
  readonly entries: Map<number, BusRecord['entries']>
  /** The offsets of records whose `produce` has not returned to this process. A fetch of this process returns them only afterwards. */
  readonly producing: Set<number>
}
/** A record that was stored, and the entries of its messages. */
interface Stored {
  readonly place: Place
  readonly entries: BusRecord['entries'] | null
}
/** Writes the messages of a record to the index, as one statement with the record. Returns null if the cursor of the match is old. */
type InsertEntries = (record: MessageRecord, placeOf: (index: number) => Place, match: Match) => (IndexEntry | null)[] | null
export const leaseMs = 3_000
const renewMs = 500
const fetchWaitMs = 1_000
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/**
 * A bus whose partitions have one owner at a time, by leases. A lease may be renewed, run out, be released by its owner, or be revoked by the
 * group.
 */
export class ModelBus {
  readonly identity = 'bus'
  readonly partitions: Partition[] = []
  private readonly simulation: Simulation
  /** Set by the world, because the index is in Postgres. */
  insertEntries: InsertEntries = () => null
  private readonly waiting = new Set<() => boolean>()
  private readonly members = new Map<Life, number>()
  private readonly leases = new Map<Life, ReadonlyMap<number, PartitionLease>>()

  constructor(simulation: Simulation, partitions: number) {
    this.simulation = simulation
    for (let i = 0; i < partitions; i++) this.addPartition()
  }
  addPartition(): void {
    this.partitions.push({ records: [], owner: null, until: 0 })
  }
  /** Stores a record. With `isTwice` the record is stored twice, as by a retry of the client library. */
  store(partition: number, bytes: Buffer, isTwice: boolean): Place {
    const { records } = this.partitions[partition]!
    const offset = records.length
    records.push(...(isTwice ? [bytes, bytes] : [bytes]))
    this.wake()
    return placeOf(this.identity, partition, BigInt(offset), 0)
  }
  /** Erases bodies in the records, as the bus on Postgres does. */
  eraseBodies(refs: readonly MessageRef[]): Promise<void> {
    const effect = () => {
      for (const ref of refs) {
        const { partition, offset, index } = parsePlace(ref.place)
        const { records } = this.partitions[partition]!
        const record = decodeRecord(records[Number(offset)]!)
        const messages = record.messages.map((message, i) => (i === index ? { ...message, sealedBody: erasedBody } : message))
        records[Number(offset)] = encodeRecord({ ...record, messages })
      }
    }
    return this.simulation.call({ engine: 'bus', name: 'erase', effect })
  }
  produce(record: MessageRecord, isTwice = false): Promise<Place> {
    const bytes = encodeRecord(record)
    const partition = this.simulation.random.int(0, this.partitions.length - 1)
    const name = `produce ${record.messages.map((message) => message.id).join(', ')}`
    return this.simulation.call({ engine: 'bus', name, effect: () => this.store(partition, bytes, isTwice) })
  }
  private wake(): void {
    for (const tryRead of this.waiting) if (tryRead()) this.waiting.delete(tryRead)
  }
  /** Produces from a process that consumes too. If it owns a partition, it writes the record and its entries in the index together. */
  private async produceFrom(life: Life, record: MessageRecord, matcher: Matcher | null): Promise<Place> {
    const bytes = encodeRecord(record)
    const { random } = this.simulation
    const owned = [...(this.leases.get(life) ?? [])].filter(([, lease]) => !lease.loss.signal.aborted)
    if (owned.length === 0 || matcher === null) return this.produce(record)
    const [partition, lease] = random.pick(owned)
    const match = matcher.match([record])
    // Sometimes the consumer reads the record from the database, before the produce returns.
    const isReadBack = random.chance(0.2)
    let offset: number | null = null
    let isOver = false
    const effect = (): Stored => {
      const at = this.partitions[partition]!.records.length
      if (!isOver && !isReadBack) lease.producing.add(at)
      offset = at
      const entries = match === null ? null : this.insertEntries(record, (i) => placeOf(this.identity, partition, BigInt(at), i), match)
      return { place: this.store(partition, bytes, false), entries }
    }
    const startedAt = performance.now()
    try {
      const name = `produce and index ${record.messages.map((message) => message.id).join(', ')}`
      const { place, entries } = await this.simulation.call({ engine: 'bus', name, effect })
      if (entries !== null) {
        matcher.confirm(match!, startedAt)
        if (this.leases.get(life)?.get(partition) === lease) lease.entries.set(offset!, entries)
      }
      return place
    } finally {
      isOver = true
      if (offset !== null) lease.producing.delete(offset)
      this.wake()
    }
  }
  /** Ends the lease on a partition, as a rebalance does. The former owner notices this when it renews its lease. */
  revoke(partition: number): void {
    const ownedPartition = this.partitions[partition]
    if (ownedPartition !== undefined) Object.assign(ownedPartition, { owner: null, until: 0 })
  }
  /** Returns the bus as one process sees it. */
  of(life: Life): MessageBus {
    let matcher: Matcher | null = null
    return {
      identity: this.identity,
      produce: (record) => this.produceFrom(life, record, matcher),
      indexWith(newMatcher) {
        matcher = newMatcher
      },
      consume: (options) => this.consume(life, options),
      lag: async (saved) => new Map(this.partitions.map(({ records }, i) => [i, Math.max(0, records.length - Number(saved.get(i) ?? 0n))])),
      ends: async () => new Map(this.partitions.map(({ records }, i) => [i, BigInt(records.length)])),
      close: async () => {},
    }
  }
  private share(): number {
    const live = [...this.members].filter(([, seen]) => this.simulation.now - seen <= leaseMs).length
    return Math.ceil(this.partitions.length / Math.max(1, live))
  }
  /**
   * Renews the leases of a process, also for partitions that it is about to release, and takes free partitions up to its share.
   * @param running the partitions that it has not released
   * @param active the running partitions that it continues to consume
   */
  private heartbeat(life: Life, running: readonly number[], active: readonly number[], isStopping = false) {
    const { now } = this.simulation
    this.members.set(life, now)
    const kept = running.filter((i) => this.partitions[i]!.owner === life)
    for (const i of kept) this.partitions[i]!.until = now + leaseMs
    const consumed = kept.filter((i) => active.includes(i))
    const freePartitions = this.partitions.flatMap((partition, i) => (partition.until < now && !running.includes(i) ? [i] : []))
    const taken = isStopping ? [] : freePartitions.slice(0, Math.max(0, this.share() - consumed.length))
    for (const i of taken) Object.assign(this.partitions[i]!, { owner: life, until: now + leaseMs })
    return { kept, taken, over: consumed.slice(this.share()) }
  }
  private async consume(life: Life, { startAt, own, signal }: Parameters<MessageBus['consume']>[0]): Promise<void> {
    const { simulation } = this
    const running = new Map<number, PartitionLease & { done: Promise<void> }>()
    this.leases.set(life, running)
    const run = async (partition: number, lease: PartitionLease) => {
      try {
        await own(this.owned(partition, await startAt(partition), lease))
      } catch {
        // The next owner starts at the saved offset.
      }
      lease.loss.abort()
      running.delete(partition)
      await simulation
        .call({
          engine: 'bus',
          name: `release ${partition}`,
          effect: () => {
            if (this.partitions[partition]!.owner === life && !running.has(partition)) this.revoke(partition)
          },
        })
        .catch(() => undefined) // If the release fails, the lease runs out.
    }
    while (!signal.aborted) {
      const startedAt = simulation.now
      const owned = [...running.keys()]
      const active = owned.filter((partition) => !running.get(partition)!.loss.signal.aborted)
      try {
        const effect = () => this.heartbeat(life, owned, active)
        const { kept, taken, over } = await simulation.call({ engine: 'bus', name: 'heartbeat', quiet: true, effect })
        for (const partition of owned)
          if (!kept.includes(partition) || over.includes(partition)) running.get(partition)?.loss.abort()
          else Object.assign(running.get(partition) ?? {}, { until: startedAt + leaseMs * 0.9 })
        for (const partition of taken) {
          const lease: PartitionLease = {
            loss: new AbortController(),
            until: startedAt + leaseMs * 0.9,
            entries: new Map(),
            producing: new Set(),
          }
          const entry = { ...lease, done: Promise.resolve() }
          running.set(partition, entry)
          entry.done = run(partition, entry)
        }
      } catch {
        // The next heartbeat tries again. Until then, a lease that is not renewed in time is lost.
      }
      for (const lease of running.values()) if (simulation.now > lease.until) lease.loss.abort()
      await sleep(renewMs)
    }
    for (const lease of running.values()) lease.loss.abort()
    const all = Promise.all([...running.values()].map((lease) => lease.done))
    let isOver = false
    all.then(() => {
      isOver = true
    })
    while (!isOver) {
      const effect = () => this.heartbeat(life, [...running.keys()], [], true)
      const beat = simulation.call({ engine: 'bus', name: 'heartbeat', quiet: true, effect })
      await beat.catch(() => undefined) // The next heartbeat tries again.
      await Promise.race([all, sleep(renewMs)])
    }
    this.members.delete(life)
  }
  private owned(partition: number, start: bigint, lease: PartitionLease): OwnedPartition {
    const { simulation } = this
    const lost = lease.loss.signal
    let next = Number(start)
    return {
      partition,
      lost,
      isHeld: () => !lost.aborted && simulation.now <= lease.until,
      fetch: async (max) => {
        const from = next
        const count = Math.min(max, simulation.random.int(1, 4))
        const effect = () => new Later<BusRecord[]>((resolve) => this.fetch(partition, from, count, lease, resolve))
        try {
          const records = await simulation.call({ engine: 'bus', name: `fetch ${partition}`, quiet: true, effect })
          next += records.length
          return records
        } catch {
          await sleep(50)
          return []
        }
      },
    }
  }
  private fetch(partition: number, from: number, count: number, lease: PartitionLease, resolve: (records: BusRecord[]) => void): void {
    const all = this.partitions[partition]!.records
    const lost = lease.loss.signal
    let isOver = false
    const give = () => {
      isOver = true
      const end = Math.min(from + count, ...lease.producing)
      const records = all.slice(from, end).map((bytes, i): BusRecord => {
        const entries = lease.entries.get(from + i)
        return { offset: BigInt(from + i), bytes, ...(entries === undefined ? {} : { entries }) }
      })
      resolve(records)
    }
    const tryRead = () => {
      if (isOver) return true
      if (from >= Math.min(all.length, ...lease.producing)) return false
      give()
      return true
    }
    if (tryRead()) return
    this.waiting.add(tryRead)
    const end = () => {
      if (isOver) return
      this.waiting.delete(tryRead)
      isOver = true
      resolve([])
    }
    this.simulation.at(this.simulation.now + fetchWaitMs, end)
    lost.addEventListener('abort', end, { once: true })
  }
}
