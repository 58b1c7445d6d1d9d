import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { parsePlace } from '../../src/events/message-record.ts'
import { BusFull, BusUnavailable, type MessageBus } from '../../src/ports/message-bus.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { type PostgresBusMember, postgresBusMember } from '../support/message-bus.ts'
import { waitFor } from '../support/wait-for.ts'
import { type BusHarness, collect, message, messageBusContract, record } from './message-bus.contract.ts'

const postgresHarness = async (): Promise<BusHarness> => {
  const database = await freshDatabase()
  const members = new Set<PostgresBusMember>()
  const consuming = new Set<PostgresBusMember>()
  return {
    partitions: 4,
    async member(options) {
      const member = await postgresBusMember({ url: database.url, consumers: () => consuming.size, ...options })
      members.add(member)
      const leave = (how: () => Promise<void>) => async () => {
        consuming.delete(member)
        await how()
      }
      const bus: MessageBus = {
        ...member.bus,
        consume(consumeOptions) {
          consuming.add(member)
          return member.bus.consume(consumeOptions)
        },
      }
      return { bus, crash: leave(member.crash), close: leave(member.close) }
    },
    async drop() {
      for (const member of members) await member.close()
      await database.drop()
    },
  }
}
messageBusContract('Postgres', postgresHarness)

