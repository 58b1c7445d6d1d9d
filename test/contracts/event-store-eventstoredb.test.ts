import { inspect } from 'node:util'
import { EventStoreDBClient } from '@eventstore/db-client'
import { expect } from 'chai'
import { createEventStoreDbStore, type EventStoreDbOptions } from '../../src/adapters/eventstoredb/event-store.ts'
import type { Checkpoint, NewEvent } from '../../src/events/envelope.ts'
import type { Family, StreamName } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { untilDone } from '../../src/lib/retry.ts'
import { type EventStore, RevisionConflict, StoreUnavailable } from '../../src/ports/event-store.ts'
import { anAttempts, anEvent, aRouting, aTenant, aWebhook, collect, errorOf, someEvents } from '../support/event-store-events.ts'
import { realServer, type StoreServer, startStoreServer } from '../support/event-store-server.ts'
import { type EventStoreDbProcess, startEventStoreDb, startEventStoreDbCluster } from '../support/eventstoredb/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { type EventStoreEngine, eventStoreContract } from './event-store.contract.ts'

const onEngine = (server: { readonly url: string; stop(): Promise<void> }): EventStoreEngine => ({
  open: ({ dayStreamMaxAgeSeconds }) => createEventStoreDbStore({ url: server.url, dayStreamMaxAgeSeconds, log: silentLog }),
  drop: () => server.stop(),
})
if (realServer === null) {
  eventStoreContract("EventStoreDB's double", async () => onEngine(await startEventStoreDb()))
  eventStoreContract("EventStoreDB's double as a cluster of three", async () => onEngine(await startEventStoreDbCluster()))
} else eventStoreContract('EventStoreDB', async () => onEngine({ url: realServer!.url, stop: async () => {} }))

/** Defines a test that needs a second server, or a fault that only the double can simulate. */
const itOnDouble = (realServer === null ? it : it.skip) as Mocha.TestFunction

const everyFamily: readonly Family[] = ['tenant', 'key', 'webhook', 'routing', 'attempts']

