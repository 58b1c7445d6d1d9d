import { createHash } from 'node:crypto'
import type { Checkpoint } from '../../events/envelope.ts'

/** The place in a feed after which a stream goes on. A caller gets it as the id of an item, and sends it back as `Last-Event-ID`. */
export interface StreamPosition {
  /** The checkpoint after which to read on, or null for the beginning. */
  readonly after: Checkpoint | null
  /** The number of items of the next event that were sent already. One event may have many items. */
  readonly sent: number
  /** The time of the last item, in milliseconds since 1970. */
  readonly at: number
}

/** Writes and parses ids of the events of one event store. */
export interface StreamIds {
  write(position: StreamPosition): string
  /** Returns the position, `moved` with its time if it belongs to another event store, or null for a text that is no id. */
  parse(text: string): StreamPosition | { readonly moved: true; readonly at: number } | null
}

const pattern = /^([0-9a-f]{8})\.([0-9a-z]{1,9})\.([0-9]{1,6})\.([\x21-\x7e]{0,200})$/

/** @param identity the identity of the event store. Its checkpoints mean nothing in another store. */
export function createStreamIds(identity: string): StreamIds {
  const tag = createHash('sha256').update(identity).digest('hex').slice(0, 8)
  return {
    write: ({ after, sent, at }) => `${tag}.${at.toString(36)}.${sent}.${after ?? ''}`,
    parse(text) {
      const [, store, time = '', sent = '', after = ''] = pattern.exec(text) ?? []
      if (store === undefined) return null
      const at = Number.parseInt(time, 36)
      if (store !== tag) return { moved: true, at }
      return { after: after === '' ? null : (after as Checkpoint), sent: Number(sent), at }
    },
  }
}