describe('message bus on Postgres', () => {
  let database: TestDatabase
  let members: PostgresBusMember[]
  const member = async (options: Partial<Parameters<typeof postgresBusMember>[0]> = {}) => {
    const newMember = await postgresBusMember({ url: database.url, consumers: () => 1, ...options })
    members.push(newMember)
    return newMember
  }
  beforeEach(async () => {
    database = await freshDatabase()
    members = []
  })
  afterEach(async () => {
    for (const busMember of members) await busMember.close()
    await database.drop()
  })

  it('hands over from memory the records that this process has produced, without reading them from the database', async () => {
    const { bus, statements } = await member()
    const collector = collect(bus)
    await waitFor(() => collector.owned.size === 4)
    await bus.produce(record(message('first')))
    await waitFor(() => collector.seen.length === 1)
    const readsBefore = statements.filter((name) => name === 'messages-read').length
    const producer = async (lane: number) => {
      for (let i = 0; i < 100; i++) await bus.produce(record(message(`${lane}-${i}`)))
    }
    await Promise.all(Array.from({ length: 10 }, (_, lane) => producer(lane)))
    await waitFor(() => collector.seen.length === 1_001)
    await collector.stop()
    const produced = statements.filter((name) => name === 'messages-produce').length
    expect(statements.filter((name) => name === 'messages-read').length - readsBefore).to.be.below(produced / 4)
    expect(new Set(collector.ids()).size).to.equal(1_001)
  })

  it('prefers partitions that it owns when it produces', async () => {
    const [firstMember, secondMember] = [await member({ consumers: () => 2 }), await member({ consumers: () => 2 })]
    const collector = collect(firstMember.bus)
    const other = collect(secondMember.bus)
    await waitFor(() => collector.owned.size === 2 && other.owned.size === 2)
    const places = []
    for (let i = 0; i < 8; i++) places.push(parsePlace(await firstMember.bus.produce(record(message(`m${i}`)))))
    expect(new Set(places.map((place) => place.partition))).to.deep.equal(new Set(collector.owned.keys()))
    await collector.stop()
    await other.stop()
  })

  it('drops records that a slow consumer does not fetch from memory, and reads them from the database later', async () => {
    const { bus } = await member({ partitions: 1 })
    const stopping = new AbortController()
    const ids: string[] = []
    let go: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    let entered = false
    const done = bus.consume({
      signal: stopping.signal,
      startAt: async () => 0n,
      async own(partition) {
        entered = true
        await gate
        while (!partition.lost.aborted) for (const { offset } of await partition.fetch(64)) ids.push(String(offset))
      },
    })
    await waitFor(() => entered)
    await Promise.all(Array.from({ length: 7_000 }, (_, i) => bus.produce(record(message(`m${i}`)))))
    go()
    const during = Array.from({ length: 2_000 }, (_, i) => bus.produce(record(message(`during-${i}`))))
    await Promise.all(during)
    await waitFor(() => ids.length >= 9_000)
    stopping.abort()
    await done
    expect(ids).to.deep.equal(Array.from({ length: 9_000 }, (_, i) => String(i)))
  })

  it('skips the gaps that rollbacks leave, wherever they are', async () => {
    const { bus, statements } = await member({ partitions: 1 })
    const collector = collect(bus)
    await waitFor(() => collector.owned.size === 1)
    const rollBack = async () => {
      const client = await database.pool.connect()
      await client.query('begin')
      await client.query(`select produce_messages(0, array[current_date, current_date], '{1,2}', '{1,1}', 'ab')`)
      await client.query('rollback')
      client.release()
    }
    for (let i = 0; i < 5; i++) {
      await rollBack()
      await bus.produce(record(message(`m${i}`)))
    }
    await waitFor(() => collector.seen.length === 5)
    expect(collector.ids()).to.deep.equal(['m0', 'm1', 'm2', 'm3', 'm4'])
    // A gap at the end is skipped once, and is not read again.
    await rollBack()
    await waitFor(() => statements.includes('messages-settled'))
    const polls = () => statements.filter((name) => name === 'messages-newest').length
    const pollsBefore = polls()
    await waitFor(() => polls() > pollsBefore + 1)
    const reads = statements.filter((name) => name === 'messages-read').length
    const pollsThen = polls()
    await waitFor(() => polls() > pollsThen + 3)
    expect(statements.filter((name) => name === 'messages-read').length).to.equal(reads)
    await bus.produce(record(message('last')))
    await waitFor(() => collector.seen.length === 6)
    await collector.stop()
  })

  it('misses no record of several producers, one of which is killed, despite rollbacks and an old snapshot', async () => {
    const { bus } = await member()
    const collector = collect(bus)
    const snapshot = await database.pool.connect()
    await snapshot.query('begin isolation level repeatable read')
    await snapshot.query('select count(*) from messages')

    const script = fileURLToPath(new URL('../support/message-bus-producer.ts', import.meta.url))
    const acknowledged: string[] = []
    const children: ChildProcess[] = []
    const run = (name: string, count: number) =>
      new Promise<NodeJS.Signals | number | null>((resolve) => {
        const child = spawn(process.execPath, [script, database.url, name, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] })
        children.push(child)
        let partialLine = ''
        child.stdout.on('data', (chunk: Buffer) => {
          const lines = (partialLine + chunk).split('\n')
          partialLine = lines.pop() ?? ''
          acknowledged.push(...lines)
        })
        child.on('close', (code, signal) => resolve(signal ?? code))
      })
    let producing = true
    // These transactions are slow, and half of them fail. A reader that did not wait for them would miss their records.
    const slow = async () => {
      const client = await database.pool.connect()
      for (let i = 0; producing; i++) {
        await client.query('begin')
        await client.query(`select produce_messages($1, array[current_date, current_date], '{1,2}', '{1,1}', 'ab')`, [i % 4])
        await client.query('select pg_sleep(0.003)')
        await client.query(i % 2 === 0 ? 'rollback' : 'commit')
      }
      client.release()
    }
    const slowDone = slow()
    const ends = [run('a', 1_500), run('b', 1_500), run('killed', 1_000_000)]
    await waitFor(() => acknowledged.length > 1_000)
    children[2]!.kill('SIGKILL')
    expect(await Promise.all(ends)).to.deep.equal([0, 0, 'SIGKILL'])
    producing = false
    await slowDone
    await snapshot.query('rollback')
    snapshot.release()

    const { rows } = await database.pool.query<{ partition: number; offset: bigint }>('select partition, "offset" from messages')
    await waitFor(() => collector.seen.length >= rows.length)
    await collector.stop()
    const stored = rows.map((row) => `${row.partition}/${row.offset}`)
    const seen = collector.seen.map((s) => `${s.partition}/${s.record.offset}`)
    expect(seen.length).to.equal(stored.length)
    expect(new Set(seen)).to.deep.equal(new Set(stored))
    const places = new Set(collector.places(bus.identity))
    expect(acknowledged.filter((place) => !places.has(place))).to.deep.equal([])
  })

  it('creates the day partition of each record, and lets a record without a valid day fail alone', async () => {
    const { bus } = await member()
    const produceOn = (accepted_at: string) => bus.produce({ ...record(message(accepted_at)), accepted_at })
    const results = await Promise.allSettled([
      produceOn('2031-12-31T23:59:59.999Z'),
      produceOn('2032-01-01T00:00:00.000Z'),
      produceOn('2032-02-30T00:00:00.000Z'),
      produceOn('yesterday'),
      produceOn('2020-02-29T12:00:00.000Z'),
    ])
    expect(results.map((result) => result.status)).to.deep.equal(['fulfilled', 'fulfilled', 'rejected', 'rejected', 'fulfilled'])
    const { rows } = await database.pool.query('select day::text as day, tableoid::regclass::text as partition from messages order by day')
    expect(rows).to.deep.equal([
      { day: '2020-02-29', partition: 'messages_20200229' },
      { day: '2031-12-31', partition: 'messages_20311231' },
      { day: '2032-01-01', partition: 'messages_20320101' },
    ])
  })

  it('continues after another process has dropped a day partition that this process has written to', async () => {
    const { bus } = await member()
    const old = { ...record(message('m')), accepted_at: '2020-01-01T00:00:00.000Z' }
    await bus.produce(old)
    await database.pool.query('drop table messages_20200101')
    await bus.produce(old)
  })

  it('drops whole day partitions, but none with an unread record', async () => {
    const { bus } = await member({ partitions: 2 })
    const produceOn = async (day: string) => parsePlace(await bus.produce({ ...record(message(day)), accepted_at: `${day}T12:00:00.000Z` }))
    const places = []
    for (const day of ['2020-01-01', '2020-01-01', '2020-01-02', '2020-01-02', '2020-01-03', '2020-01-03'])
      places.push(await produceOn(day))
    const next = places.find((place) => place.offset === 1n)!
    const days = (names: string[]) => names.filter((name) => !name.endsWith('0104')) // this partition is empty, because it was created in advance
    expect(days(await bus.dropDaysBefore('2020-01-03', new Map()))).to.deep.equal([])
    expect(days(await bus.dropDaysBefore('2020-01-03', new Map([[next.partition, 1n]])))).to.deep.equal([])
    const unread = new Map([
      [0, 2n],
      [1, 2n],
    ])
    unread.set(next.partition, 1n)
    expect(days(await bus.dropDaysBefore('2020-01-03', unread))).to.deep.equal(['messages_20200101'])
    unread.set(next.partition, 2n)
    expect(days(await bus.dropDaysBefore('2020-01-03', unread))).to.deep.equal(['messages_20200102'])
    const { rows } = await database.pool.query('select distinct day::text as day from messages')
    expect(rows).to.deep.equal([{ day: '2020-01-03' }])
  })

  it('does not drop a day partition while a reader uses it, so that other readers are not blocked', async () => {
    const { bus } = await member()
    await bus.produce({ ...record(message('old')), accepted_at: '2020-01-01T00:00:00.000Z' })
    const reader = await database.pool.connect()
    await reader.query('begin')
    await reader.query('select count(*) from messages')
    const all = new Map([0, 1, 2, 3].map((partition) => [partition, 1n] as const))
    expect(await bus.dropDaysBefore('2020-01-02', all)).to.deep.equal([])
    await bus.produce(record(message('meanwhile')))
    await reader.query('commit')
    reader.release()
    expect(await bus.dropDaysBefore('2020-01-02', all)).to.deep.equal(['messages_20200101'])
  })

  it('counts the records that are not done, without gaps', async () => {
    const { bus } = await member({ partitions: 1 })
    expect(await bus.lag(new Map())).to.deep.equal(new Map([[0, 0]]))
    await Promise.all(Array.from({ length: 5 }, (_, i) => bus.produce(record(message(`m${i}`)))))
    await database.pool.query(`select nextval('messages_offset_0') from generate_series(1, 32)`)
    expect(await bus.lag(new Map())).to.deep.equal(new Map([[0, 5]]))
    expect(await bus.lag(new Map([[0, 3n]]))).to.deep.equal(new Map([[0, 2]]))
    expect(await bus.lag(new Map([[0, 5n]]))).to.deep.equal(new Map([[0, 0]]))
  })

  it('finds the oldest record that is not done, over all partitions', async () => {
    const { bus } = await member({ partitions: 2 })
    expect(await bus.oldest!(new Map())).to.equal(null)
    const at = (second: number) => `2026-03-31T00:00:0${second}.000Z`
    const places = []
    for (const second of [3, 1, 2]) places.push(await bus.produce({ ...record(message(`m${second}`)), accepted_at: at(second) }))
    expect(await bus.oldest!(new Map())).to.equal(at(1))
    const saved = new Map<number, bigint>()
    for (const place of places) {
      const { partition, offset } = parsePlace(place)
      if (offset + 1n > (saved.get(partition) ?? 0n)) saved.set(partition, offset + 1n)
    }
    expect(await bus.oldest!(saved)).to.equal(null)
  })

  it('can get more partitions, and refuses to have fewer', async () => {
    await member({ partitions: 2 })
    const { bus } = await member({ partitions: 6 })
    const collector = collect(bus)
    await waitFor(() => collector.owned.size === 6)
    await collector.stop()
    let refusal: unknown
    await member({ partitions: 5 }).catch((error) => {
      refusal = error
    })
    expect(refusal).to.include({ code: 'partitions_shrunk' })
    expect(String(refusal)).to.include('KOLBAK_PARTITIONS to 6')
  })

  it('limits the bytes of waiting records too', async () => {
    const { bus } = await member({ maxWaitingBytes: 1_000_000 })
    const large = Buffer.alloc(300_000)
    const results = await Promise.allSettled(Array.from({ length: 5 }, (_, i) => bus.produce(record(message(`m${i}`, large)))))
    expect(results.filter((result) => result.status === 'fulfilled')).to.have.length(3)
    expect(results.some((result) => result.status === 'rejected' && result.reason instanceof BusFull)).to.equal(true)
  })

  it('throws BusUnavailable when Postgres is gone, and when the bus is closed', async () => {
    const first = await member()
    await first.crash()
    const second = await member()
    await second.close()
    for (const { bus } of [first, second]) {
      let failure: unknown
      await bus.produce(record(message('m'))).catch((error) => {
        failure = error
      })
      expect(failure).to.be.instanceOf(BusUnavailable)
    }
  })

  it('writes concurrent records together', async () => {
    const { bus, statements } = await member()
    const producer = async () => {
      for (let i = 0; i < 25; i++) await bus.produce(record(message(`m${i}`)))
    }
    await Promise.all(Array.from({ length: 32 }, producer))
    expect(statements.filter((name) => name === 'messages-produce').length).to.be.below(100)
  })
})
