import { LRUCache } from 'lru-cache'
import type { EventId } from '../../events/ids.ts'
import { isDayStream, type StreamName } from '../../events/streams.ts'
import { createGroupCommit, type GroupCommit } from '../../lib/group-commit.ts'
import { splitAtRepeats } from '../../lib/split-at-repeats.ts'
import { type Appended, StoreUnavailable } from '../../ports/event-store.ts'
import type { Appender } from './append.ts'
import type { Engine } from './engine.ts'
import { type AppendItem, joinItems, maxAppendBytes } from './events.ts'
import { appendOnce, type Doubt } from './repeats.ts'

type Outcome = PromiseSettledResult<Appended>
/** An append. `doubt` says why it may have been stored already, and is null for a new append. */
interface Entry extends AppendItem {
  readonly doubt: Doubt | null
}
/** The state of a stream that is in use. */
interface UsedStream {
  readonly lane: GroupCommit<Entry, Outcome>
  /** Resolves once a day stream has its age limit. */
  limited: Promise<void> | undefined
}

/** The most milliseconds that a patient append waits for others to be sent with it. */
const lingerMs = 10
/** The most streams that are remembered. The age limit of a forgotten day stream is set again. */
const maxStreams = 20_000

/**
 * Makes the appends that expect no exact revision, and all appends to day streams. Appends to one stream that expect `any` and arrive
 * together are sent as one, because the server needs little more time for many events than for a single event.
 */
export function createAnyAppends(options: { engine: Engine; appender: Appender; maxAgeSeconds: number; now(): number }) {
  const { engine, appender, maxAgeSeconds, now } = options
  const { writeFresh, writeDoubtful } = createWriter(options)
  const streams = new LRUCache<StreamName, UsedStream>({ max: maxStreams })
  /** Appends of this process with an unknown result, because the engine did not respond. The key is their first event id. */
  const doubts = new LRUCache<EventId, Doubt>({ max: 50_000 })

  const streamOf = (name: StreamName): UsedStream => {
    let stream = streams.get(name)
    if (stream === undefined) {
      stream = {
        lane: createGroupCommit<Entry, Outcome>({
          write: (entries) => write(name, entries),
          bytesOf: (entry) => entry.bytes,
          maxBytes: maxAppendBytes,
          lingerMs,
          full: () => new StoreUnavailable('too many appends are waiting to be written'),
        }),
        limited: undefined,
      }
      streams.set(name, stream)
    }
    return stream
  }
  /** Sets the age limit of a day stream before its first event, because the limit might not apply to events that are stored before the limit. */
  const limit = async (name: StreamName): Promise<void> => {
    if (!isDayStream(name)) return
    const stream = streamOf(name)
    stream.limited ??= appender.describe(name, { maxAge: maxAgeSeconds })
    try {
      await stream.limited
    } catch (error) {
      stream.limited = undefined
      throw error
    }
  }

  const write = async (name: StreamName, entries: readonly Entry[]): Promise<Outcome[]> => {
    const end = performance.now() + engine.timeoutMs
    await limit(name)
    const outcomes = new Map<Entry, Outcome>()
    const keep = (written: readonly Entry[], results: readonly Outcome[]) => {
      for (const [i, entry] of written.entries()) outcomes.set(entry, results[i]!)
    }
    // If one append contained an event and its repeat, both would be stored.
    for (const part of splitAtRepeats(entries)) {
      const newEntries = part.filter((entry) => entry.doubt === null)
      keep(newEntries, await writeFresh(newEntries, end))
      keep(
        part.filter((entry) => entry.doubt !== null),
        await writeDoubtful(part, end),
      )
    }
    return entries.map((entry) => outcomes.get(entry)!)
  }
  /**
   * Sends an append that expects `some` alone, because its expectation would not be checked together with `any` appends. The stream exists, so it has
   * its age limit.
   */
  const appendToExisting = async (entry: Entry): Promise<Outcome> => {
    const end = performance.now() + engine.timeoutMs
    const [outcome] = entry.doubt === null ? await writeFresh([entry], end) : await writeDoubtful([entry], end)
    return outcome!
  }

  return {
    /**
     * Throws the errors that the port names.
     * @param since RFC 3339 time, or undefined when the events are new. A process that died may have appended them after this time.
     */
    async append(item: AppendItem, patient: boolean, since?: string): Promise<Appended> {
      const [id] = item.ids as [EventId]
      const doubt = doubts.get(id) ?? (since === undefined ? null : { since })
      const startedAt = new Date(now()).toISOString()
      const above = appender.revisionOf(item.stream)
      try {
        if (item.expected !== 'any' && item.expected !== 'some') {
          await limit(item.stream)
          return await appender.append(item)
        }
        const outcome =
          item.expected === 'some'
            ? await appendToExisting({ ...item, doubt })
            : await streamOf(item.stream).lane.add({ ...item, doubt }, { patient })
        if (outcome.status === 'rejected') throw outcome.reason
        doubts.delete(id)
        return outcome.value
      } catch (error) {
        if (error instanceof StoreUnavailable && doubt === null) doubts.set(id, { since: startedAt, above })
        throw error
      }
    },
  }
}

/** Sends appends that expect `any` or `some`, all to one stream. Returns an outcome for each append. */
function createWriter({ engine, appender, now }: { engine: Engine; appender: Appender; now(): number }) {
  const writeDoubtful = (entries: readonly Entry[], end: number): Promise<Outcome[]> | Outcome[] => {
    const doubtful = entries.flatMap((item) => (item.doubt === null ? [] : [{ item, doubt: item.doubt }]))
    return doubtful.length === 0 ? [] : appendOnce(engine, appender, doubtful, end)
  }
  const alone = (items: readonly AppendItem[], end: number): Promise<Outcome[]> =>
    Promise.allSettled(items.map((item) => appender.append(item, { end })))
  const writeFresh = async (items: readonly Entry[], end: number): Promise<Outcome[]> => {
    const [first] = items
    if (first === undefined) return []
    const newestBefore = appender.newest
    const above = appender.revisionOf(first.stream)
    const since = new Date(now()).toISOString()
    let last: Appended
    try {
      const { item } = joinItems(items, first.expected)
      last = await (first.expected === 'any' ? appender.appendQuickly(item, end) : appender.append(item, { end }))
    } catch (error) {
      // If it is unknown whether the append was stored, its events are searched for in the stream. If the append was refused, each item is
      // sent alone to get its own outcome.
      if (error instanceof StoreUnavailable)
        return writeDoubtful(
          items.map((item) => ({ ...item, doubt: { since, above } })),
          end,
        )
      return items.length === 1 && first.expected !== 'any' ? [{ status: 'rejected', reason: error }] : alone(items, end)
    }
    // A position that is not newer means that every item repeats an earlier append. The earlier appends were separate, so each item is sent alone to
    // get its own result.
    if (items.length > 1 && last.position <= newestBefore) return alone(items, end)
    let revision = last.revision - items.reduce((sum, { ids }) => sum + ids.length, 0)
    return items.map(({ ids }) => {
      revision += ids.length
      // EventStoreDB returns the position of the last event only. A reader who has reached it has seen this item too.
      return { status: 'fulfilled', value: { revision, position: last.position } }
    })
  }
  return { writeFresh, writeDoubtful }
}
