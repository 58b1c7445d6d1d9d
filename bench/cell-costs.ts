// Usage: npm run bench:cell-costs [-- --rows 200000]. It measures what each event costs the engines of a cell (docs/scaling.md). Postgres, with fsync, writes
// a row of the message index, and a row of scheduled_deliveries that is parked, claimed and deleted. Kafka takes a record with one message, and Cassandra
// writes the fact of one delivery. Both have one node.
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ulid } from 'ulid'
import { startEmbeddedPostgres } from '../src/adapters/postgres/embedded.ts'
import { migrate } from '../src/adapters/postgres/migrate.ts'
import { createPool } from '../src/adapters/postgres/pool.ts'
import { createSchedule } from '../src/dispatch/schedule.ts'
import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from '../src/events/ids.ts'
import type { MessageRecord } from '../src/events/message-record.ts'
import { firstAttempt } from '../src/events/refs.ts'
import { silentLog } from '../src/lib/log.ts'
import type { DeliveryFact } from '../src/ports/delivery-log.ts'
import { createMessageIndex, type IndexedMessage } from '../src/projections/message-index.ts'
import { openCassandraLog } from '../test/support/delivery-log-cassandra.ts'
import { startCassandra } from '../test/support/engines/cassandra.ts'
import { freshTopic, kafkaBusMember } from '../test/support/engines/kafka/member.ts'
import { startKafka, stopKafka } from '../test/support/engines/kafka.ts'
import { costOf, postgresPids, withChildren } from './processes.ts'

const { values: options } = parseArgs({ options: { rows: { type: 'string', default: '200000' } } })
const rows = Number(options.rows)
const folder = await mkdtemp(join(tmpdir(), 'kolbak-bench-'))
const postgres = await startEmbeddedPostgres({ dataDir: folder, log: silentLog, settings: ['max_wal_size=8GB'] })
const table: Record<string, Record<string, string>> = {}
try {
  await migrate(postgres.url)
  const pool = createPool({ url: postgres.url, name: 'bench', max: 4, log: silentLog })
  const tenants = Array.from({ length: 100 }, () => ulid() as TenantId)
  const webhooks = Array.from({ length: 100 }, () => ulid() as WebhookId)
  const bus = ulid()
  let count = 0
  const createMessage = (id: string): IndexedMessage => {
    const n = count++
    return {
      tenant: tenants[n % tenants.length]!,
      message: id as MessageId,
      place: `${bus}/${n % 16}/${n}/0` as Place,
      fingerprint: randomUUID().replaceAll('-', '').repeat(2),
      event: 'order.created',
      accepted_at: new Date().toISOString(),
      webhooks: [webhooks[n % webhooks.length]!],
      matched_at: '0000000000000000001' as IndexedMessage['matched_at'],
    }
  }
  const costsOf = async (relation: string) => {
    const { rows: sizes } = await pool.query<{ wal: string; bytes: string }>(
      `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal, pg_total_relation_size($1) as bytes`,
      [relation],
    )
    return { cpu: (await costOf(await postgresPids(folder))).cpu, wal: Number(sizes[0]!.wal), bytes: Number(sizes[0]!.bytes) }
  }
  /** Writes half of the rows, and measures what each row of the other half costs. */
  const measure = async (title: string, relation: string, group: number, total: number, write: (size: number) => Promise<unknown>) => {
    const writeHalf = async () => {
      for (let written = 0; written < total / 2; written += 2 * group) await Promise.all([write(group), write(group)])
    }
    await writeHalf()
    await pool.query('checkpoint')
    const [before, begun] = [await costsOf(relation), performance.now()]
    await writeHalf()
    const [after, seconds] = [await costsOf(relation), (performance.now() - begun) / 1_000]
    const perRow = (value: 'cpu' | 'wal' | 'bytes') => (after[value] - before[value]) / (total / 2)
    table[title] = {
      'CPU µs of Postgres per row': (perRow('cpu') * 1e6).toFixed(0),
      'WAL bytes per row': perRow('wal').toFixed(0),
      'stored bytes per row': perRow('bytes').toFixed(0),
      'rows/s': (total / 2 / seconds).toFixed(0),
    }
    console.log(title, JSON.stringify(table[title]))
  }
  const index = createMessageIndex(pool)
  const insert = (createId: () => string) => (size: number) =>
    index.insertNew(Array.from({ length: size }, () => createMessage(createId())))
  await measure(
    'index, groups of 20, ids by Kolbak',
    'message_index',
    20,
    rows / 10,
    insert(() => `evt_${ulid()}`),
  )
  await measure(
    'index, groups of 200, ids by Kolbak',
    'message_index',
    200,
    rows,
    insert(() => `evt_${ulid()}`),
  )
  await measure('index, groups of 200, random ids', 'message_index', 200, rows, insert(randomUUID))
  const schedule = createSchedule({ pool, owner: 'bench', claimMs: 60_000 })
  const allotments = webhooks.map((webhook) => ({ webhook, count: 2 }))
  await measure('scheduled delivery: parked, claimed, deleted', 'scheduled_deliveries', 200, rows / 10, async (size) => {
    const refs = Array.from({ length: size }, () => {
      const message = createMessage(`evt_${ulid()}`)
      return firstAttempt(message, message.webhooks[0]!, message.message)
    })
    await Promise.all(refs.map((ref) => schedule.park(ref)))
    const claimed = await schedule.claim(allotments)
    await Promise.all(claimed.map((ref) => schedule.done(ref)))
  })
  const before = await costsOf('message_index')
  const deleted = await index.expire(new Date().toISOString())
  await pool.query('vacuum message_index')
  const after = await costsOf('message_index')
  table['index, deleted after its time, with vacuum'] = {
    'CPU µs of Postgres per row': (((after.cpu - before.cpu) / deleted) * 1e6).toFixed(0),
    'WAL bytes per row': ((after.wal - before.wal) / deleted).toFixed(0),
  }
  await pool.end()
} finally {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
}