describe('the event store on EventStoreDB, beyond the contract', () => {
  let server: StoreServer
  /** The server, if it is the double. */
  const double = () => server as EventStoreDbProcess
  let store: EventStore
  const openStores: EventStore[] = []
  /** A real server has events of earlier tests. Subscriptions begin after them. */
  let before: Checkpoint | null
  const open = async (options: Partial<EventStoreDbOptions> = {}) => {
    const newStore = await createEventStoreDbStore({ url: server.url, dayStreamMaxAgeSeconds: 3_600, log: silentLog, ...options })
    openStores.push(newStore)
    return newStore
  }
  beforeEach(async () => {
    server = await startStoreServer({ isEmpty: false })
    store = await open()
    before = await store.head(everyFamily)
  })
  afterEach(async () => {
    await Promise.all(openStores.splice(0).map((each) => each.close()))
    await server.stop()
  })
  const idsOf = (events: readonly NewEvent[]) => events.map((event) => event.id)
  const reader = () => openStores.at(-1) ?? store
  const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)
  const appendCalls = async () => {
    const { append, batchAppend } = await double().calls()
    return append + batchAppend
  }
  const appendsDuring = async (work: () => Promise<unknown>) => {
    const before = await appendCalls()
    await work()
    return (await appendCalls()) - before
  }

  describe('opening', () => {
    it('fails when there is no server', async () => {
      await server.kill()
      expect(await errorOf(open())).to.be.instanceOf(StoreUnavailable)
    })
    it('fails when a connection with TLS names no user, and says how to name one', async () => {
      const error = await errorOf(open({ url: 'esdb://localhost:2113' }))
      expect(error).to.have.property('message').that.includes('user:password@')
    })
    it('fails for an invalid connection string, without showing its password', async () => {
      for (const url of [
        'esdb://user:secret@host:no-port?tls=false',
        'http://user:secret@host',
        'esdb://user:secret@host?tlsCAFile=/nowhere',
      ]) {
        const error = await errorOf(open({ url }))
        expect(error).to.have.property('message').that.includes('esdb://user:password@')
        expect(inspect(error, { depth: 9 })).to.not.include('secret')
      }
    })
    itOnDouble('fails when the user may not read $all, and says so', async () => {
      await double().fail({ denyAll: true })
      const error = await errorOf(open())
      expect(error).to.be.instanceOf(StoreUnavailable).and.to.have.property('message').that.includes('$admins')
    })
    itOnDouble('gives each engine its own identity, which survives a restart', async () => {
      await server.restart()
      expect((await open()).identity).to.equal(store.identity)
      const other = await startEventStoreDb()
      expect((await open({ url: other.url })).identity).to.not.equal(store.identity)
      await openStores.pop()?.close()
      await other.stop()
    })
    itOnDouble('returns one identity when many processes start for the first time at once', async () => {
      const emptyServer = await startEventStoreDb()
      const stores = await Promise.all(upTo(8).map(() => open({ url: emptyServer.url })))
      expect(new Set(stores.map((each) => each.identity)).size).to.equal(1)
      await Promise.all(openStores.splice(-8).map((each) => each.close()))
      await emptyServer.stop()
    })
  })

  describe('appends to one day stream', () => {
    itOnDouble('are merged, and each gets its own revision', async () => {
      const stream = anAttempts()
      await store.append(stream, someEvents(1), 'any')
      const lists = upTo(100).map((i) => someEvents(1 + (i % 3)))
      const live = collect(store, { after: before, families: ['attempts'], until: (events) => events.length === 200 })
      let results: Awaited<ReturnType<EventStore['append']>>[] = []
      const appends = await appendsDuring(async () => {
        results = await Promise.all(lists.map((events) => store.append(stream, events, 'any')))
      })
      expect(appends).to.be.at.most(4)
      const stored = await store.read(stream)
      lists.forEach((events, i) => {
        const ownEvent = stored.find((event) => event.id === events.at(-1)?.id)
        expect(results[i]?.revision).to.equal(ownEvent?.revision)
        expect((results[i]?.position ?? '') >= (ownEvent?.position ?? '?')).to.equal(true)
      })
      expect((await live).events.map((event) => event.revision)).to.deep.equal(upTo(200))
    })
    it('are divided below the limit of one append', async () => {
      const stream = anAttempts()
      const big = () => [anEvent({ data: { text: 'x'.repeat(300_000) } })]
      await Promise.all(upTo(12).map(() => store.append(stream, big(), 'any')))
      expect(await store.read(stream)).to.have.length(12)
    })
    it('are sent separately when some of them are stored, so that each gets its own result', async () => {
      const stream = anAttempts()
      const [stored, other] = [someEvents(2), someEvents(1)]
      const first = await store.append(stream, stored, 'any')
      const [repeatResult, mixedResult, newResult] = await Promise.allSettled([
        store.append(stream, stored, 'any'),
        store.append(stream, [stored[0]!, anEvent()], 'any'),
        store.append(stream, other, 'any'),
      ])
      expect(repeatResult).to.have.property('value').that.deep.equals(first)
      expect(mixedResult).to.have.property('reason').that.is.instanceOf(RevisionConflict)
      expect(newResult).to.have.property('value').that.includes({ revision: 2 })
      expect((await store.read(stream)).map((event) => event.id)).to.deep.equal([...stored, ...other].map((event) => event.id))
    })
    it('get the first results again when they repeat appends of long ago', async () => {
      const stream = anAttempts()
      const lists = upTo(4).map((i) => someEvents(i + 1))
      const results: unknown[] = []
      for (const events of lists) results.push(await store.append(stream, events, 'any'))
      const another = await open()
      const pick = [3, 0, 2]
      const repeated = await Promise.all(pick.map((i) => another.append(stream, lists[i]!, 'any')))
      expect(repeated).to.deep.equal(pick.map((i) => results[i]))
      expect(await store.read(stream)).to.have.length(10)
    })
    it('are stored once when two concurrent ones have the same ids', async () => {
      const stream = anAttempts()
      const events = someEvents(2)
      const [firstAppend, secondAppend] = await Promise.all([store.append(stream, events, 'any'), store.append(stream, events, 'any')])
      expect(secondAppend).to.deep.equal(firstAppend)
      expect(await store.read(stream)).to.have.length(2)
    })
  })

  it('gives a day stream its age limit before its first event, and a command stream none', async () => {
    const client = EventStoreDBClient.connectionString(server.url)
    const [day, routing, command] = [anAttempts(), aRouting(), aWebhook()]
    await Promise.all([
      ...upTo(10).map(() => store.append(day, someEvents(1), 'any', { patient: true })),
      store.append(routing, someEvents(1), 'none'),
      store.append(command, someEvents(1), 'none'),
    ])
    for (const stream of [day, routing]) {
      const { metadata } = await client.getStreamMetadata(stream)
      expect(metadata).to.deep.equal({ maxAge: 3_600 })
      for await (const { event } of client.readStream(`$$${stream}`))
        expect(Number(event?.position?.commit)).to.be.lessThan(Number((await store.read(stream))[0]?.position))
    }
    expect((await client.getStreamMetadata(command)).metadata).to.equal(undefined)
    await client.dispose()
  })

  it('does not make a command wait for many appends to day streams', async () => {
    let finished = 0
    await server.slow(100)
    const days = Promise.all(
      upTo(300).map(async () => {
        await store.append(anAttempts(), someEvents(1), 'any')
        finished++
      }),
    )
    await waitFor(() => finished > 0, { what: 'the first append to end' })
    await store.append(aWebhook(), someEvents(1), 'none')
    expect(finished).to.be.lessThan(300)
    await server.slow(0)
    await days
  })

  describe('an engine that fails', () => {
    itOnDouble('gets the same call again, so that callers do not notice one or two failures', async () => {
      const stream = aTenant()
      await double().fail({ failNext: 2 })
      expect((await store.append(stream, someEvents(1), 'none')).revision).to.equal(0)
      await double().fail({ failNext: 2 })
      expect(await store.read(stream)).to.have.length(1)
    })
    itOnDouble('makes every call fail as unavailable in the end, with the cause', async () => {
      await double().fail({ failNext: 1_000 })
      for (const call of [
        () => store.append(aTenant(), someEvents(1), 'none'),
        () => store.append(anAttempts(), someEvents(1), 'any'),
        () => store.read(aTenant()),
        () => store.head(everyFamily),
      ]) {
        const error = await errorOf(call())
        expect(error).to.be.instanceOf(StoreUnavailable).and.to.have.property('cause').that.is.instanceOf(Error)
      }
    })
    itOnDouble('has stored an append once when its response is lost, and the same call returns the result', async () => {
      const hasty = await open({ appendTimeoutMs: 3_000 })
      for (const [stream, expected] of [
        [aTenant(), 0],
        [aWebhook(), 'any'],
        [aWebhook(), 'some'],
        [anAttempts(), 'any'],
      ] as const) {
        const first = someEvents(1)
        await hasty.append(stream, first, 'none')
        const events = someEvents(2)
        await double().fail({ loseNext: 1 })
        expect((await hasty.append(stream, events, expected)).revision).to.equal(2)
        expect((await hasty.append(stream, events, expected)).revision).to.equal(2)
        expect(idsOf(await store.read(stream))).to.deep.equal(idsOf([...first, ...events]))
      }
    })
    itOnDouble('has stored an append once when its response comes too late, also after other appends', async () => {
      const hasty = await open({ appendTimeoutMs: 3_000 })
      const stream = anAttempts()
      await hasty.append(stream, someEvents(1), 'any')
      const lists = upTo(5).map(() => someEvents(2))
      await double().fail({ lateNext: 5, lateMs: 4_000 })
      const results = await Promise.all(lists.map((events) => hasty.append(stream, events, 'any')))
      const stored = await store.read(stream)
      expect(stored).to.have.length(11)
      for (const [i, events] of lists.entries())
        expect(stored.find((event) => event.id === events.at(-1)?.id)?.revision).to.equal(results[i]?.revision)
    })
    itOnDouble('has stored an append once when it was killed before its response and has forgotten the ids', async () => {
      const stream = anAttempts()
      await store.append(stream, someEvents(3), 'any')
      const events = someEvents(2)
      await double().fail({ loseNext: 1 })
      const appending = store.append(stream, events, 'any')
      await waitFor(async () => (await reader().read(stream)).length === 5)
      await server.kill()
      await server.restart()
      expect((await appending).revision).to.equal(4)
      expect(idsOf(await store.read(stream)).slice(3)).to.deep.equal(idsOf(events))
    })
    it('has stored an append once when its process died and another process repeats it with `since`', async () => {
      const stream = anAttempts()
      const since = new Date().toISOString()
      const [events, otherEvents] = [someEvents(2), someEvents(1)]
      await store.append(stream, events, 'any')
      await server.restart() // a restarted server has forgotten the ids
      const next = await open()
      const results = await Promise.all([
        next.append(stream, events, 'any', { since }),
        next.append(stream, otherEvents, 'any', { since }),
        next.append(stream, someEvents(1), 'any'),
      ])
      expect(results[0].revision).to.equal(1)
      expect(idsOf(await store.read(stream)).filter((id) => idsOf(events).includes(id))).to.deep.equal(idsOf(events))
      expect(await store.read(stream)).to.have.length(4)
    })
    it('does not end a subscription when connections are cut, and the subscription continues from its checkpoint', async () => {
      const stream = aWebhook()
      const subscriber = await open()
      const live = collect(subscriber, { after: before, families: everyFamily, until: (events) => events.length === 400, batch: 7 })
      for (let i = 0; i < 8; i++) {
        await store.append(stream, someEvents(50), 'any')
        await server.drop()
      }
      expect((await live).events.map((event) => event.revision)).to.deep.equal(upTo(400))
    })
    it('does not end a subscription when it is stopped normally or is unavailable for some seconds', async () => {
      const stream = aWebhook()
      const batches: Checkpoint[] = []
      const live = collect(store, {
        after: before,
        families: ['webhook'],
        until: (events) => events.length === 30,
        onBatch: (_, checkpoint) => batches.push(checkpoint),
      })
      await store.append(stream, someEvents(10), 'any')
      await server.restart()
      await untilDone(() => store.append(stream, someEvents(10), 9), { onError() {} })
      await server.kill()
      await errorOf(store.read(stream))
      await server.restart()
      await untilDone(() => store.append(stream, someEvents(10), 19), { onError() {} })
      expect((await live).events.map((event) => event.revision)).to.deep.equal(upTo(30))
      expect(batches).to.deep.equal([...new Set(batches)].sort())
    })
    it('loses and repeats no event of many writers when it is killed', async () => {
      const streams = [aTenant(), aWebhook(), anAttempts(), anAttempts(), aRouting()]
      const writers = [store, await open({ appendTimeoutMs: 2_000 }), await open()]
      const appended = new Map<StreamName, NewEvent[]>(streams.map((stream) => [stream, []]))
      let done = 0
      let failures = 0
      const live = collect(writers[1]!, { after: before, families: everyFamily, until: (events) => events.length === 1_500 })
      const writing = Promise.all(
        upTo(30).map(async (n) => {
          for (let i = 0; i < 25; i++) {
            const stream = streams[(n + i) % streams.length]!
            const events = someEvents(2)
            await untilDone(() => writers[n % 3]!.append(stream, events, 'any', { patient: i % 2 === 0 }), { onError: () => failures++ })
            appended.get(stream)?.push(...events)
            done++
          }
        }),
      )
      for (const share of [200, 450]) {
        await waitFor(() => done >= share, { what: `${share} appends` })
        await server.kill()
        await waitFor(() => failures > 0, { what: 'the writers to notice' })
        failures = 0
        await server.restart()
      }
      await writing
      for (const [stream, events] of appended) {
        const ids = (await store.read(stream)).map((event) => event.id)
        expect(new Set(ids).size).to.equal(ids.length)
        expect([...ids].sort()).to.deep.equal(events.map((event) => event.id).sort())
      }
      const { events } = await live
      for (const stream of streams) {
        const revisions = events.filter((event) => event.stream === stream).map((event) => event.revision)
        expect(revisions).to.deep.equal(upTo(appended.get(stream)?.length ?? 0))
      }
    })
  })

  it('closes even if readers stopped before all of their events had arrived', async () => {
    const stream = aWebhook()
    for (let i = 0; i < 10; i++)
      await store.append(
        stream,
        Array.from({ length: 25 }, () => anEvent({ data: { text: 'x'.repeat(20_000) } })),
        'any',
      )
    const hasty = await open({ appendTimeoutMs: 1_500 })
    const reads = await Promise.allSettled(upTo(150).map(() => hasty.read(stream))) // these are 750 MB, and each try reads for 0.5 s
    expect(reads.map(({ status }) => status)).to.include('rejected')
    await hasty.close()
  })

  describe('the head', () => {
    it('is reached by a live subscription of a family without new events', async () => {
      let reached = ''
      const stop = new AbortController()
      const live = (async () => {
        for await (const { events, checkpoint } of store.subscribe({ families: ['key'], after: null, signal: stop.signal })) {
          expect(events).to.deep.equal([])
          reached = checkpoint
        }
      })()
      await waitFor(() => reached !== '', { what: 'the subscription to be live' })
      // The server reports no progress for so few events.
      await store.append(anAttempts(), someEvents(20), 'any')
      const head = (await store.head(['key'])) ?? '?'
      await waitFor(() => reached >= head, { what: 'the head' })
      stop.abort()
      await live
    })
    it('is reached while other writers continue', async () => {
      const attempts = anAttempts()
      for (let i = 0; i < 3; i++) await store.append(attempts, someEvents(150), 'any')
      let isOver = false
      const traffic = (async () => {
        while (!isOver) await store.append(attempts, someEvents(20), 'any')
      })()
      for (const families of [['key'], ['attempts'], everyFamily] as const) {
        const head = (await store.head(families)) ?? ''
        const { events } = await collect(store, { after: before, families, until: (_, checkpoint) => checkpoint >= head })
        expect(events.length >= 450).to.equal(families[0] !== 'key')
      }
      isOver = true
      await traffic
    })
    itOnDouble('costs one append for all concurrent calls', async () => {
      expect(await appendsDuring(() => Promise.all(upTo(200).map(() => store.head(everyFamily))))).to.be.at.most(2)
    })
    it('leaves only one marker in the store after any number of calls', async () => {
      const client = EventStoreDBClient.connectionString(server.url)
      for (let i = 0; i < 5; i++) await store.head(everyFamily)
      let markers = 0
      for await (const _ of client.readStream('kolbak-head')) markers++
      expect(markers).to.equal(1)
      await client.dispose()
    })
  })

  itOnDouble('reads new events once for all subscriptions of the same kind of streams', async () => {
    const stream = anAttempts()
    const streams = [stream]
    const follow = () => collect(store, { after: before, families: ['attempts'], streams, until: (events) => events.length === 300 })
    const live = Promise.all([follow(), follow(), follow()])
    for (let i = 0; i < 30; i++) await store.append(stream, someEvents(10), 'any')
    const results = await live
    for (const { events } of results) expect(events.map((event) => event.revision)).to.deep.equal(upTo(300))
    expect(results[1]!.events).to.deep.equal(await store.read(stream))
    const { subscribe } = await double().calls()
    expect(subscribe).to.be.at.most(4) // each may read alone until it has reached the shared one
  })
  it('yields checkpoints in order, each once', async () => {
    const attempts = anAttempts()
    const seen: Checkpoint[] = []
    const live = collect(store, {
      after: before,
      families: ['attempts'],
      batch: 1,
      until: (events) => events.length === 1_200,
      onBatch: (_, checkpoint) => seen.push(checkpoint),
    })
    for (let i = 0; i < 12; i++) await store.append(attempts, someEvents(100), 'any')
    expect((await live).events.map((event) => event.revision)).to.deep.equal(upTo(1_200))
    expect(seen).to.deep.equal([...new Set(seen)].sort())
  })
  it('keeps the age limit of a stream', async () => {
    const client = EventStoreDBClient.connectionString(server.url)
    const day = anAttempts()
    await store.append(day, someEvents(1), 'any')
    await (await open({ dayStreamMaxAgeSeconds: 60 })).append(day, someEvents(1), 'any')
    expect((await client.getStreamMetadata(day)).metadata).to.deep.equal({ maxAge: 3_600 })
    await client.dispose()
  })

  it('is reported to a subscription while no event passes its filter', async () => {
    const attempts = anAttempts()
    const stop = new AbortController()
    const checkpoints: Checkpoint[] = []
    const reading = (async () => {
      for await (const { events, checkpoint } of store.subscribe({
        families: ['key'],
        after: await store.head(['key']),
        signal: stop.signal,
      })) {
        expect(events).to.deep.equal([])
        checkpoints.push(checkpoint)
      }
    })()
    for (let i = 0; i < 4; i++) await store.append(attempts, someEvents(400), 'any')
    await waitFor(() => checkpoints.length >= 2, { what: 'checkpoints' })
    stop.abort()
    await reading
  })
})
