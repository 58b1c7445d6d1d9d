import { expect } from 'chai'
import fc from 'fast-check'
import type { Checkpoint, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId } from '../../src/events/ids.ts'
import { type Family, isDayStream, type StreamName } from '../../src/events/streams.ts'
import {
  EventRefused,
  type EventStore,
  EventTooLarge,
  type ExpectedRevision,
  RevisionConflict,
  StoreUnavailable,
} from '../../src/ports/event-store.ts'
import { anAttempts, anEvent, anId, aRouting, aTenant, aWebhook, collect, errorOf, someEvents } from '../support/event-store-events.ts'
import { waitFor } from '../support/wait-for.ts'

/** An engine for the suite. It may contain other events, because the suite checks only streams that it has created. */
export interface EventStoreEngine {
  /** Opens a store on the engine, as another process would. */
  open(options: { dayStreamMaxAgeSeconds: number }): EventStore | Promise<EventStore>
  /** Stops the engine after the stores are closed. */
  drop(): Promise<void>
}

const monthSeconds = 30 * 86_400
const everyFamily: readonly Family[] = ['tenant', 'key', 'webhook', 'routing', 'attempts']
const kinds = [
  ['a command stream', aWebhook],
  ['a day stream', () => anAttempts()],
] as const

/** The behaviour of every adapter of the port EventStore. */
export function eventStoreContract(adapter: string, makeEngine: () => Promise<EventStoreEngine>): void {
  describe(`the event store on ${adapter}`, () => {
    let engine: EventStoreEngine
    let store: EventStore
    const openStores: EventStore[] = []
    const open = async (dayStreamMaxAgeSeconds = monthSeconds) => {
      const newStore = await engine.open({ dayStreamMaxAgeSeconds })
      openStores.push(newStore)
      return newStore
    }
    before(async () => {
      engine = await makeEngine()
      store = await open()
    })
    after(async () => {
      await Promise.all(openStores.map((each) => each.close()))
      await engine.drop()
    })

    const conflictOf = async (stream: StreamName, events: NewEvent[], expected: ExpectedRevision) => {
      const error = await errorOf(store.append(stream, events, expected))
      if (!(error instanceof RevisionConflict)) throw error
      expect(error).to.include({ code: 'revision_conflict', stream, expected })
      return error.actual
    }
    const idsIn = async (stream: StreamName) => (await store.read(stream)).map((event) => event.id)
    /** Reads the events of the given streams after a checkpoint, by a subscription that ends at the head. */
    const allAfter = async (after: Checkpoint | null, families: readonly Family[], streams: readonly StreamName[], batch?: number) => {
      const head = await store.head(families)
      if (head === null) return []
      const until = (_: RecordedEvent[], checkpoint: Checkpoint) => checkpoint >= head
      return (await collect(store, { families, after, streams, until, ...(batch === undefined ? {} : { batch }) })).events
    }

    for (const [kind, aStream] of kinds)
      describe(`appending to ${kind}`, () => {
        it('numbers events from 0 and returns the last revision', async () => {
          const stream = aStream()
          expect((await store.append(stream, someEvents(3), 'none')).revision).to.equal(2)
          expect((await store.append(stream, someEvents(2), 2)).revision).to.equal(4)
          expect((await store.read(stream)).map((event) => event.revision)).to.deep.equal([0, 1, 2, 3, 4])
        })
        it('returns the position of the last event', async () => {
          const stream = aStream()
          const { position } = await store.append(stream, someEvents(3), 'any')
          expect((await store.read(stream)).at(-1)?.position).to.equal(position)
        })
        it('accepts `none` only for a stream that does not exist', async () => {
          const stream = aStream()
          await store.append(stream, someEvents(2), 'none')
          expect(await conflictOf(stream, someEvents(1), 'none')).to.equal(1)
        })
        it('accepts `some` only for a stream that exists', async () => {
          const stream = aStream()
          expect(await conflictOf(stream, someEvents(1), 'some')).to.equal(-1)
          await store.append(stream, someEvents(1), 'none')
          expect((await store.append(stream, someEvents(1), 'some')).revision).to.equal(1)
        })
        it('accepts `any` whether the stream exists or not', async () => {
          const stream = aStream()
          expect((await store.append(stream, someEvents(1), 'any')).revision).to.equal(0)
          expect((await store.append(stream, someEvents(1), 'any')).revision).to.equal(1)
        })
        it('accepts an exact revision only if it is the last, and otherwise names the last revision', async () => {
          const stream = aStream()
          expect(await conflictOf(stream, someEvents(1), 0)).to.equal(-1)
          await store.append(stream, someEvents(3), 'none')
          expect(await conflictOf(stream, someEvents(1), 1)).to.equal(2)
          expect(await conflictOf(stream, someEvents(1), 7)).to.equal(2)
          expect((await store.append(stream, someEvents(1), 2)).revision).to.equal(3)
        })
        it('stores nothing of an append that conflicts', async () => {
          const stream = aStream()
          const keptEvents = someEvents(2)
          await store.append(stream, keptEvents, 'none')
          await conflictOf(stream, someEvents(3), 0)
          expect(await idsIn(stream)).to.deep.equal(keptEvents.map((event) => event.id))
        })
        it('lets one of many appends win a race for a revision, and returns the last revision to the others', async () => {
          const stream = aStream()
          await store.append(stream, someEvents(1), 'none')
          const results = await Promise.allSettled(Array.from({ length: 12 }, () => store.append(stream, someEvents(1), 0)))
          const rejections = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
          expect(rejections).to.have.length(11)
          for (const error of rejections) expect(error).to.be.instanceOf(RevisionConflict).and.to.include({ actual: 1 })
        })
        it('shows the event that caused a conflict to every read that begins after the conflict', async () => {
          const stream = aStream()
          await store.append(stream, someEvents(1), 'none')
          for (let revision = 0; revision < 20; revision++) {
            const seenByLosers = await Promise.all(
              Array.from({ length: 4 }, () =>
                store.append(stream, someEvents(1), revision).then(
                  () => null,
                  async (error: RevisionConflict) => ({ reported: error.actual, read: (await store.read(stream)).at(-1)?.revision ?? -1 }),
                ),
              ),
            )
            for (const seen of seenByLosers) if (seen !== null) expect(seen.read).to.be.at.least(seen.reported)
          }
        })
      })

    for (const [kind, aStream] of kinds)
      describe(`repeating an append to ${kind}`, () => {
        for (const expected of ['none', 'any'] as const)
          it(`returns the same result as the first time, expecting ${expected}, and stores nothing twice`, async () => {
            const stream = aStream()
            const events = someEvents(3)
            const first = await store.append(stream, events, expected)
            expect(await store.append(stream, events, expected)).to.deep.equal(first)
            await store.append(stream, someEvents(1), 'any')
            expect(await store.append(stream, events, expected)).to.deep.equal(first)
            expect(await store.read(stream)).to.have.length(4)
          })
        for (const expected of [1, 'some'] as const)
          it(`returns the same result as the first time, expecting ${expected} of a stream with later events`, async () => {
            const stream = aStream()
            await store.append(stream, someEvents(2), 'none')
            const events = someEvents(2)
            const first = await store.append(stream, events, expected)
            await store.append(stream, someEvents(3), 'any')
            expect(await store.append(stream, events, expected)).to.deep.equal(first)
            expect(await store.read(stream)).to.have.length(7)
          })
        it('returns the same result in another store on the engine', async () => {
          const stream = aStream()
          const events = someEvents(2)
          const first = await store.append(stream, events, 'any')
          expect(await (await open()).append(stream, events, 'any')).to.deep.equal(first)
        })
        it('appends once when the repeat comes while the first append is in flight', async () => {
          const stream = aStream()
          const events = someEvents(2)
          const outcomes = await Promise.all([1, 2, 3].map(() => store.append(stream, events, 'none')))
          expect(outcomes[1]).to.deep.equal(outcomes[0])
          expect(outcomes[2]).to.deep.equal(outcomes[0])
          expect(await idsIn(stream)).to.deep.equal(events.map((event) => event.id))
        })
        it('succeeds for the beginning of an earlier append', async () => {
          const stream = aStream()
          const events = someEvents(3)
          await store.append(stream, events, 'none')
          expect((await store.append(stream, events.slice(0, 2), 'none')).revision).to.equal(1)
          expect((await store.append(stream, events.slice(0, 2), 'any')).revision).to.equal(1)
        })
        for (const expected of ['none', 'any', 'some'] as const)
          it(`conflicts, expecting ${expected}, if the first event is stored and a later one is not`, async () => {
            const stream = aStream()
            const events = someEvents(2)
            await store.append(stream, events, 'none')
            expect(await conflictOf(stream, [...events, anEvent()], expected)).to.equal(1)
            expect(await store.read(stream)).to.have.length(2)
          })
        it('conflicts when other events follow the exact revision', async () => {
          const stream = aStream()
          const events = someEvents(4)
          await store.append(stream, events, 'none')
          expect(await conflictOf(stream, events.slice(2), 0)).to.equal(3)
          expect(await conflictOf(stream, [events[1]!, events[3]!], 0)).to.equal(3)
          expect((await store.append(stream, events.slice(2), 1)).revision).to.equal(3)
        })
        it('conflicts when the expected revision is beyond the last one, for stored and for new events', async () => {
          const stream = aStream()
          const events = someEvents(2)
          await store.append(stream, events, 'none')
          expect(await conflictOf(stream, events, 5)).to.equal(1)
        })
      })

    describe('reading a stream', () => {
      for (const [kind, aStream] of kinds) {
        it(`goes forwards or backwards from a revision, up to a limit, in ${kind}`, async () => {
          const stream = aStream()
          await store.append(stream, someEvents(10), 'none')
          const revisions = async (options: Parameters<EventStore['read']>[1]) =>
            (await store.read(stream, options)).map((event) => event.revision)
          expect(await revisions({})).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
          expect(await revisions({ from: 7 })).to.deep.equal([7, 8, 9])
          expect(await revisions({ from: 2, limit: 3 })).to.deep.equal([2, 3, 4])
          expect(await revisions({ limit: 2 })).to.deep.equal([0, 1])
          expect(await revisions({ from: 10 })).to.deep.equal([])
          expect(await revisions({ backwards: true })).to.deep.equal([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
          expect(await revisions({ backwards: true, from: 3 })).to.deep.equal([3, 2, 1, 0])
          expect(await revisions({ backwards: true, from: 8, limit: 2 })).to.deep.equal([8, 7])
          expect(await revisions({ backwards: true, limit: 1 })).to.deep.equal([9])
        })
        it(`returns no events of ${kind} that does not exist`, async () => {
          expect(await store.read(aStream())).to.deep.equal([])
          expect(await store.read(aStream(), { backwards: true, limit: 1 })).to.deep.equal([])
        })
        it(`returns what was appended to ${kind}`, async () => {
          const stream = aStream()
          const event = anEvent({ type: 'ThingHappened', data: { a: 1, b: [null, true, 'x'], c: { d: 'é€😀' } } })
          const { position } = await store.append(stream, [event], 'none')
          expect(await store.read(stream)).to.deep.equal([{ ...event, stream, revision: 0, position }])
        })
      }
    })

    describe('the bytes of an event', () => {
      const roundTrip = async (data: object, stream = aWebhook()) => {
        await store.append(stream, [anEvent({ data })], 'none')
        const [read] = await store.read(stream)
        const subscribed = (await allAfter(null, ['tenant', 'key', 'webhook'], [stream])).at(0)
        expect(JSON.stringify(subscribed?.data)).to.equal(JSON.stringify(read?.data))
        return JSON.stringify(read?.data)
      }
      it('keep the order of keys, and all numbers', async () => {
        const data = { zebra: 1, alpha: 2, nested: { y: 1e21, b: -0.1, a: 1.5e-9 }, '10': 'x', '2': 'y', list: [3, 1, 2] }
        expect(await roundTrip(data)).to.equal(JSON.stringify(data))
      })
      it('keep NUL, control characters and separators', async () => {
        const data = { text: 'a\u0000b\u0001c\u001e\u001f\u007f\u2028\u2029\\u0000"\'', '\u0000key\u001e': '' }
        expect(await roundTrip(data)).to.equal(JSON.stringify(data))
      })
      it('keep lone surrogates', async () => {
        const data = { high: 'x\ud800', low: '\udfffx', turned: '\udc00\ud800', '\ud83d': 1, pair: '\ud83d\ude00' }
        expect(await roundTrip(data)).to.equal(JSON.stringify(data))
      })
      it('keep a string of nearly 1 MiB, in a stream of either kind', async () => {
        for (const stream of [aWebhook(), anAttempts()]) {
          const data = { big: 'é€x'.repeat(170_000) }
          await store.append(stream, [anEvent({ data })], 'none')
          expect((await store.read(stream))[0]?.data).to.deep.equal(data)
        }
      })
      it('keep any JSON', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.jsonValue({ stringUnit: 'binary' })), { maxLength: 5 }),
            async (entries) => {
              const data = JSON.parse(JSON.stringify(Object.fromEntries(entries)))
              const stream = aTenant()
              await store.append(
                stream,
                [anEvent({ data, metadata: { ...anEvent().metadata, $correlationId: JSON.stringify(data) } })],
                'none',
              )
              const [read] = await store.read(stream)
              expect(JSON.stringify(read?.data)).to.equal(JSON.stringify(data))
              expect(read?.metadata.$correlationId).to.equal(JSON.stringify(data))
            },
          ),
          { numRuns: 50 },
        )
      })
    })

    describe('an append that cannot be stored', () => {
      it('is too large above 1 MiB, in one event or in all events together', async () => {
        const stream = aWebhook()
        const tooLarge = await errorOf(store.append(stream, [anEvent({ data: { big: 'x'.repeat(1 << 20) } })], 'none'))
        expect(tooLarge).to.be.instanceOf(EventTooLarge).and.to.include({ code: 'event_too_large' })
        const half = () => anEvent({ data: { big: '€'.repeat(180_000) } }) // 540,000 bytes
        expect(await errorOf(store.append(stream, [half(), half()], 'none'))).to.be.instanceOf(EventTooLarge)
        expect((await store.append(stream, [half()], 'none')).revision).to.equal(0)
      })
      for (const [kind, aStream] of kinds)
        it(`fails alone among the appends that are written with it, in ${kind}`, async () => {
          const poison = [3, 17].map(() => store.append(aStream(), [anEvent({ id: 'not-a-uuid' as EventId })], 'any'))
          const streams = Array.from({ length: 30 }, aStream)
          const goodAppends = streams.map((stream) => store.append(stream, someEvents(2), 'none'))
          for (const badEvent of poison)
            expect(await errorOf(badEvent))
              .to.be.instanceOf(EventRefused)
              .and.to.include({ code: 'event_refused' })
          for (const each of goodAppends) expect((await each).revision).to.equal(1)
        })
      it('fails alone when it conflicts, among the appends that are written with it', async () => {
        const streams = Array.from({ length: 20 }, aTenant)
        const results = await Promise.allSettled(streams.map((stream, i) => store.append(stream, someEvents(1), i % 2 === 0 ? 'none' : 3)))
        results.forEach((result, i) => {
          expect(result.status).to.equal(i % 2 === 0 ? 'fulfilled' : 'rejected')
        })
      })
    })

    it('appends to hundreds of streams of every family at once', async () => {
      const streams = Array.from({ length: 600 }, (_, i) => [aWebhook, aTenant, () => anAttempts(), () => aRouting()][i % 4]!())
      const before = await store.head(everyFamily)
      const outcomes = await Promise.all(
        streams.map((stream, i) => store.append(stream, someEvents(1 + (i % 3)), 'none', { patient: isDayStream(stream) && i % 3 === 0 })),
      )
      outcomes.forEach((outcome, i) => {
        expect(outcome.revision).to.equal(i % 3)
      })
      const events = await allAfter(before, everyFamily, streams)
      expect(events).to.have.length(1200)
      expect(new Set(events.map((event) => event.position)).size).to.equal(1200)
    })

    describe('a subscription', () => {
      it('yields the events of its families, in the order of positions, and no others', async () => {
        const before = await store.head(everyFamily)
        const streams = [aTenant(), aWebhook(), anAttempts(), aRouting()] as const
        const [tenant, webhook, attempts, routing] = streams
        for (const stream of [tenant, attempts, webhook, routing, tenant, webhook, attempts])
          await store.append(stream, someEvents(2), 'any')
        const order = async (families: readonly Family[]) =>
          (await allAfter(before, families, streams)).map((event) => `${streams.indexOf(event.stream as never)}.${event.revision}`)
        expect(await order(everyFamily)).to.deep.equal([
          '0.0',
          '0.1',
          '2.0',
          '2.1',
          '1.0',
          '1.1',
          '3.0',
          '3.1',
          '0.2',
          '0.3',
          '1.2',
          '1.3',
          '2.2',
          '2.3',
        ])
        expect(await order(['webhook'])).to.deep.equal(['1.0', '1.1', '1.2', '1.3'])
        expect(await order(['tenant', 'key'])).to.deep.equal(['0.0', '0.1', '0.2', '0.3'])
        expect(await order(['routing'])).to.deep.equal(['3.0', '3.1'])
        expect(await order(['routing', 'attempts'])).to.deep.equal(['2.0', '2.1', '3.0', '3.1', '2.2', '2.3'])
        expect(await order(['tenant', 'attempts'])).to.deep.equal(['0.0', '0.1', '2.0', '2.1', '0.2', '0.3', '2.2', '2.3'])
      })
      it('yields batches of at most the requested size, each with the checkpoint that it has reached', async () => {
        const before = await store.head(everyFamily)
        const stream = aWebhook()
        await store.append(stream, someEvents(25), 'none')
        const sizes: number[] = []
        await collect(store, {
          families: everyFamily,
          after: before,
          batch: 7,
          streams: [stream],
          until: (events) => events.length === 25,
          onBatch(events, checkpoint) {
            sizes.push(events.length)
            expect(events.at(-1)?.position ?? '').to.satisfy((position: string) => position <= checkpoint)
          },
        })
        expect(Math.max(...sizes)).to.be.at.most(7)
      })
      it('continues after any checkpoint without loss or repetition', async () => {
        const before = await store.head(everyFamily)
        const streams = [aTenant(), anAttempts(), aRouting(), aWebhook()]
        for (let i = 0; i < 12; i++) await store.append(streams[i % 4]!, someEvents(1 + (i % 5)), 'any')
        const head = (await store.head(everyFamily))!
        const all: RecordedEvent[] = []
        const seen: { checkpoint: Checkpoint; count: number }[] = [{ checkpoint: before ?? ('' as Checkpoint), count: 0 }]
        await collect(store, {
          families: everyFamily,
          after: before,
          batch: 4,
          until: (_, checkpoint) => checkpoint >= head,
          onBatch(events, checkpoint) {
            all.push(...events.filter((event) => streams.includes(event.stream)))
            seen.push({ checkpoint, count: all.length })
          },
        })
        const ids = all.map((event) => event.id)
        expect(new Set(ids).size).to.equal(ids.length)
        for (const { checkpoint, count } of seen) {
          const laterEvents = checkpoint >= head ? [] : await allAfter(checkpoint === '' ? null : checkpoint, everyFamily, streams, 3)
          expect(laterEvents.map((event) => event.id)).to.deep.equal(ids.slice(count))
        }
      })
      it('is live: it yields events that are appended later, by this process or another one', async () => {
        const other = await open()
        const [attemptsStream, webhookStream] = [anAttempts(), aWebhook()]
        const live = collect(store, {
          families: everyFamily,
          after: await store.head(everyFamily),
          streams: [attemptsStream, webhookStream],
          until: (events) => events.length === 6,
        })
        for (let i = 0; i < 3; i++) {
          await store.append(attemptsStream, someEvents(1), 'any', { patient: true })
          await other.append(webhookStream, someEvents(1), 'any')
        }
        expect((await live).events.map((event) => event.stream)).to.deep.equal([
          attemptsStream,
          webhookStream,
          attemptsStream,
          webhookStream,
          attemptsStream,
          webhookStream,
        ])
      })
      it('never yields a stream out of order, nor a position twice, while many append', async () => {
        const streams = [aTenant(), anAttempts(), aWebhook(), anAttempts()]
        const stores = [store, await open(), await open()]
        const live = collect(store, {
          families: everyFamily,
          after: await store.head(everyFamily),
          streams,
          batch: 50,
          until: (events) => events.length === 1200,
        })
        await Promise.all(
          Array.from({ length: 12 }, async (_, writer) => {
            for (let i = 0; i < 50; i++) await stores[writer % 3]!.append(streams[(writer + i) % 4]!, someEvents(2), 'any')
          }),
        )
        const { events } = await live
        for (const stream of streams) {
          const revisions = events.filter((event) => event.stream === stream).map((event) => event.revision)
          expect(revisions).to.deep.equal(Array.from({ length: 300 }, (_, i) => i))
        }
        events.reduce((previous, event) => {
          expect(event.position > previous.position).to.equal(true)
          return event
        })
      })
      it('ends when its signal aborts, even before its start', async () => {
        const stop = new AbortController()
        let isDone = false
        const waiting = (async () => {
          for await (const _ of store.subscribe({ families: ['key'], after: await store.head(['key']), signal: stop.signal }));
          isDone = true
        })()
        await store.append(aTenant(), someEvents(1), 'none')
        expect(isDone).to.equal(false)
        stop.abort()
        await waiting
        for await (const _ of store.subscribe({ families: everyFamily, after: null, signal: AbortSignal.abort() }))
          throw new Error('a batch')
      })
      it('can be ended by its reader at any batch', async () => {
        const stream = aTenant()
        const before = await store.head(everyFamily)
        await store.append(stream, someEvents(10), 'none')
        for await (const { events } of store.subscribe({
          families: ['tenant'],
          after: before,
          signal: new AbortController().signal,
          batch: 3,
        })) {
          if (events.length === 0) continue
          // A batch has at most the requested size. A store may yield fewer events if no more have arrived.
          expect([0, 1, 2].slice(0, events.length)).to.deep.equal(events.map((event) => event.revision))
          break
        }
        expect((await store.append(stream, someEvents(1), 9)).revision).to.equal(10)
      })
    })

    describe('the head', () => {
      it('is reached by a subscription of these families exactly when it has yielded all earlier events', async () => {
        for (const families of [everyFamily, ['webhook'], ['attempts', 'routing'], ['key', 'attempts']] as const) {
          const streams = [aWebhook(), anAttempts(), aRouting()]
          for (const stream of streams) await store.append(stream, someEvents(2), 'none')
          const head = (await store.head(families))!
          const expected = streams.flatMap((stream) => (families.some((family) => stream.startsWith(`${family}-`)) ? [stream, stream] : []))
          const { events } = await collect(store, { families, streams, until: (_, checkpoint) => checkpoint >= head })
          expect(events.map((event) => event.stream)).to.deep.equal(expected)
        }
      })
      it('grows with each append, and is at least the position of the append', async () => {
        let last = ''
        for (const stream of [aWebhook(), anAttempts(), aTenant()]) {
          const { position } = await store.append(stream, someEvents(1), 'none')
          const head = (await store.head(everyFamily))!
          expect(head >= position && head > last).to.equal(true)
          expect(head).to.have.length(position.length)
          last = head
        }
      })
    })

    it('reads no events of day streams that are older than its age limit, and keeps command streams for ever', async () => {
      const brief = await open(5)
      const [day, command] = [anAttempts(), aWebhook()]
      await brief.append(day, someEvents(2), 'none')
      await brief.append(command, someEvents(2), 'none')
      expect(await brief.read(day)).to.have.length(2)
      await waitFor(async () => (await brief.read(day)).length === 0, { what: 'the day stream to age' })
      expect(await brief.read(day, { backwards: true, limit: 1 })).to.deep.equal([])
      expect(await brief.read(command)).to.have.length(2)
      // The revisions continue.
      expect((await brief.append(day, someEvents(1), 1)).revision).to.equal(2)
      expect((await brief.read(day)).map((event) => event.revision)).to.deep.equal([2])
    })

    it('has the same identity as every store on its engine', async () => {
      expect(store.identity)
        .to.equal((await open()).identity)
        .and.not.to.equal('')
    })

    it('refuses an append without events', async () => {
      expect(await errorOf(store.append(aTenant(), [], 'any'))).to.be.instanceOf(EventRefused)
    })

    it('finishes the calls in flight when it closes, ends its subscriptions, and refuses new calls', async () => {
      const closing = await open()
      const stream = anAttempts()
      const subscription = collect(closing, { families: ['attempts'], after: await closing.head(['attempts']), until: () => false })
      const appends = Array.from({ length: 20 }, () => closing.append(stream, someEvents(1), 'any', { patient: true }))
      await closing.close()
      await Promise.all(appends)
      await subscription
      expect(await store.read(stream)).to.have.length(20)
      expect(await errorOf(closing.append(stream, [anEvent({ id: anId() })], 'any'))).to.be.instanceOf(StoreUnavailable)
    })
  })
}