/** Measures the processor time of the engine, which is the only child of this process. The first half of the items only warms it up. */
async function measureEngine(title: string, unit: string, total: number, work: (count: number) => Promise<unknown>): Promise<void> {
  const cpu = async () => (await costOf((await withChildren(process.pid)).filter((pid) => pid !== process.pid))).cpu
  await work(total / 2)
  const [before, begun] = [await cpu(), performance.now()]
  await work(total / 2)
  const [after, seconds] = [await cpu(), (performance.now() - begun) / 1_000]
  table[title] = {
    [`CPU µs of the engine per ${unit}`]: (((after - before) / (total / 2)) * 1e6).toFixed(0),
    'items/s': (total / 2 / seconds).toFixed(0),
  }
  console.log(title, JSON.stringify(table[title]))
}
/** Makes `count` calls, at most `callers` of them at a time. */
async function calls(callers: number, count: number, call: () => Promise<unknown>): Promise<void> {
  let callsLeft = count
  const caller = async () => {
    while (callsLeft-- > 0) await call()
  }
  await Promise.all(Array.from({ length: callers }, caller))
}
const now = () => new Date().toISOString()
const tenant = ulid() as TenantId
const webhook = ulid() as WebhookId
const kafka = await kafkaBusMember({ brokers: (await startKafka()).brokers, topic: freshTopic(), sessionTimeoutMs: 10_000 })
const content = { event: 'order.created', event_time: null, source: null, fingerprint: 'f'.repeat(64), sealedBody: Buffer.alloc(600, 1) }
const record = (): MessageRecord => ({
  ...{ tenant, accepted_at: now(), correlation_id: 'bench' },
  messages: [{ id: ulid() as MessageId, ...content }],
})
await measureEngine('Kafka: produce', 'record', rows / 4, (count) => calls(256, count, () => kafka.bus.produce(record())))
await kafka.close()
await stopKafka()

const cassandra = await startCassandra()
const cassandraLog = await openCassandraLog({ cassandra })
const fact = (): DeliveryFact => ({
  ...{ tenant, webhook, accepted_at: now(), delivery: randomUUID() as DeliveryId, message: ulid() as MessageId },
  ...{ place: 'bus/0/1/0' as Place, fingerprint: 'f'.repeat(64), event: 'order.created', correlation_id: 'bench', chain: 1, attempt: 1 },
  ...{ type: 'DeliverySucceeded' as const, event_id: randomUUID() as EventId, time: now(), code: 200, duration_ms: 12, reason: null },
  ...{ reason_detail: null, response: null, delay_seconds: null },
})
await measureEngine('Cassandra: history', 'fact', rows / 5, (count) =>
  calls(4, count / 500, () => cassandraLog.history.record(Array.from({ length: 500 }, fact))),
)
await cassandraLog.drop()
await cassandra.stop()
console.table(table)
process.exit(0) // This is needed because kafkajs keeps timers that would prevent the end of the process.
