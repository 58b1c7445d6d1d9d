// Usage: npm run bench:adapters [-- --seconds 3]. It measures each adapter of each port alone, on servers that it starts. Postgres runs with fsync.
// Kafka and Cassandra have one node, and their programs are downloaded as for the tests. EventStoreDB is the double of the tests, or the server at
// EVENTSTOREDB_URL.
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ulid } from 'ulid'
import { createEventStoreDbStore } from '../src/adapters/eventstoredb/event-store.ts'
import { createPostgresDeliveryLog } from '../src/adapters/postgres/delivery-log.ts'
import { startEmbeddedPostgres } from '../src/adapters/postgres/embedded.ts'
import { createPostgresEventStore } from '../src/adapters/postgres/event-store.ts'
import { createPostgresMessageBus } from '../src/adapters/postgres/message-bus.ts'
import { migrate } from '../src/adapters/postgres/migrate.ts'
import { createPool } from '../src/adapters/postgres/pool.ts'
import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from '../src/events/ids.ts'
import type { MessageRecord } from '../src/events/message-record.ts'
import { attemptsStream } from '../src/events/streams.ts'
import { createLeaseKeeper } from '../src/lib/leases.ts'
import { silentLog } from '../src/lib/log.ts'
import type { DeliveryFact, DeliveryHistory } from '../src/ports/delivery-log.ts'
import type { EventStore } from '../src/ports/event-store.ts'
import type { MessageBus } from '../src/ports/message-bus.ts'
import { openCassandraLog } from '../test/support/delivery-log-cassandra.ts'
import { startCassandra } from '../test/support/engines/cassandra.ts'
import { freshTopic, kafkaBusMember } from '../test/support/engines/kafka/member.ts'
import { startKafka, stopKafka } from '../test/support/engines/kafka.ts'
import { someEvents } from '../test/support/event-store-events.ts'
import { startEventStoreDb } from '../test/support/eventstoredb/index.ts'

const { values: options } = parseArgs({ options: { seconds: { type: 'string', default: '3' } } })
const seconds = Number(options.seconds)
const retentionSeconds = 30 * 86_400
const now = () => new Date().toISOString()

/** Returns the rate of concurrent callers, each of which makes one call after another. @param perCall the number of items in a call */
async function rate(callers: number, perCall: number, call: (caller: number) => Promise<unknown>) {
  const times: number[] = []
  const end = performance.now() + seconds * 1_000
  const begun = performance.now()
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (performance.now() < end) {
        const callStart = performance.now()
        await call(caller)
        times.push(performance.now() - callStart)
      }
    }),
  )
  times.sort((a, b) => a - b)
  const percentile = (share: number) => Number((times[Math.floor(times.length * share)] ?? 0).toFixed(1))
  return {
    perSecond: Math.round((times.length * perCall) / ((performance.now() - begun) / 1_000)),
    p50: percentile(0.5),
    p99: percentile(0.99),
  }
}
const rows: Record<string, { perSecond: number; p50: number; p99: number }> = {}
const measure = async (name: string, callers: number, perCall: number, call: (caller: number) => Promise<unknown>) => {
  rows[`${name}, ${callers} caller${callers === 1 ? '' : 's'}`] = await rate(callers, perCall, call)
}

