import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import type { Family } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/retry.ts'
import type { EventStore } from '../../ports/event-store.ts'
import type { LiveItem } from './items.ts'
import { type Gap, gapText, Listener, type Published, textsOf } from './listener.ts'
import { createStreamIds, type StreamIds, type StreamPosition } from './stream-ids.ts'

/** Milliseconds for which a feed reads on after its last listener, because a browser that reloads comes back at once. */
const idleMs = 30_000
/** The most stored events that are read for one listener that resumes. If there are more, the listener gets a gap. */
const maxCaughtUp = 50_000
/** The most listeners that catch up at the same time. The others wait. */
const maxCatchingUp = 4

interface FeedOptions {
  readonly store: Pick<EventStore, 'identity' | 'head' | 'subscribe'>
  readonly family: Family
  readonly itemsOf: (event: RecordedEvent) => LiveItem[]
  /** Called with the items of a batch before any listener gets them. */
  readonly prepare: (items: readonly LiveItem[]) => Promise<void>
  /** Aborts when the process stops. */
  readonly closing: AbortSignal
  readonly log: Log
}
interface ListenOptions {
  /** The place after which to go on, `moved` if it belongs to another store, or null to begin now. */
  readonly resume: ReturnType<StreamIds['parse']>
  /** The time before which items have expired, in milliseconds since 1970. */
  readonly oldest: number
  readonly accepts: (item: LiveItem) => boolean
  readonly check: () => Promise<void>
  readonly signal: AbortSignal
}

/** The one subscription of a feed. */
interface Reading {
  readonly stop: AbortController
  /** Resolves when the position is known. */
  readonly begun: Promise<void>
  /** Every event up to this position was published. */
  position: Checkpoint | null
}
/** The milliseconds after which a browser connects again. */
const retryText = 'retry: 1000\n'
const gapOf = (since: number, until: number): Gap => ({
  missed: null,
  since: new Date(since).toISOString(),
  until: new Date(until).toISOString(),
})

/**
 * The events of one family as they are stored. All listeners of the process share one subscription, which exists only while somebody listens.
 */
export class Feed {
  readonly ids: StreamIds
  readonly #options: FeedOptions
  readonly #listeners = new Set<Listener>()
  #reading: Reading | null = null
  /** The number of streams that are open. Some of them may not listen yet. */
  #open = 0
  #catchingUp = 0

  constructor(options: FeedOptions) {
    this.#options = options
    this.ids = createStreamIds(options.store.identity)
  }
  /** Yields the text of a stream of server-sent events. */
  async *listen({ resume, oldest, accepts, check, signal: gone }: ListenOptions): AsyncGenerator<string> {
    const { closing } = this.#options
    const reading = this.#begin()
    const signal = AbortSignal.any([gone, closing, reading.stop.signal])
    let listener: Listener | null = null
    /** Adds the listener. No code may wait between the choice of `from` and this call, because the listener would miss the events of that time. */
    const join = (from: Checkpoint | null) => {
      listener = new Listener({ ids: this.ids, accepts, from })
      this.#listeners.add(listener)
      return listener
    }
    this.#open++
    try {
      await reading.begun
      let joined: Listener
      if (resume === null || 'moved' in resume) {
        joined = join(reading.position)
        const now = Date.now()
        // A caller that has got no item yet can go on from this id too.
        const id = this.ids.write({ after: reading.position, sent: 0, at: now })
        yield resume === null ? `${retryText}id: ${id}\n\n` : `${retryText}${gapText(gapOf(resume.at, now), id)}`
      } else {
        yield resume.at < oldest ? `${retryText}${gapText(gapOf(resume.at, oldest), null)}` : `${retryText}\n`
        const { from, last } = yield* this.#catchUp(resume, reading, accepts, signal)
        joined = join(from)
        if (last !== null) yield last
      }
      yield* joined.texts(signal, check)
      if (closing.aborted) yield ': The service is stopping. Connect again.\n\n'
    } finally {
      if (listener !== null) this.#listeners.delete(listener)
      this.#open--
      this.#endSoon(reading)
    }
  }

  /**
   * Yields the items that were stored after the position. Returns the checkpoint up to which they were read. The feed is not beyond this checkpoint. If too much was stored, a gap is returned too.
   */
  async *#catchUp(
    resume: StreamPosition,
    reading: Reading,
    accepts: ListenOptions['accepts'],
    signal: AbortSignal,
  ): AsyncGenerator<string, { from: Checkpoint | null; last: string | null }> {
    let { after: before, sent, at } = resume
    const hasCaughtUp = () => sent === 0 && (before ?? '') >= (reading.position ?? '')
    if (hasCaughtUp()) return { from: before, last: null }
    while (this.#catchingUp >= maxCatchingUp && !signal.aborted) await pause(20, signal)
    this.#catchingUp++
    const ended = new AbortController()
    try {
      const { store, family } = this.#options
      let eventCount = 0
      const subscription = store.subscribe({ families: [family], after: before, signal: AbortSignal.any([signal, ended.signal]) })
      for await (const { events, checkpoint } of subscription) {
        for (const published of await this.#publishable(events, before)) {
          const text = textsOf(published, this.ids, accepts, sent).join('')
          sent = 0
          at = published.at
          if (text !== '') yield text
        }
        before = checkpoint
        eventCount += events.length
        if (hasCaughtUp()) break
        if (eventCount < maxCaughtUp) continue
        const from = reading.position
        const now = Date.now()
        return { from, last: gapText(gapOf(at, now), this.ids.write({ after: from, sent: 0, at: now })) }
      }
      return { from: before, last: null }
    } finally {
      ended.abort()
      this.#catchingUp--
    }
  }
  async #publishable(events: readonly RecordedEvent[], after: Checkpoint | null): Promise<Published[]> {
    let before = after
    const published = events.flatMap((event): Published[] => {
      const items = this.#itemsOf(event)
      const from = before
      before = event.position
      return items.length === 0 ? [] : [{ before: from, position: event.position, at: Date.parse(event.metadata.time), items }]
    })
    await this.#options.prepare(published.flatMap(({ items }) => items))
    return published
  }
  #itemsOf(event: RecordedEvent): LiveItem[] {
    try {
      return this.#options.itemsOf(event)
    } catch (error) {
      // The projections report an event that they cannot read. A stream leaves it out.
      this.#options.log.debug({ error, event: event.id }, 'stream.event_not_readable')
      return []
    }
  }

  #begin(): Reading {
    if (this.#reading !== null) return this.#reading
    const { store, family, closing, log } = this.#options
    const stop = new AbortController()
    const signal = AbortSignal.any([stop.signal, closing])
    const begun = Promise.withResolvers<void>()
    begun.promise.catch(() => undefined) // the promise may be rejected while no code awaits it
    const reading: Reading = { stop, begun: begun.promise, position: null }
    const readFeed = async () => {
      reading.position = await store.head([family])
      begun.resolve()
      for await (const { events, checkpoint } of store.subscribe({ families: [family], after: reading.position, signal })) {
        const published = await this.#publishable(events, reading.position)
        reading.position = checkpoint
        for (const event of published) for (const listener of this.#listeners) listener.push(event)
      }
    }
    readFeed().catch((error: unknown) => {
      begun.reject(error)
      stop.abort()
      if (this.#reading === reading) this.#reading = null
      log.warn({ error }, 'stream.feed_failed')
    })
    this.#reading = reading
    return reading
  }
  #endSoon(reading: Reading): void {
    setTimeout(() => {
      if (this.#open > 0 || this.#reading !== reading) return
      reading.stop.abort()
      this.#reading = null
    }, idleMs).unref()
  }
}
