import { createWake } from '../../lib/wake.ts'
import type { LiveItem } from './items.ts'
import type { StreamIds, StreamPosition } from './stream-ids.ts'

/** The most items that wait for a slow reader. Later ones are not kept, and a gap says how many there were. */
const maxWaiting = 1_000
/** The most items in one chunk. */
const itemsPerChunk = 100
/** Milliseconds for which items gather after a chunk, so that many attempts do not cause as many writes. Items do not wait if many have gathered. */
const gatheringMs = 50
const enoughItems = 250
/** Milliseconds without an item after which a comment is sent, so that no proxy closes the connection. */
const pingMs = 15_000
/** Milliseconds between two checks of the caller's credential. */
const checkMs = 1_000

/** A stored event as a feed publishes it. */
export interface Published {
  /** The checkpoint before the event. */
  readonly before: StreamPosition['after']
  /** The checkpoint at the event. */
  readonly position: NonNullable<StreamPosition['after']>
  readonly at: number
  readonly items: readonly LiveItem[]
}
/** A part of a stream that a reader has missed. `missed` is the number of items, or null if it is not known. */
export interface Gap {
  readonly missed: number | null
  readonly since: string
  readonly until: string
}

const time = (ms: number) => new Date(ms).toISOString()
export const gapText = (gap: Gap, id: string | null) => `${id === null ? '' : `id: ${id}\n`}event: gap\ndata: ${JSON.stringify(gap)}\n\n`

/** Returns the texts of those items of an event that a reader accepts. Each has the id after which a stream goes on. */
export function textsOf(
  { before, position, at, items }: Published,
  ids: StreamIds,
  accepts: (item: LiveItem) => boolean,
  sent = 0,
): string[] {
  return items.flatMap((item, i) => {
    if (i < sent || !accepts(item)) return []
    const isLast = i === items.length - 1
    const id = ids.write(isLast ? { after: position, sent: 0, at } : { after: before, sent: i + 1, at })
    return [`id: ${id}\ndata: ${item.json}\n\n`]
  })
}

interface ListenerOptions {
  readonly ids: StreamIds
  readonly accepts: (item: LiveItem) => boolean
  /** Events up to this position were sent already. */
  readonly from: StreamPosition['after']
}

/** One reader of a feed. The feed pushes events, and the reader takes their texts as fast as it can send them. */
export class Listener {
  readonly #options: ListenerOptions
  #texts: string[] = []
  #wake = createWake()
  /** Notified when `enoughItems` have gathered. */
  #isFull = createWake()
  #gap: { missed: number; since: number; until: number; id: string } | null = null

  constructor(options: ListenerOptions) {
    this.#options = options
  }
  push(published: Published): void {
    const { ids, accepts, from } = this.#options
    if (from !== null && published.position <= from) return
    const texts = textsOf(published, ids, accepts)
    if (texts.length === 0) return
    // While a gap is open, all items belong to it, so that the order of items stays that of the feed.
    if (this.#gap === null && this.#texts.length + texts.length <= maxWaiting) {
      this.#texts.push(...texts)
      this.#wake.notify()
      if (this.#texts.length >= enoughItems) this.#isFull.notify()
      return
    }
    const { at, position } = published
    const { missed, since } = this.#gap ?? { missed: 0, since: at }
    this.#gap = { missed: missed + texts.length, since, until: at, id: ids.write({ after: position, sent: 0, at }) }
  }
  /** Yields texts until the signal aborts. @param check throws when the caller may no longer read */
  async *texts(signal: AbortSignal, check: () => Promise<void>): AsyncGenerator<string> {
    let sentAt = performance.now()
    let checkedAt = sentAt
    while (!signal.aborted) {
      const now = performance.now()
      if (now - checkedAt >= checkMs) {
        await check()
        checkedAt = now
      }
      const text = this.#take()
      if (text !== '') {
        yield text
        if (this.#texts.length < enoughItems) await this.#isFull.wait(gatheringMs, signal)
      } else if (now - sentAt >= pingMs) yield ': ping\n\n'
      else {
        await this.#wake.wait(checkMs, signal)
        continue
      }
      sentAt = now
    }
  }
  #take(): string {
    if (this.#texts.length > 0) return this.#texts.splice(0, itemsPerChunk).join('')
    if (this.#gap === null) return ''
    const { missed, since, until, id } = this.#gap
    this.#gap = null
    return gapText({ missed, since: time(since), until: time(until) }, id)
  }
}