async function measureEventStore(name: string, store: EventStore) {
  const webhooks = Array.from({ length: 64 }, () => attemptsStream(ulid() as WebhookId, now()))
  for (const callers of [1, 64]) await measure(`${name}: append`, callers, 1, (i) => store.append(webhooks[i]!, someEvents(1), 'any'))
  const headReached = new AbortController()
  const head = (await store.head(['attempts'])) ?? ''
  const begun = performance.now()
  let readCount = 0
  for await (const batch of store.subscribe({ families: ['attempts'], after: null, signal: headReached.signal })) {
    readCount += batch.events.length
    if (batch.checkpoint >= head) headReached.abort()
  }
  rows[`${name}: subscribe`] = { perSecond: Math.round(readCount / ((performance.now() - begun) / 1_000)), p50: 0, p99: 0 }
}
async function measureMessageBus(name: string, bus: MessageBus) {
  const sealedBody = Buffer.alloc(600, 1)
  const message = { event: 'order.created', event_time: null, source: null, fingerprint: 'f'.repeat(64), sealedBody }
  const createRecord = (): MessageRecord => ({
    ...{ tenant: ulid() as TenantId, accepted_at: now(), correlation_id: 'bench' },
    messages: [{ id: ulid() as MessageId, ...message }],
  })
  for (const callers of [1, 32, 256]) await measure(`${name}: produce`, callers, 1, () => bus.produce(createRecord()))
  const total = [...(await bus.ends()).values()].reduce((sum, end) => sum + end, 0n)
  const stopping = new AbortController()
  let consumed = 0n
  let begun = 0
  await bus.consume({
    startAt: async () => 0n,
    signal: stopping.signal,
    async own(partition) {
      while (!partition.lost.aborted) {
        const records = await partition.fetch(500)
        if (begun === 0 && records.length > 0) begun = performance.now()
        consumed += BigInt(records.length)
        if (consumed >= total) stopping.abort()
      }
    },
  })
  rows[`${name}: consume`] = { perSecond: Math.round(Number(total) / ((performance.now() - begun) / 1_000)), p50: 0, p99: 0 }
}
async function measureDeliveryHistory(name: string, log: DeliveryHistory) {
  const tenant = ulid() as TenantId
  const webhook = ulid() as WebhookId
  const fact = (): DeliveryFact => ({
    ...{ tenant, webhook, accepted_at: now(), delivery: randomUUID() as DeliveryId, message: ulid() as MessageId },
    ...{ place: 'bus/0/1/0' as Place, fingerprint: 'f'.repeat(64), event: 'order.created', correlation_id: 'bench', chain: 1, attempt: 1 },
    ...{ type: 'DeliverySucceeded' as const, event_id: randomUUID() as EventId, time: now(), code: 200, duration_ms: 12, reason: null },
    ...{ reason_detail: null, response: null, delay_seconds: null },
  })
  for (const callers of [1, 8]) await measure(`${name}: record (500)`, callers, 500, () => log.record(Array.from({ length: 500 }, fact)))
  await measure(`${name}: first page`, 1, 1, () => log.history(webhook, { tenant, limit: 50 }))
}

const folder = await mkdtemp(join(tmpdir(), 'kolbak-bench-'))
const postgres = await startEmbeddedPostgres({ dataDir: folder, log: silentLog })
try {
  await migrate(postgres.url)
  const pool = createPool({ url: postgres.url, name: 'bench', max: 10, log: silentLog })
  const readers = createPool({ url: postgres.url, name: 'bench readers', max: 6, log: silentLog, plansOnce: true })
  const store = createPostgresEventStore({ pool, log: silentLog, identity: 'bench', dayStreamMaxAgeSeconds: retentionSeconds })
  await measureEventStore('Postgres', store)
  await store.close()
  const leases = createLeaseKeeper({ pool, owner: 'bench', leaseMs: 10_000, onError: console.error })
  const bus = await createPostgresMessageBus({ pool, identity: 'bench', partitions: 4, leases, consumers: () => 1, log: silentLog })
  await measureMessageBus('Postgres', bus)
  await bus.close()
  await leases.close()
  const log = await createPostgresDeliveryLog({ pool, readers, identity: 'bench', bus, log: silentLog })
  await log.makeBuild(1)
  await measureDeliveryHistory('Postgres', log.historyOf(1))
  await log.close()
  await Promise.all([pool.end(), readers.end()])
} finally {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
}

const externalUrl = process.env.EVENTSTOREDB_URL
const double = externalUrl === undefined ? await startEventStoreDb() : null
const store = await createEventStoreDbStore({
  url: externalUrl ?? double?.url ?? '',
  dayStreamMaxAgeSeconds: retentionSeconds,
  log: silentLog,
})
await measureEventStore(externalUrl === undefined ? 'EventStoreDB (double)' : 'EventStoreDB', store)
await store.close()
await double?.stop()

const kafka = await kafkaBusMember({ brokers: (await startKafka()).brokers, topic: freshTopic(), sessionTimeoutMs: 10_000 })
await measureMessageBus('Kafka', kafka.bus)
await kafka.close()
await stopKafka()

const cassandra = await startCassandra()
const opened = await openCassandraLog({ cassandra })
await measureDeliveryHistory('Cassandra', opened.history)
await opened.drop()
await cassandra.stop()

console.table(rows)
process.exit(0) // This is needed because gRPC and kafkajs keep timers that would prevent the end of the process.
