import { LRUCache } from 'lru-cache'
import type { EventId } from '../../events/ids.ts'
import type { StreamName } from '../../events/streams.ts'
import { createGroupCommit, type GroupCommit } from '../../lib/group-commit.ts'
import { roundsOf } from '../../lib/rounds.ts'
import { type Appended, StoreUnavailable } from '../../ports/event-store.ts'
import type { Appender } from './append.ts'
import { type AppendItem, maxAppendBytes } from './events.ts'

type Outcome = PromiseSettledResult<Appended>
/** What is kept of a day stream while it is used. */
interface DayStream {
  readonly lane: GroupCommit<AppendItem, Outcome>
  /** Resolves once the stream has its age limit. */
  limited: Promise<void> | undefined
}

/** How long a patient append waits for company. */
const lingerMs = 10
/** Day streams kept in mind: one forgotten asks once more for its age limit. */
const maxStreams = 20_000

/**
 * Appends to day streams. `any` appends that come together are sent as one: an append of many events costs the server
 * little more than one of a single event.
 */
export function createDayStreams({ appender, maxAgeSeconds }: { appender: Appender; maxAgeSeconds: number }) {
  const streams = new LRUCache<StreamName, DayStream>({ max: maxStreams })
  /**
   * First ids of appends of which it is not known whether they happened. Repeated, they go alone: behind a new event
   * in one append, one that is known already would be stored twice.
   */
  const doubtful = new LRUCache<EventId, true>({ max: 50_000 })

  const streamOf = (name: StreamName): DayStream => {
    let stream = streams.get(name)
    if (stream === undefined) {
      const lane = createGroupCommit<AppendItem, Outcome>({
        async write(items) {
          await limit(name)
          const outcomes: Outcome[] = []
          // Sent as one append, an event and its repeat would both be stored.
          for (const round of roundsOf(items)) outcomes.push(...(await writeRound(round)))
          return outcomes
        },
        bytesOf: (item) => item.bytes,
        maxBytes: maxAppendBytes,
        lingerMs,
        full: () => new StoreUnavailable('too many appends are waiting to be written'),
      })
      stream = { lane, limited: undefined }
      streams.set(name, stream)
    }
    return stream
  }
  /** Gives the stream its age limit, before its first event: later, events could outlive it. */
  const limit = async (name: StreamName): Promise<void> => {
    const stream = streamOf(name)
    stream.limited ??= appender.describe(name, { maxAge: maxAgeSeconds })
    try {
      await stream.limited
    } catch (error) {
      stream.limited = undefined
      throw error
    }
  }

  const alone = (items: readonly AppendItem[]): Promise<Outcome[]> => Promise.allSettled(items.map(appender.append))
  const writeRound = async (items: readonly AppendItem[]): Promise<Outcome[]> => {
    const [first] = items
    if (first === undefined || items.length === 1) return alone(items)
    const before = appender.newest
    const whole: AppendItem = {
      ...first,
      ids: items.flatMap((item) => item.ids),
      events: items.flatMap((item) => item.events),
      bytes: items.reduce((sum, item) => sum + item.bytes, 0),
    }
    let last: Appended
    try {
      last = await appender.append(whole)
    } catch (error) {
      // Unknown whether it happened: one by one it might happen twice. Refused: each is to hear its own answer.
      return error instanceof StoreUnavailable ? items.map(() => ({ status: 'rejected', reason: error })) : alone(items)
    }
    // At or before what was there when it began: all of it is a repeat of appends that were not one then.
    if (last.position <= before) return alone(items)
    let revision = last.revision - whole.ids.length
    return items.map((item) => {
      revision += item.ids.length
      // EventStoreDB tells the position of the last event only. Who has reached that has seen the item too.
      return { status: 'fulfilled', value: { revision, position: last.position } }
    })
  }

  return {
    /** Throws what the port says. */
    async append(item: AppendItem, patient: boolean): Promise<Appended> {
      const [id] = item.ids as [EventId]
      try {
        if (item.expected !== 'any' || doubtful.has(id)) {
          // A stream with an age limit counts as one that exists; who made it has set one.
          if (item.expected !== 'some') await limit(item.stream)
          const answer = await appender.append(item)
          doubtful.delete(id)
          return answer
        }
        const outcome = await streamOf(item.stream).lane.add(item, { patient })
        if (outcome.status === 'rejected') throw outcome.reason
        return outcome.value
      } catch (error) {
        if (error instanceof StoreUnavailable) doubtful.set(id, true)
        throw error
      }
    },
  }
}
