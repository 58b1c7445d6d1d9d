import { expect } from 'chai'
import { advisoryLocks } from '../../src/adapters/postgres/advisory-locks.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { WebhookId } from '../../src/events/ids.ts'
import type { MessageRecord } from '../../src/events/message-record.ts'
import type { Match, Matcher } from '../../src/ports/message-bus.ts'
import { installProjections } from '../../src/projections/builds.ts'
import { changedSince, webhooks } from '../../src/projections/webhooks.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { type PostgresBusMember, postgresBusMember } from '../support/message-bus.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Collector, collect, idsOf, message, record } from './message-bus.contract.ts'

const matched = ['w1', 'w2'] as WebhookId[]

/** A matcher that matches every message with the same webhooks. */
const matcherAt = (cursor: string, ids: readonly WebhookId[] = matched) => {
  const confirmed: string[] = []
  const match = (records: readonly MessageRecord[]): Match => ({
    webhooks: records.map(({ messages }) => messages.map(() => ids)),
    matched_at: '7' as Checkpoint,
    cursor,
  })
  const matcher: Matcher = { match, confirm: (confirmedMatch) => confirmed.push(confirmedMatch.cursor) }
  return { matcher, confirmed }
}

describe('the message bus on Postgres, beside the message index', () => {
  let database: TestDatabase
  let cursor: string
  let members: PostgresBusMember[]
  let collectors: Collector[]
  beforeEach(async () => {
    database = await freshDatabase()
    await installProjections(database.pool, [webhooks])
    cursor = (await changedSince(database.pool, null)).cursor
    members = []
    collectors = []
  })
  afterEach(async () => {
    for (const collector of collectors) await collector.stop()
    for (const busMember of members) await busMember.close()
    await database.drop()
  })
  const member = async (options: Partial<Parameters<typeof postgresBusMember>[0]> = {}) => {
    const newMember = await postgresBusMember({ url: database.url, consumers: () => 1, partitions: 2, ...options })
    members.push(newMember)
    return newMember
  }
  const consuming = async ({ bus, statements }: PostgresBusMember, partitions = 2) => {
    const isFirst = !statements.includes('messages-settled')
    const collector = collect(bus)
    collectors.push(collector)
    await waitFor(() => collector.owned.size === partitions)
    // A consumer that still reads the database could find a record there, without its entries.
    if (isFirst) await waitFor(() => statements.filter((name) => name === 'messages-settled').length >= partitions)
    return collector
  }
  const entriesOf = ({ seen }: Collector) =>
    Object.fromEntries(
      seen.flatMap(({ record: { bytes, entries } }) => idsOf(bytes).map((id, i) => [id, entries?.[i]?.webhooks ?? null] as const)),
    )
  const indexed = async () => {
    const { rows } = await database.pool.query<{ message: string; place: string; webhooks: string[]; matched_at: string }>(
      'select message, place, webhooks, matched_at from message_index order by message',
    )
    return rows
  }

  it('writes messages to the index in the statement that stores them, and gives their consumer the entries', async () => {
    const opened = await member()
    const collector = await consuming(opened)
    const { matcher, confirmed } = matcherAt(cursor)
    opened.bus.indexWith!(matcher)
    const before = opened.statements.length
    const place = await opened.bus.produce(record(message('a'), message('b')))
    expect(opened.statements.slice(before).filter((name) => name.startsWith('messages-produce'))).to.deep.equal([
      'messages-produce-indexed',
    ])
    await waitFor(() => collector.seen.length === 1)
    expect(entriesOf(collector)).to.deep.equal({ a: matched, b: matched })
    expect(await indexed()).to.deep.equal([
      { message: 'a', place, webhooks: matched, matched_at: '7' },
      { message: 'b', place: place.replace(/0$/, '1'), webhooks: matched, matched_at: '7' },
    ])
    expect(confirmed).to.deep.equal([cursor])
  })
  it('also writes to the index a message that matches no webhook', async () => {
    const opened = await member()
    const collector = await consuming(opened)
    opened.bus.indexWith!(matcherAt(cursor, []).matcher)
    await opened.bus.produce(record(message('unwanted')))
    await waitFor(() => collector.seen.length === 1)
    expect(entriesOf(collector)).to.deep.equal({ unwanted: [] })
    expect((await indexed()).map((row) => row.webhooks)).to.deep.equal([[]])
  })
  it('stores records alone when the webhooks have changed since the match', async () => {
    const opened = await member()
    const collector = await consuming(opened)
    const { matcher, confirmed } = matcherAt(cursor)
    opened.bus.indexWith!(matcher)
    await database.pool.query(`update projections set checkpoint = '0007' where name = 'webhooks'`)
    await opened.bus.produce(record(message('a')))
    await waitFor(() => collector.seen.length === 1)
    expect([entriesOf(collector), await indexed(), confirmed]).to.deep.equal([{ a: null }, [], []])
  })
  it('stores records alone while the read model lacks an acknowledged change', async () => {
    const opened = await member()
    const collector = await consuming(opened)
    opened.bus.indexWith!(matcherAt(cursor).matcher)
    await database.pool.query(`insert into acknowledged_changes values ('webhooks', '0009')`)
    await opened.bus.produce(record(message('a')))
    await waitFor(() => collector.seen.length === 1)
    expect([entriesOf(collector), await indexed()]).to.deep.equal([{ a: null }, []])
  })
  it('gives no entry to a message whose id is in the index, or is twice in one statement', async () => {
    const opened = await member({ partitions: 1 })
    const collector = await consuming(opened, 1)
    opened.bus.indexWith!(matcherAt(cursor).matcher)
    const first = await opened.bus.produce(record(message('a')))
    await Promise.all([opened.bus.produce(record(message('a'), message('b'))), opened.bus.produce(record(message('c'), message('b')))])
    await waitFor(() => collector.seen.length === 3)
    const entries = collector.seen.map(({ record: { entries } }) => entries?.map((entry) => entry !== null))
    expect(entries).to.deep.equal([[true], [false, true], [true, false]])
    expect((await indexed()).map((row) => [row.message, row.place.split('/').slice(2).join('/')])).to.deep.equal([
      ['a', first.split('/').slice(2).join('/')],
      ['b', '1/1'],
      ['c', '2/0'],
    ])
  })
  it('stores a record alone when the index refuses one of its messages', async () => {
    const opened = await member()
    const collector = await consuming(opened)
    opened.bus.indexWith!(matcherAt(cursor, ['\u0000' as WebhookId]).matcher)
    await opened.bus.produce(record(message('a')))
    await waitFor(() => collector.seen.length === 1)
    expect([entriesOf(collector), await indexed()]).to.deep.equal([{ a: null }, []])
  })
  it('stores records alone while no consumer of this process reads the partition', async () => {
    const opened = await member()
    opened.bus.indexWith!(matcherAt(cursor).matcher)
    await opened.bus.produce(record(message('a')))
    expect(await indexed()).to.deep.equal([])
  })
  it('gives no entries to a consumer that took the partition after the statement had begun, because another owner may have been between', async () => {
    const opened = await member({ partitions: 1 })
    const former = await consuming(opened, 1)
    await opened.bus.produce(record(message('first')))
    await waitFor(() => former.seen.length === 1)
    opened.bus.indexWith!(matcherAt(cursor).matcher)
    const client = await database.pool.connect()
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1, 0)', [advisoryLocks.busPartition])
    const producing = opened.bus.produce(record(message('a')))
    await waitFor(() => opened.statements.includes('messages-produce-indexed'))
    await former.stop()
    const later = await consuming(opened, 1)
    await client.query('commit')
    client.release()
    await producing
    await waitFor(() => later.seen.length === 2)
    expect(entriesOf(later)).to.deep.equal({ first: null, a: null })
    expect(await indexed()).to.have.length(1)
  })
  it('gives one of several processes the entry of an id that all of them store at once, without a deadlock', async () => {
    const all = await Promise.all([1, 2].map(() => member({ consumers: () => 2 })))
    const readers = await Promise.all(all.map((opened) => consuming(opened, 1)))
    for (const { bus } of all) bus.indexWith!(matcherAt(cursor).matcher)
    const ids = Array.from({ length: 60 }, (_, i) => `m${i}`)
    const inAnyOrder = (k: number) => [...ids].sort((a, b) => (k % 2 === 0 ? 1 : -1) * (a < b ? 1 : -1))
    const produce = ({ bus }: PostgresBusMember, k: number) => bus.produce(record(...inAnyOrder(k).map((id) => message(id))))
    await Promise.all(all.flatMap((opened, k) => [0, 1, 2].map((more) => produce(opened, k + more))))
    await waitFor(() => readers.reduce((sum, { seen }) => sum + seen.length, 0) === 6)
    const receivedEntries = readers.flatMap(({ seen }) =>
      seen.flatMap(({ record: { bytes, entries } }) => idsOf(bytes).filter((_, i) => entries?.[i] != null)),
    )
    expect(receivedEntries.sort()).to.deep.equal([...ids].sort())
    expect(await indexed()).to.have.length(60)
  })
})
