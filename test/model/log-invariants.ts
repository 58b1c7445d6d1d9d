import type { RecordedEvent } from '../../src/events/envelope.ts'
import { dayEntry, leafHash } from '../../src/events/leaf.ts'
import { logStream } from '../../src/events/log.ts'
import { isDayStream } from '../../src/events/streams.ts'
import { createMerkleTree } from '../../src/lib/merkle.ts'
import type { World } from './world.ts'

const indexOf = (position: string | null): number => Number(position ?? '0')

/** Checks the batches of the audit log. Invariant `sealed`: each event of a day stream is in exactly one batch, and each batch has its root. */
export class LogInvariants {
  private readonly world: World
  /** The number of events (of all streams) up to the end of the last batch. */
  private sealedUpTo = 0

  constructor(world: World) {
    this.world = world
  }
  stored({ stream, type, data }: RecordedEvent): void {
    if (stream !== logStream || type !== 'BatchSealed') return
    const { from, through, count, root } = data as { from: string | null; through: string; count: number; root: string }
    const bad = (text: string) => this.world.violate('sealed', `the batch from ${from} through ${through} ${text}`)
    if (indexOf(from) < this.sealedUpTo) bad('has events of the batch before it')
    if (this.dayEvents(this.sealedUpTo, indexOf(from)).length > 0) bad('leaves out events after the batch before it')
    const events = this.dayEvents(indexOf(from), indexOf(through))
    if (events.length !== count) bad(`has ${count} events of ${events.length}`)
    const tree = createMerkleTree()
    for (const event of events) tree.push(leafHash(dayEntry(event)))
    if (tree.root().toString('base64') !== root) bad('has another root')
    this.sealedUpTo = indexOf(through)
  }
  private dayEvents(after: number, upTo: number): RecordedEvent[] {
    return this.world.events.all.slice(after, upTo).filter(({ stream }) => isDayStream(stream))
  }
  /** Returns the reasons why the log is not at rest. */
  unrest(): string[] {
    if (!this.world.hasLogWriter) return []
    const { all } = this.world.events
    const unsealed = this.dayEvents(this.sealedUpTo, all.length).length
    return unsealed === 0 ? [] : [`${unsealed} events are in no batch`]
  }
}
