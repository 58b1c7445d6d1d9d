import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import fc from 'fast-check'
import pg, { type QueryConfig, type QueryResultRow } from 'pg'
import { advisoryLocks } from '../../src/adapters/postgres/advisory-locks.ts'
import { createPostgresEventStore, type PostgresEventStoreOptions } from '../../src/adapters/postgres/event-store.ts'
import { encodeAppend } from '../../src/adapters/postgres/event-store-append.ts'
import { createDayAppends } from '../../src/adapters/postgres/event-store-day-appends.ts'
import { createAsk } from '../../src/adapters/postgres/event-store-query.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import type { Checkpoint, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId, WebhookId } from '../../src/events/ids.ts'
import { attemptsStream, type Family, type StreamName } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { EventRefused, type ExpectedRevision, RevisionConflict, StoreUnavailable } from '../../src/ports/event-store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { anAttempts, anEvent, anId, aRouting, aTenant, aWebhook, collect, errorOf, someEvents } from '../support/event-store-events.ts'
import type { WriterMessage } from '../support/event-store-writer.ts'
import { waitFor } from '../support/wait-for.ts'
import { eventStoreContract } from './event-store.contract.ts'

const monthSeconds = 30 * 86_400
const everyFamily: readonly Family[] = ['tenant', 'key', 'webhook', 'routing', 'attempts']
const dayFamilies: readonly Family[] = ['routing', 'attempts']
const storeOn = (pool: pg.Pool, options: Partial<PostgresEventStoreOptions> = {}) =>
  createPostgresEventStore({ pool, log: silentLog, identity: 'postgres-test', dayStreamMaxAgeSeconds: monthSeconds, ...options })

eventStoreContract('Postgres', async () => {
  const { pool, drop } = await freshDatabase()
  return { open: ({ dayStreamMaxAgeSeconds }) => storeOn(pool, { dayStreamMaxAgeSeconds }), drop }
})

