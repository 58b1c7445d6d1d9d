import { expect } from 'chai'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { StreamName } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { findInStream } from '../../src/ports/find-event.ts'

const stream = 'attempts-x-20261201' as StreamName
const disorderMs = 60_000
const begun = Date.parse('2026-12-01T00:00:00Z')

/** A stream of events that were appended at equal intervals, each up to `disorderMs` after its time. The first events are no longer kept. */
function createStream(options: { events: number; everyMs: number; notKept?: number }) {
  const { events: count, everyMs, notKept = 0 } = options
  const events = Array.from({ length: count }, (_, revision) => {
    const late = revision % 11 === 0 ? (revision * 7_919) % disorderMs : revision % 5
    return { id: `event ${revision}`, revision, metadata: { time: new Date(begun + revision * everyMs - late).toISOString() } }
  }) as unknown as RecordedEvent[]
  const reads = { count: 0, events: 0 }
  const store: Pick<EventStore, 'read'> = {
    async read(_, { from, limit, backwards = false } = {}) {
      const kept = events.filter(({ revision }) => revision >= notKept)
      const page = backwards
        ? kept.filter(({ revision }) => revision <= (from ?? count)).reverse()
        : kept.filter(({ revision }) => revision >= (from ?? 0))
      const read = page.slice(0, limit)
      reads.count++
      reads.events += read.length
      return read
    },
  }
  const find = (event: RecordedEvent) =>
    findInStream(store, stream, { time: event.metadata.time, disorderMs, untilMs: disorderMs, maxPages: 100 }, ({ id }) => id === event.id)
  return { events, reads, find, store }
}

describe('the search for an event in the stream of a day', () => {
  it('finds every event, although their times do not always rise', async () => {
    for (const events of [1, 2, 7, 60, 1_500]) {
      const day = createStream({ events, everyMs: 400 })
      for (let revision = 0; revision < events; revision += events > 100 ? 37 : 1) {
        const event = day.events[revision]!
        expect((await day.find(event))?.id, `${revision} of ${events}`).to.equal(event.id)
      }
    }
  })
  it('finds events among those that are still kept, and no other', async () => {
    const day = createStream({ events: 1_000, everyMs: 400, notKept: 600 })
    expect((await day.find(day.events[700]!))?.id).to.equal('event 700')
    expect(await day.find(day.events[500]!)).to.equal(null)
  })
  it('reads few events, however many are in the stream', async () => {
    const day = createStream({ events: 20_000, everyMs: 4 })
    expect(await day.find(day.events[12_346]!)).not.to.equal(null)
    expect(day.reads.events).to.be.lessThan(150)
  })
  it('returns null for an event that is not near its time, or in an empty stream', async () => {
    const day = createStream({ events: 2_000, everyMs: 400 })
    const time = day.events[1_000]!.metadata.time
    const search = { time, disorderMs: 1_000, untilMs: 1_000, maxPages: 100 }
    expect(await findInStream(day.store, stream, search, ({ id }) => id === 'event 1900')).to.equal(null)
    expect(day.reads.events).to.be.lessThan(1_200)
    expect(await findInStream(createStream({ events: 0, everyMs: 1 }).store, stream, search, () => true)).to.equal(null)
  })
})
