import type { NewEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import type { AppendItem } from './events.ts'
import type { EncodedEvent, WireEvent } from './wire.ts'

/** Events that this process is appending or has just appended, so that its subscriptions need not parse them. */
export interface OwnEvents {
  add(item: AppendItem): void
  /** Returns and forgets the event with the same id and the same bytes. Returns undefined when there is none. */
  take(event: WireEvent): NewEvent | undefined
}

/** The most bytes of events that are remembered. The oldest events are forgotten first. */
const maxBytes = 8 << 20

export function createOwnEvents(): OwnEvents {
  const events = new Map<EventId, { event: NewEvent; encoded: EncodedEvent }>()
  let bytes = 0
  const remove = (id: EventId, encoded: EncodedEvent) => {
    events.delete(id)
    bytes -= encoded.bytes.length
  }
  return {
    add({ events: added, encoded }) {
      for (const [i, event] of added.entries()) {
        const previous = events.get(event.id)
        if (previous !== undefined) remove(event.id, previous.encoded)
        events.set(event.id, { event, encoded: encoded[i]! })
        bytes += encoded[i]!.bytes.length
      }
      for (const [id, oldest] of events) {
        if (bytes <= maxBytes) break
        remove(id, oldest.encoded)
      }
    },
    take({ id, type, data, metadata }) {
      const remembered = events.get(id)
      if (remembered === undefined) return undefined
      const { event, encoded } = remembered
      remove(id, encoded)
      return event.type === type && encoded.data.equals(data) && encoded.metadata.equals(metadata) ? event : undefined
    },
  }
}