describe('the event store on Postgres, beyond the contract', () => {
  let database: TestDatabase
  let store: ReturnType<typeof storeOn>
  beforeEach(async () => {
    database = await freshDatabase()
    store = storeOn(database.pool)
  })
  afterEach(async () => {
    await store.close()
    await database.drop()
  })
  const webhook = '01JDXXXXXXXXXXXXXXXXXXXXXX' as WebhookId
  const attemptsOn = (day: string): StreamName => attemptsStream(webhook, `${day}T12:00:00.000Z`)
  const idsAfter = async (after: Checkpoint | null, families = everyFamily, batch = 500) => {
    const head = await store.head(families)
    if (head === null || (after !== null && after >= head)) return []
    const { events } = await collect(store, { families, after, batch, until: (_, checkpoint) => checkpoint >= head })
    return events.map((event) => event.id)
  }

  describe('ids', () => {
    it('are unique in all command streams: an id that another stream uses is refused', async () => {
      const [webhookStream, tenantStream] = [aWebhook(), aTenant()]
      const [usedEvent] = someEvents(1) as [NewEvent]
      await store.append(tenantStream, [usedEvent], 'none')
      for (const events of [[usedEvent], [anEvent(), usedEvent]])
        expect(await errorOf(store.append(webhookStream, events, 'any'))).to.be.instanceOf(EventRefused)
      expect(await store.read(webhookStream)).to.deep.equal([])
    })
    it('are unique in all streams of a day, and may be used again on another day', async () => {
      const [usedEvent] = someEvents(1) as [NewEvent]
      await store.append(attemptsOn('2026-11-20'), [usedEvent], 'none')
      const error = await errorOf(store.append(aRouting('2026-11-20T23:59:59.999Z'), [usedEvent], 'none'))
      expect(error).to.be.instanceOf(EventRefused)
      expect((await store.append(attemptsOn('2026-11-21'), [usedEvent], 'none')).revision).to.equal(0)
    })
    it('are refused when one append has an id twice; names that Postgres would change are refused too', async () => {
      const event = anEvent()
      for (const events of [
        [event, event],
        [anEvent({ type: 'A\u001eB' })],
        [anEvent({ type: 'A\ud800' })],
        [anEvent({ type: 'A\u0000' })],
      ])
        expect(await errorOf(store.append(aWebhook(), events, 'any'))).to.be.instanceOf(EventRefused)
      expect(await errorOf(store.append('attempts-x-2026', [anEvent()], 'any'))).to.be.instanceOf(EventRefused)
    })
  })

  it('yields the appends of this process as they are stored, and for a repeat the first events', async () => {
    const other = storeOn(database.pool)
    const stream = anAttempts()
    const live = collect(store, { families: dayFamilies, after: null, until: (events) => events.length === 60 })
    for (let i = 0; i < 20; i++) {
      await store.append(stream, someEvents(2), 'any')
      const [first] = someEvents(1) as [NewEvent]
      await other.append(stream, [first], 'any')
      await store.append(stream, [{ ...first, data: { number: -1 } }], 'any')
    }
    expect((await live).events).to.deep.equal(await store.read(stream))
    await other.close()
  })

  describe('a group', () => {
    it('is one commit for any number of appends', async () => {
      await store.append(anAttempts(), someEvents(1), 'any') // this append creates the partition of the day
      await Promise.all(
        Array.from({ length: 400 }, (_, i) => store.append(i % 2 ? aWebhook() : anAttempts(), someEvents(1), 'any', { patient: true })),
      )
      const { rows } = await database.pool.query<{ commits: number }>(
        `select count(distinct xmin::text)::integer as commits
         from (select xmin from command_events union all select xmin from day_events) all_events`,
      )
      expect(rows[0]?.commits).to.be.at.most(4)
    })
    it('lets each append see the appends before it', async () => {
      for (const stream of [aWebhook(), anAttempts()]) {
        const appends = (['none', 0, 1, 1, 'some', 3] as const).map((expected) => store.append(stream, someEvents(1), expected))
        const results = await Promise.allSettled(appends)
        expect(results.map((result) => (result.status === 'fulfilled' ? result.value.revision : result.reason.actual))).to.deep.equal([
          0, 1, 2, 2, 3, 4,
        ])
        expect(results[3]).to.have.property('reason').that.is.instanceOf(RevisionConflict)
      }
    })
    it('gives every append the result that the rules of the port define, even for repeated, reordered or unknown ids', async () => {
      // The oracle is a simple implementation of the rules of the port. It handles one append after another, and a stream is a list of ids.
      const oracle = () => {
        const streams = new Map<StreamName, EventId[]>()
        return (stream: StreamName, ids: EventId[], expected: ExpectedRevision): string => {
          const past = streams.get(stream) ?? []
          const head = past.length - 1
          const conflict = `conflict, ${head}`
          const indexes = ids.map((id) => past.indexOf(id))
          const number = expected === 'none' ? -1 : expected
          if (typeof number === 'number' && number < head)
            return indexes.every((place, i) => place === number + 1 + i) ? `revision ${number + ids.length}` : conflict
          if (expected === 'some' ? head < 0 : typeof number === 'number' && number > head) return conflict
          if (indexes[0]! >= 0) return indexes.every((place) => place >= 0) ? `revision ${indexes.at(-1)}` : conflict
          const isElsewhere = ids.some((id) => [...streams.values()].some((otherIds) => otherIds.includes(id)))
          if (isElsewhere) return 'refused'
          streams.set(stream, [...past, ...ids])
          return `revision ${head + ids.length}`
        }
      }
      const outcomeOf = (result: PromiseSettledResult<{ revision: number }>): string => {
        if (result.status === 'fulfilled') return `revision ${result.value.revision}`
        if (result.reason instanceof RevisionConflict) return `conflict, ${result.reason.actual}`
        if (result.reason instanceof EventRefused) return 'refused'
        throw result.reason
      }
      const append = fc.record({
        stream: fc.nat(2),
        // Appends are slices of a few ids, so that repeats, overlaps, gaps and other orders occur.
        ids: fc.oneof(
          fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 3 })).map(([from, count]) => Array.from({ length: count }, (_, i) => from + i)),
          fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 3 }),
        ),
        expected: fc.constantFrom<ExpectedRevision[]>('none', 'some', 'any', 'any', 0, 1, 2, 3),
      })
      await fc.assert(
        fc.asyncProperty(
          fc.boolean(),
          fc.array(fc.array(append, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }),
          async (isDay, groups) => {
            const streams = [1, 2, 3].map(() => (isDay ? anAttempts() : aWebhook()))
            const ids = Array.from({ length: 13 }, anId)
            const expectedOutcome = oracle()
            for (const group of groups) {
              const results = await Promise.allSettled(
                group.map(({ stream, ids: chosen, expected }) =>
                  store.append(
                    streams[stream]!,
                    chosen.map((n) => anEvent({ id: ids[n]! })),
                    expected,
                  ),
                ),
              )
              const outcomes = group.map(({ stream, ids: chosen, expected }) =>
                expectedOutcome(
                  streams[stream]!,
                  chosen.map((n) => ids[n]!),
                  expected,
                ),
              )
              expect(results.map(outcomeOf)).to.deep.equal(outcomes)
            }
          },
        ),
        { numRuns: 150 },
      )
    })
  })

  describe('remembered revisions', () => {
    it('let an append read nothing once its stream is remembered', async () => {
      const [stream, events] = [anAttempts(), someEvents(4) as [NewEvent, ...NewEvent[]]]
      await store.append(stream, [events[0]], 'any') // this append creates the partition of the day
      const statements: (string | undefined)[] = []
      const ask = createAsk(database.pool, 10_000)
      const appends = createDayAppends((query) => {
        statements.push(query.name)
        return ask(query)
      })
      for (const [i, event] of events.slice(1).entries()) {
        const [outcome] = await appends([encodeAppend(stream, [event], 'any')])
        expect(outcome).to.include({ kind: 'appended', revision: i + 1, isRepeat: false })
      }
      expect(statements).to.deep.equal(['event-store-day-heads', ...Array<string>(3).fill('event-store-append-at-revisions')])
    })
    it('are corrected when another process has appended, or an id is stored', async () => {
      const other = storeOn(database.pool)
      const [first, second] = [anAttempts(), anAttempts()]
      const stored = someEvents(2)
      expect((await store.append(first, stored, 'any')).revision).to.equal(1)
      expect((await other.append(first, someEvents(1), 'any')).revision).to.equal(2)
      const appended = await Promise.all([store.append(first, someEvents(2), 'any'), store.append(second, someEvents(1), 'any')])
      expect(appended.map(({ revision }) => revision)).to.deep.equal([4, 0])
      const later = storeOn(database.pool)
      expect((await later.append(second, someEvents(1), 'any')).revision).to.equal(1)
      expect((await later.append(first, stored, 'any')).revision).to.equal(1)
      for (const [stream, length] of [
        [first, 5],
        [second, 2],
      ] as const)
        expect((await store.read(stream)).map((event) => event.revision)).to.deep.equal(Array.from({ length }, (_, i) => i))
      await Promise.all([other.close(), later.close()])
    })
    it('are read again when they are forgotten between two appends of one group', async () => {
      const remembered = 50_000
      const heads = new Map<string, number>()
      const statements: string[] = []
      const appends = createDayAppends(async <R extends QueryResultRow>({ name, values }: QueryConfig) => {
        const names = String(values![name === 'event-store-day-heads' ? 0 : 1]).split('\u001e')
        statements.push(`${name} ${names.length}`)
        if (name === 'event-store-day-heads') return [{ started: 'once', heads: names.map((of) => heads.get(of) ?? -1) }] as unknown as R[]
        const revisions = String(values![4]).slice(1, -1).split(',').map(Number)
        names.forEach((of, i) => {
          expect(revisions[i]).to.equal((heads.get(of) ?? -1) + 1)
          heads.set(of, revisions[i]!)
        })
        return [{ first: 1n }] as unknown as R[]
      })
      const stream = (i: number) =>
        encodeAppend(attemptsStream(`01JD${String(i).padStart(22, '0')}` as WebhookId, '2026-11-20T00:00:00.000Z'), someEvents(1), 'any')
      for (let i = 0; i < remembered; i += 500) await appends(Array.from({ length: 500 }, (_, k) => stream(i + k)))
      await appends([stream(0), ...Array.from({ length: 5 }, (_, k) => stream(remembered + k))])
      expect(statements.slice(-2)).to.deep.equal(['event-store-day-heads 5', 'event-store-append-at-revisions 6'])
    })
    it('are valid until the server restarts, because a restarted server may have an older state', async () => {
      const error = await errorOf(
        database.pool.query(
          `select append_at_revisions('yesterday', 'attempts-x-2026-11-20', '{2026-11-20}', '{1}', '{7}', '{${anId()}}', 'T', '{}', '{}')`,
        ),
      )
      expect(error).to.be.instanceOf(pg.DatabaseError).and.to.include({ code: '55000' })
      expect(await store.head(everyFamily)).to.equal(null)
    })
  })

  describe('days', () => {
    const partitions = async () => {
      const { rows } = await database.pool.query<{ name: string }>(
        `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'day_events'::regclass order by 1`,
      )
      return rows.map((row) => row.name)
    }
    it('are vacuumed but not analysed automatically, because no plan depends on their statistics', async () => {
      await store.append(attemptsOn('2026-11-20'), someEvents(1), 'any')
      const { rows } = await database.pool.query<{ settings: string[] }>(
        `select reloptions as settings from pg_class where relname = 'day_events_20261120'`,
      )
      expect(rows).to.deep.equal([{ settings: ['autovacuum_analyze_threshold=2147483647'] }])
    })
    it('are found by a reader at any position, also when they have few events', async () => {
      // Between two events of the rare days there are more positions than one mark covers (8,192).
      const rare = ['2026-10-01', '2026-11-19']
      const rareIds: EventId[] = []
      const checkpoints: Checkpoint[] = []
      const append = async (day: string, count: number) => {
        const events = someEvents(count)
        checkpoints.push((await store.append(attemptsOn(day), events, 'any')).position)
        rareIds.push(...events.map((event) => event.id))
      }
      for (const day of rare) await append(day, 1)
      for (let i = 0; i < 9; i++) await append('2026-11-20', 1_000)
      for (const day of rare) await append(day, 2)
      await append('2026-11-20', 500)
      await append(rare[0]!, 1)
      for (const checkpoint of checkpoints) {
        const last = (await idsAfter(checkpoint, dayFamilies, 5_000)).length
        expect(await idsAfter(checkpoint, dayFamilies, 5_000)).to.deep.equal(rareIds.slice(rareIds.length - last))
        const { rows } = await database.pool.query<{ n: number }>('select count(*)::integer as n from day_events where position > $1', [
          checkpoint,
        ])
        expect(last).to.equal(rows[0]?.n)
      }
    })
    it('are dropped when they are old and every reader has passed them', async () => {
      const old = await store.append(attemptsOn('2026-10-01'), someEvents(2), 'any')
      const later = await store.append(attemptsOn('2026-10-02'), someEvents(2), 'any')
      const keptEvents = someEvents(2)
      await store.append(attemptsOn('2026-11-20'), keptEvents, 'any')
      await waitFor(async () => (await partitions()).includes('day_events_20261121'))
      expect(await store.dropDaysBefore('2026-10-01', later.position)).to.deep.equal([])
      expect(await store.dropDaysBefore('2026-11-01', old.position)).to.deep.equal(['day_events_20261001', 'day_events_20261003'])
      expect(await store.dropDaysBefore('2026-11-01', later.position)).to.deep.equal(['day_events_20261002'])
      expect(await partitions()).to.deep.equal(['day_events_20261120', 'day_events_20261121'])
      expect(await store.read(attemptsOn('2026-10-01'))).to.deep.equal([])
      expect(await idsAfter(null, dayFamilies)).to.deep.equal(keptEvents.map((event) => event.id))
      const { rows } = await database.pool.query<{ day: string }>('select day::text from day_event_marks')
      expect(rows).to.deep.equal([{ day: '2026-11-20' }])
    })
    it('stay while they hold the newest event, so that the head never goes back', async () => {
      const { position } = await store.append(attemptsOn('2026-10-01'), someEvents(1), 'any')
      expect(await store.dropDaysBefore('2026-11-01', position)).to.not.include('day_events_20261001')
      expect(await store.head(dayFamilies)).to.equal(position)
    })
    it('stay while a reader uses them, and no other call waits for the reader', async () => {
      await store.append(attemptsOn('2026-10-01'), someEvents(1), 'any')
      const { position } = await store.append(attemptsOn('2026-11-20'), someEvents(1), 'any')
      const backup = await database.pool.connect()
      await backup.query('begin isolation level repeatable read')
      await backup.query('select count(*) from day_events_20261001')
      expect(await store.dropDaysBefore('2026-11-01', position)).to.not.include('day_events_20261001')
      await backup.query('commit')
      backup.release()
      expect(await store.dropDaysBefore('2026-11-01', position)).to.include('day_events_20261001')
    })
    it('are made again for an append after another process has dropped them', async () => {
      await store.append(attemptsOn('2026-10-01'), someEvents(1), 'any')
      const { position } = await store.append(attemptsOn('2026-11-20'), someEvents(1), 'any')
      const other = storeOn(database.pool)
      await other.dropDaysBefore('2026-11-01', position)
      await other.close()
      const events = someEvents(2)
      expect((await store.append(attemptsOn('2026-10-01'), events, 'any')).revision).to.equal(1)
      expect(await idsAfter(position, dayFamilies)).to.deep.equal(events.map((event) => event.id))
    })
  })

  describe('an engine that fails', () => {
    it('makes an append fail as unavailable when it does not respond in time, and stores its repeat once', async () => {
      const hasty = storeOn(database.pool, { statementTimeoutMs: 2_000 })
      const stream = aWebhook()
      const events = someEvents(2)
      const holder = await database.pool.connect()
      await holder.query(`begin; select pg_advisory_xact_lock(${advisoryLocks.eventLog})`)
      const error = await errorOf(hasty.append(stream, events, 'none'))
      expect(error).to.be.instanceOf(StoreUnavailable).and.to.include({ code: 'store_unavailable' })
      await holder.query('rollback')
      holder.release()
      expect((await hasty.append(stream, events, 'none')).revision).to.equal(1)
      expect(await hasty.read(stream)).to.have.length(2)
      await hasty.close()
    })
    it('makes every call fail as unavailable when it is gone', async () => {
      const pool = new pg.Pool({ host: '127.0.0.1', port: 1 })
      const nowhere = storeOn(pool)
      for (const call of [
        () => nowhere.append(aWebhook(), someEvents(1), 'any'),
        () => nowhere.append(anAttempts(), someEvents(1), 'any'),
        () => nowhere.read(aTenant()),
        () => nowhere.head(everyFamily),
      ])
        expect(await errorOf(call())).to.be.instanceOf(StoreUnavailable)
      await nowhere.close()
      await pool.end()
    })
    it('does not end a subscription, which continues from its checkpoint', async () => {
      const pool = createPool({ url: database.url, name: 'subscriber', max: 2, log: silentLog })
      const subscriber = storeOn(pool)
      const stream = aWebhook()
      const live = collect(subscriber, { families: everyFamily, until: (events) => events.length === 60, batch: 7 })
      for (let i = 0; i < 6; i++) {
        await store.append(stream, someEvents(10), 'any')
        await database.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kolbak subscriber' and datname = current_database()`,
        )
      }
      const { events } = await live
      expect(events.map((event) => event.revision)).to.deep.equal(Array.from({ length: 60 }, (_, i) => i))
      await subscriber.close()
      await pool.end()
    })
    it('refuses an append under an isolation level that would miss the newest events', async () => {
      const url = new URL(database.url)
      url.searchParams.set('options', '-c default_transaction_isolation=serializable')
      const pool = new pg.Pool({ connectionString: url.href })
      pool.on('error', () => {}) // a connection of the pool may end after the database was dropped
      const strict = storeOn(pool)
      expect(await errorOf(strict.append(aWebhook(), someEvents(1), 'any'))).to.have.property('code', '25000')
      await strict.close()
      await pool.end()
    })
  })

  it('yields a batch of large events in parts of 4 MiB', async () => {
    const stream = anAttempts()
    const text = 'x'.repeat(900_000)
    for (let i = 0; i < 12; i++) await store.append(stream, [anEvent({ data: { text } })], 'any')
    const sizes: number[] = []
    const until = (events: RecordedEvent[]) => events.length === 12
    await collect(store, { families: ['attempts'], until, onBatch: (events) => sizes.push(events.length) })
    expect(sizes).to.deep.equal([5, 5, 2])
  })

  it('misses no event and yields every stream in order under 16 writers in 4 processes, one of which is killed', async () => {
    const { pool, url } = database
    const streams = [aTenant(), aWebhook(), aWebhook(), anAttempts(), anAttempts(), aRouting(), attemptsOn('2026-11-01')]

    // This snapshot works like a backup, which sees no later changes and delays every vacuum.
    const snapshot = await pool.connect()
    await snapshot.query('begin isolation level repeatable read')
    await snapshot.query('select count(*) from command_events')

    const caughtUp = { head: null as Checkpoint | null }
    const until = (_: RecordedEvent[], checkpoint: Checkpoint) => caughtUp.head !== null && checkpoint >= caughtUp.head
    const live = collect(store, { families: everyFamily, until })
    const slow = collect(store, { families: ['tenant', 'webhook', 'attempts'], batch: 20, until })

    const acked = new Set<EventId>()
    const counts = { conflicts: 0, refused: 0, victim: 0 }
    const exits: Promise<unknown>[] = []
    const writers = Array.from({ length: 4 }, (_, n): ChildProcess => {
      const writer = fork(fileURLToPath(new URL('../support/event-store-writer.ts', import.meta.url)), [url, `writer ${n}`, ...streams])
      exits.push(once(writer, 'exit'))
      writer.on('message', (message: WriterMessage) => {
        if ('acked' in message) {
          for (const id of message.acked) acked.add(id)
          if (n === 0) counts.victim++
        } else {
          counts.conflicts += message.conflicts
          counts.refused += message.refused
        }
      })
      return writer
    })
    const [victim, ...survivors] = writers as [ChildProcess, ...ChildProcess[]]
    try {
      await waitFor(() => counts.victim > 100, { what: 'the writer that is to be killed' })
      victim.kill('SIGKILL')
      const before = acked.size
      await waitFor(() => acked.size > before + 3_000, { what: 'the other writers' })
      for (const writer of survivors) writer.send('stop')
      const codes = await Promise.all(exits)
      expect(codes).to.deep.equal([
        [null, 'SIGKILL'],
        [0, null],
        [0, null],
        [0, null],
      ])
    } finally {
      for (const writer of writers) writer.kill('SIGKILL')
    }
    await waitFor(async () => {
      const { rows } = await pool.query(
        `select from pg_stat_activity where application_name = 'kolbak writer 0' and datname = current_database()`,
      )
      return rows.length === 0
    })
    caughtUp.head = await store.head(everyFamily)
    // One more event is appended for each subscription, so that a subscription at the head ends.
    for (const stream of [aTenant(), anAttempts()]) await store.append(stream, someEvents(1), 'none')
    const [{ events, checkpoint }, slowly] = await Promise.all([live, slow])
    await snapshot.query('commit')
    snapshot.release()

    const { rows: stored } = await pool.query<{ position: bigint; stream: StreamName; revision: number; id: EventId }>(
      `select position, stream, revision, id from command_events union all
       select position, stream, revision, id from day_events order by position`,
    )
    const upTo = (end: Checkpoint | null) => stored.filter((row) => row.position <= BigInt(end ?? 0))
    const seen = events.map(({ position, stream, revision, id }) => ({ position: BigInt(position), stream, revision, id }))
    expect(seen).to.deep.equal(upTo(checkpoint))
    for (const stream of streams) {
      const revisions = events.filter((event) => event.stream === stream).map((event) => event.revision)
      expect(revisions.length).to.be.greaterThan(0)
      expect(revisions).to.deep.equal(revisions.map((_, i) => i))
    }
    const ids = new Set(stored.map((row) => row.id))
    expect(ids.size).to.equal(stored.length)
    for (const id of acked) expect(ids.has(id)).to.equal(true)
    const expectedRows = upTo(slowly.checkpoint).filter((row) => !row.stream.startsWith('routing-'))
    expect(slowly.events.map((event) => event.id)).to.deep.equal(expectedRows.map((row) => row.id))
    // The test must have caused both kinds of failed appends.
    expect(counts.conflicts).to.be.greaterThan(0)
    expect(counts.refused).to.be.greaterThan(0)
  })
})
