import { randomUUID } from 'node:crypto'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import type { Pool } from 'pg'
import { createEventStoreDbStore } from '../../src/adapters/eventstoredb/event-store.ts'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import { defaultTenant, type EventId } from '../../src/events/ids.ts'
import { familyOf, isDayStream, type StreamName } from '../../src/events/streams.ts'
import { isObject } from '../../src/lib/is-object.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { Appended, EventStore } from '../../src/ports/event-store.ts'
import { enginesFor } from '../support/engine-sets.ts'
import { expectDelivery } from '../support/expectations.ts'
import { openMacs } from '../support/genuine.ts'
import { soonTimedOut } from '../support/patience.ts'
import type { Receiver } from '../support/receiver.ts'
import type { RunningService } from '../support/service.ts'
import { type Client, clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

export const partitions = 4
/** Variables with short retry delays and time-outs. All other variables have their defaults, as for a user. */
const quick = {
  KOLBAK_PARTITIONS: String(partitions),
  KOLBAK_RETRY_DELAYS: '0.2',
  ...soonTimedOut,
}

/** A running service and its receiver. A test can write to its bus, its event store and its Postgres directly, without its API. */
export interface Poisoned {
  readonly service: RunningService
  readonly api: Client
  readonly receiver: Receiver
  readonly pool: Pool
  /** The URL of the service's EventStoreDB, when it has one. */
  readonly eventStoreDbUrl: string | undefined
  /** Ends the process and starts another one. */
  restart(): Promise<void>
  /** Writes bytes to the bus as a record. Null means a Kafka record without a value. */
  produce(bytes: Buffer | null, partition?: number): Promise<unknown>
  /** Appends an event directly to the store, without a command. */
  append(stream: StreamName, type: string, data: unknown, metadata?: unknown): Promise<Appended>
  subscribe(at: string, event: string, of?: Client): Promise<WebhookResponse>
  /** Posts an event. Returns its id. */
  post(event: string, of?: Client): Promise<string>
  /** Returns the ids of the events that have come to a path, in order. */
  ids(path: string): string[]
  deliveriesOf(id: string): Promise<DeliveryResponse[]>
  /** Returns the value of a metric. */
  figure(name: string): Promise<number>
  checks(): Promise<{ name: string; ok: boolean; message: string }[]>
  quarantined(): Promise<{ projection: string; stream: string; error: string }[]>
  /** Expects that a new webhook gets a new event, that the history shows the delivery, and that every health check is ok. */
  expectGoingOn(): Promise<void>
}

/** Starts such a service for a suite. Call this function in the body of the suite, because it registers hooks. */
export function withPoison(): Poisoned {
  let engines: Record<string, string>
  let api: Client
  let pool: Pool
  let store: EventStore
  let kafka: Producer | undefined
  let events = 0

  // This hook is registered before those of the services, so that it runs before their database is dropped.
  after(async () => {
    await kafka?.disconnect()
    await store.close()
  })
  const { service, receiver, services } = withService({ sharedDatabase: true, variables: quick })
  before(async () => {
    const { db } = services
    engines = await enginesFor(db.url)
    api = await clientOf(service.url)
    pool = db.pool
    const common = { log: silentLog, dayStreamMaxAgeSeconds: 86_400 * 30 }
    const { EVENTSTOREDB_URL: url, KAFKA_BROKERS: brokers } = engines
    store =
      url === undefined
        ? createPostgresEventStore({ pool, identity: 'test', ...common })
        : await createEventStoreDbStore({ url, ...common })
    if (brokers === undefined) return
    const createPartitioner =
      () =>
      ({ message }: { message: { partition?: number } }) =>
        message.partition ?? 0
    kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).producer({ createPartitioner })
    await kafka.connect()
  })

  const subscribe: Poisoned['subscribe'] = (at, event, client = api) =>
    client.post('/v1/webhooks', { callback_url: at.startsWith('/') ? receiver.url(at) : at, event })
  const post: Poisoned['post'] = async (event, client = api) => {
    const id = `evt_${++events}`
    await client.post('/v1/events', { id, event, payload: { n: events } })
    return id
  }
  const ids = (path: string) => receiver.received(path).map((request) => request.body.id)
  const deliveriesOf = async (id: string) => (await api.get<Page<DeliveryResponse>>(`/v1/events/${id}/deliveries?limit=100`)).data
  const checks: Poisoned['checks'] = async () =>
    (await api.get<{ data: { checks: Awaited<ReturnType<Poisoned['checks']>> } }>('/health/ready')).data.checks
  return {
    service,
    receiver,
    get api() {
      return api
    },
    get pool() {
      return pool
    },
    get eventStoreDbUrl() {
      return engines.EVENTSTOREDB_URL
    },
    async restart() {
      await service.kill('SIGTERM')
      await service.restart()
      api = await clientOf(service.url)
    },
    async produce(bytes, partition = 0) {
      if (kafka !== undefined) return kafka.send({ topic: engines.KAFKA_TOPIC!, messages: [{ partition, value: bytes }] })
      const values = [partition, bytes?.length ?? 0, bytes ?? Buffer.alloc(0)]
      await pool.query('select produce_messages($1, array[current_date], array[1], array[$2::int], $3)', values)
      return pool.query(`notify kolbak, 'somebody messages'`)
    },
    async append(stream, type, data, metadata = goodMetadata()) {
      const event = { id: randomUUID() as EventId, type, data, metadata } as NewEvent
      // A command event or an attempt has its MAC, as if a faulty version of Kolbak had written it. Without a MAC it would be quarantined as forged.
      const revision = ((await store.read(stream, { backwards: true, limit: 1 }))[0]?.revision ?? -1) + 1
      const isMarked = (!isDayStream(stream) || familyOf(stream) === 'attempts') && isObject(metadata)
      const appended = await store.append(stream, [isMarked ? (await openMacs(pool))({ ...event, stream, revision }) : event], 'any')
      await pool.query(`notify kolbak, 'somebody events'`)
      return appended
    },
    subscribe,
    post,
    ids,
    deliveriesOf,
    async figure(name) {
      const response = await fetch(`${service.url}/metrics`, { headers: { authorization: `Bearer ${api.token}` } })
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await response.text())?.[1])
    },
    checks,
    quarantined: async () => (await pool.query('select projection, stream, error from quarantined_streams')).rows,
    async expectGoingOn() {
      const path = `/goes-on-${++events}`
      await subscribe(path, `goes.on${events}`)
      const id = await post(`goes.on${events}`)
      await waitFor(() => ids(path).includes(id), { what: 'an event after the poison' })
      await expectDelivery(api, id, 'success')
      const failed = (await checks()).filter(({ ok }) => !ok)
      if (failed.length > 0) throw new Error(`health checks fail after the poison: ${JSON.stringify(failed)}`)
    },
  }
}

const goodMetadata = () => ({
  schema: 1,
  actor: 'system:test',
  tenant: defaultTenant,
  time: new Date().toISOString(),
  $correlationId: 'poison',
  $causationId: null,
})
