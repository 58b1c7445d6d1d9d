import { expect } from 'chai'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type Notices, openNotices } from '../../src/lib/notices.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aWebhook, someEvents } from '../support/event-store-events.ts'
import { postgresBusMember } from '../support/message-bus.ts'
import { waitFor } from '../support/wait-for.ts'
import { message, record } from './message-bus.contract.ts'

/** A process whose notices never reach the others, and that hears none although it believes that it does. */
const lostNotices: Notices = { tellOthers() {}, tell() {}, on: () => () => {}, pollMs: 2_000 }

describe('what one process writes reaches another', () => {
  let db: TestDatabase
  const closings: (() => Promise<unknown>)[] = []
  beforeEach(async () => {
    db = await freshDatabase()
  })
  afterEach(async () => {
    for (const close of closings.splice(0).reverse()) await close()
    await db.drop()
  })
  const heardNotices = async (id: string): Promise<Notices> => {
    const pool = createPool({ url: db.url, name: 'notices', max: 2, log: silentLog })
    const notices = openNotices({ pool, id, log: silentLog, isAlone: () => false })
    closings.push(
      () => pool.end(),
      () => notices.close(),
    )
    await waitFor(() => notices.pollMs === 2_000)
    return notices
  }

  const storeWith = (notices: Notices) => {
    const pool = createPool({ url: db.url, name: 'store', max: 6, log: silentLog })
    const store = createPostgresEventStore({ pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400, notices })
    closings.push(
      () => pool.end(),
      () => store.close(),
    )
    return store
  }
  /** Appends with one store, one event after the other, and returns the milliseconds until the other store has each. */
  const delaysOfEvents = async (reader: Notices, writer: Notices, count: number): Promise<number[]> => {
    const [reading, writing] = [storeWith(reader), storeWith(writer)]
    const stop = new AbortController()
    let arrived = 0
    const running = (async () => {
      for await (const { events } of reading.subscribe({ families: ['webhook'], after: null, signal: stop.signal }))
        arrived += events.length
    })()
    const delays: number[] = []
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now()
      await writing.append(aWebhook(), someEvents(1), 'none')
      await waitFor(() => arrived > i)
      delays.push(performance.now() - startedAt)
    }
    stop.abort()
    await running
    return delays
  }
  /** Produces with a bus that owns no partition, and returns the milliseconds until another process has each record. */
  const delaysOfRecords = async (reader: Notices, writer: Notices, count: number): Promise<number[]> => {
    const reading = await postgresBusMember({ url: db.url, consumers: () => 1, notices: reader })
    const writing = await postgresBusMember({ url: db.url, consumers: () => 1, notices: writer })
    closings.push(reading.close, writing.close)
    const stop = new AbortController()
    let arrived = 0
    const running = reading.bus.consume({
      startAt: async () => 0n,
      async own(partition) {
        while (!partition.lost.aborted) {
          const records = await partition.fetch(100)
          arrived += records.length
        }
      },
      signal: stop.signal,
    })
    // The first record may be read at the start of its partition. The others must be noticed.
    for (let i = 0; i < 4; i++) await reading.bus.produce(record(message(`own-${i}`)))
    await waitFor(() => arrived === 4)
    const delays: number[] = []
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now()
      await writing.bus.produce(record(message(`m-${i}`)))
      await waitFor(() => arrived > 4 + i)
      delays.push(performance.now() - startedAt)
    }
    stop.abort()
    await running
    return delays
  }
  const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

  for (const [what, delaysOf] of [
    ['an event', delaysOfEvents],
    ['a record of the bus', delaysOfRecords],
  ] as const) {
    it(`soon after ${what}, by a notice`, async () => {
      const delays = await delaysOf(await heardNotices('reader'), await heardNotices('writer'), 9)
      expect(median(delays)).to.be.lessThan(500)
    })
    it(`some seconds after ${what} whose notice is lost`, async () => {
      const delays = await delaysOf(lostNotices, lostNotices, 2)
      expect(Math.max(...delays)).to.be.lessThan(30_000)
    })
  }
})
