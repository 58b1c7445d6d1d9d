import type { RecordedEvent } from '../../src/events/envelope.ts'
import { decodeRecord, parsePlace } from '../../src/events/message-record.ts'
import { type MessageRef, messageRefOf } from '../../src/events/refs.ts'
import { isErased } from '../../src/events/sealed-body.ts'
import { bodyKey, stateReadKey } from './delivery-log.ts'
import type { Post } from './receivers.ts'
import { indexKey } from './tables.ts'
import type { World } from './world.ts'

/** An erasure that somebody has asked for. */
interface Erasure {
  readonly message: MessageRef
  /** The message, and the messages that were rejected because of it when the erasure was asked for. */
  readonly copies: readonly MessageRef[]
  /** The time of PayloadErased, or null. */
  erasedAt: number | null
}

/** Invariant `erased`: a body that was erased is never sent again, and never comes back. */
export class ErasureInvariants {
  private readonly world: World
  private readonly erasures = new Map<string, Erasure>()

  constructor(world: World) {
    this.world = world
  }
  stored({ type, data }: RecordedEvent): void {
    const { tenant, message } = data as { tenant?: string; message?: string }
    if (type === 'PayloadErasureAsked') {
      const ref = messageRefOf(data as unknown as MessageRef)
      const rejected = [...this.world.tables.rejections.values()].filter((row) => row.tenant === tenant && row.message === message)
      this.erasures.set(indexKey(tenant!, message!), { message: ref, copies: [ref, ...rejected], erasedAt: null })
    }
    if (type !== 'PayloadErased') return
    const erasure = this.erasures.get(indexKey(tenant!, message!))!
    erasure.erasedAt = this.world.simulation.now
    this.expectErased(erasure)
  }
  private expectErased({ message, copies }: Erasure): void {
    for (const copy of copies)
      if (!isErased(this.world.log.archived.get(bodyKey(copy))))
        this.world.violate('erased', `the body of ${message.message} at ${copy.place} is in the archive after its erasure`)
  }
  /** Checks the record of the message, if the bus can change records. */
  private expectRecordErased({ message: { message, place } }: Erasure): void {
    if (!this.world.erasesRecords) return
    const { partition, offset, index } = parsePlace(place)
    const record = decodeRecord(this.world.bus.partitions[partition]!.records[Number(offset)]!)
    if (!isErased(record.messages[index]!.sealedBody))
      this.world.violate('erased', `the body of ${message} at ${place} is on the bus after its erasure`)
  }
  isAsked(ref: { tenant: string; message: string }): boolean {
    return this.erasures.has(indexKey(ref.tenant, ref.message))
  }
  /** Checks a request: its process must not have read the body, or that the message came again, after the erasure. */
  posted({ ref, life, fromTable }: Post): void {
    const { log } = this.world
    const erasure = this.erasures.get(indexKey(ref.tenant, ref.message))
    if (erasure === undefined || erasure.erasedAt === null) return
    const readAt = fromTable ? log.bodyReadAt.get(`${life}/${bodyKey(ref)}`) : log.stateReadAt.get(stateReadKey(life, ref.delivery, false))
    if ((readAt ?? 0) > erasure.erasedAt) this.world.violate('erased', `${ref.message} was sent after its erasure`)
  }
  unrest(): string[] {
    return [...this.erasures.values()].flatMap(({ message, erasedAt }) =>
      erasedAt === null ? [`the erasure of ${message.message} is not complete`] : [],
    )
  }
  judge(): void {
    for (const erasure of this.erasures.values()) {
      this.expectErased(erasure)
      this.expectRecordErased(erasure)
    }
  }
}
