import { readFileSync } from 'node:fs'
import type { Pool } from 'pg'
import { closing } from '../adapters/postgres/closing.ts'
import { createPostgresDeliveryLog } from '../adapters/postgres/delivery-log.ts'
import { startEmbeddedPostgres } from '../adapters/postgres/embedded.ts'
import { recordEngine } from '../adapters/postgres/engines.ts'
import { createPostgresEventStore } from '../adapters/postgres/event-store.ts'
import { createPostgresMessageBus } from '../adapters/postgres/message-bus.ts'
import { migrate } from '../adapters/postgres/migrate.ts'
import { createPool, type PoolOptions } from '../adapters/postgres/pool.ts'
import type { Config } from '../config/config.ts'
import type { Checkpoint } from '../events/envelope.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'
import type { DeliveryLog } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'

/** How engines that do not answer are waited for. */
export interface Patience {
  readonly log: Log
  readonly signal: AbortSignal
  /** False: the first failure is thrown, as a command by hand wants it. */
  readonly waits: boolean
}
/** Does what needs an engine, however long that takes to answer. What our configuration is at fault for is thrown at once. */
export const whenThere = <T>(engine: string, open: () => Promise<T>, { log, signal, waits }: Patience): Promise<T> =>
  untilDone(open, {
    signal,
    onError: (error, delayMs) => log.warn({ engine, error, delayMs }, 'engine.unavailable'),
    isFinal: (error) => !waits || (error instanceof KolbakError && !notThereYet.has(error.code)),
  })
const notThereYet = new Set(['kafka_unreachable'])

export interface Database {
  readonly isEmbedded: boolean
  readonly url: string
  /** A pool of connections; whoever asks for it ends it. */
  pool(name: string, max: number, options?: Pick<PoolOptions, 'plansOnce'>): Pool
  /** Stops the embedded Postgres; nothing to a given one. */
  stop(): Promise<void>
}

/** The Postgres of this process, migrated: the one that is configured, or one of its own, fit for so many processes. */
export async function openDatabase(
  config: Config,
  patience: Patience,
  { join, processes = 1 }: { join: boolean; processes?: number },
): Promise<Database> {
  const { log } = patience
  const dataDir = config.KOLBAK_DATA_DIR
  const embedded = config.DATABASE_URL === undefined ? await startEmbeddedPostgres({ dataDir, log, join, processes }) : null
  if (embedded !== null) log.info({ dataDir, tookOver: !embedded.started }, 'postgres.started')
  const url = config.DATABASE_URL ?? embedded?.url ?? ''
  try {
    const migrated = await whenThere('postgres', () => migrate(url).catch(throwRefusal), patience)
    if (migrated.length > 0) log.info({ migrations: migrated }, 'postgres.migrated')
  } catch (error) {
    await embedded?.stop()
    throw error
  }
  return {
    isEmbedded: embedded !== null,
    url,
    pool: (name, max, options) => createPool({ url, name, max, log, ...options }),
    stop: async () => embedded?.stop(),
  }
}

/** Postgres is there, and will not have us: waiting does not help. SQLSTATE classes of authorisation, catalogue and access. */
function throwRefusal(cause: unknown): never {
  const code = codeOf(cause) ?? ''
  if (/^(28|3D|42501|ERR_INVALID_URL$)/.test(code))
    throw new KolbakError('invalid_config', `DATABASE_URL leads to no database that we may use: ${(cause as Error).message}.`, { cause })
  throw cause
}

/** The engine behind each port, and what only the composition root asks of it. */
export interface Engines {
  readonly store: EventStore
  readonly bus: MessageBus
  readonly deliveryLog: DeliveryLog
  readonly retention: {
    /** Lets go of events of days before this one that every reader has passed. Answers how many parts went. */
    events(day: string, passed: Checkpoint): Promise<number>
    /** Lets go of messages of days before this one that are done. */
    messages(day: string, unread: ReadonlyMap<number, bigint>): Promise<number>
    history(day: string): Promise<number>
  }
  /** Tells the bus's own tools how far its records are done; nothing depends on it. */
  committed(offsets: ReadonlyMap<number, bigint>): void
}
export interface EngineDeps {
  readonly config: Config
  readonly patience: Patience
  readonly log: Log
  readonly leases: LeaseKeeper
  /** Live processes that consume. */
  readonly consumers: () => number
  /** For small questions, for writers on the way of a message, for projections, and for what is asked of the history. */
  readonly pools: { readonly reads: Pool; readonly writes: Pool; readonly projecting: Pool; readonly history: Pool }
  /** Takes what has been opened, to be closed in the opposite order. */
  opened(name: string, close: () => Promise<void>): void
}
/** Expires by itself: EventStoreDB by `$maxAge`, Cassandra by TTL. */
const byItself = async (): Promise<number> => 0

/**
 * Opens the engine that is configured behind each port, and waits for those that do not answer yet.
 * Throws KolbakError `engine_changed` where another one stood there the last time.
 */
export async function openEngines(deps: EngineDeps): Promise<Engines> {
  const [events, messages, history] = [await openEvents(deps), await openMessages(deps), await openHistory(deps)]
  return {
    store: events.store,
    bus: messages.bus,
    deliveryLog: history.deliveryLog,
    retention: { events: events.expire, messages: messages.expire, history: history.expire },
    committed: messages.committed,
  }
}

/** The event store alone. */
export async function openEvents(deps: EngineDeps) {
  if (deps.config.EVENTSTOREDB_URL === undefined) return onPostgres.events(deps)
  const connected = await connect.events(deps)
  await recordEngine(deps.pools.reads, 'event_store', 'eventstoredb', connected.store.identity)
  return connected
}
async function openMessages(deps: EngineDeps) {
  if (deps.config.KAFKA_BROKERS === undefined) return onPostgres.messages(deps)
  const connected = await connect.messages(deps)
  await recordEngine(deps.pools.reads, 'message_bus', 'kafka', connected.bus.identity)
  return connected
}
async function openHistory(deps: EngineDeps) {
  if (deps.config.CASSANDRA_CONTACT_POINTS === undefined) return onPostgres.history(deps)
  const connected = await connect.history(deps)
  await recordEngine(deps.pools.reads, 'delivery_log', 'cassandra', connected.deliveryLog.identity)
  return connected
}

/** Each port on Postgres; and how one is closed that moves elsewhere. */
export const onPostgres = {
  closing,
  async events({ config, pools, log, opened }: EngineDeps) {
    const store = createPostgresEventStore({
      pool: pools.writes,
      identity: await recordEngine(pools.reads, 'event_store', 'postgres'),
      dayStreamMaxAgeSeconds: secondsKept(config),
      log,
    })
    opened('event store', store.close)
    return { store, expire: async (day: string, passed: Checkpoint) => (await store.dropDaysBefore(day, passed)).length }
  },
  async messages({ config, pools, leases, consumers, log, opened }: EngineDeps) {
    const bus = await createPostgresMessageBus({
      pool: pools.writes,
      identity: await recordEngine(pools.reads, 'message_bus', 'postgres'),
      partitions: config.KOLBAK_PARTITIONS,
      leases,
      consumers,
      log,
    })
    opened('message bus', bus.close)
    return {
      bus,
      expire: async (day: string, unread: ReadonlyMap<number, bigint>) => (await bus.dropDaysBefore(day, unread)).length,
      committed() {},
    }
  },
  async history({ config, pools, log, opened }: EngineDeps) {
    const deliveryLog = await createPostgresDeliveryLog({
      pool: pools.projecting,
      readers: pools.history,
      identity: await recordEngine(pools.reads, 'delivery_log', 'postgres'),
      // The rows of the Postgres bus are their own archive.
      bodiesIn: config.KAFKA_BROKERS === undefined ? 'bus' : 'own',
      log,
    })
    opened('delivery log', deliveryLog.close)
    return { deliveryLog, expire: async (day: string) => (await deliveryLog.dropDaysBefore(day)).length }
  },
}

const secondsKept = (config: Config): number => config.KOLBAK_RETENTION_DAYS * 86_400

/**
 * Each port on the engine made for it, waited for, whatever stood there the last time. Their clients are loaded only where
 * they are used: they are large.
 */
export const connect = {
  async events({ config, patience, log, opened }: EngineDeps) {
    const { createEventStoreDbStore } = await import('../adapters/eventstoredb/event-store.ts')
    const open = () => createEventStoreDbStore({ url: config.EVENTSTOREDB_URL ?? '', dayStreamMaxAgeSeconds: secondsKept(config), log })
    const store = await whenThere('eventstoredb', open, patience)
    opened('event store', store.close)
    return { store, expire: byItself }
  },
  async messages({ config, patience, log, opened }: EngineDeps) {
    const { createKafkaMessageBus } = await import('../adapters/kafka/message-bus.ts')
    const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username = '', KAFKA_SASL_PASSWORD: password = '' } = config
    const open = () =>
      createKafkaMessageBus({
        brokers: config.KAFKA_BROKERS ?? [],
        topic: config.KAFKA_TOPIC,
        groupId: config.KAFKA_GROUP_ID,
        partitions: config.KOLBAK_PARTITIONS,
        replicationFactor: config.KAFKA_REPLICATION_FACTOR,
        minInSyncReplicas: config.KAFKA_MIN_INSYNC_REPLICAS,
        retentionMs: config.KAFKA_RETENTION_HOURS * 3_600_000,
        maxMessageBytes: config.KAFKA_MAX_MESSAGE_BYTES,
        sessionTimeoutMs: config.KAFKA_SESSION_TIMEOUT_MS,
        ...(config.KAFKA_SSL ? { ssl: pemFiles(config, { ca: 'KAFKA_SSL_CA', cert: 'KAFKA_SSL_CERT', key: 'KAFKA_SSL_KEY' }) } : {}),
        ...(mechanism === undefined ? {} : { sasl: { mechanism, username, password } }),
        log,
      })
    const bus = await whenThere('kafka', open, patience)
    opened('message bus', bus.close)
    return {
      bus,
      expire: async (_day: string, unread: ReadonlyMap<number, bigint>) => bus.expire(unread),
      committed(offsets: ReadonlyMap<number, bigint>) {
        // The truth is in Postgres, and the next call tells it all again.
        bus.committed(offsets).catch((error: unknown) => log.debug({ error }, 'bus.offsets_not_told'))
      },
    }
  },
  async history({ config, patience, log, opened }: EngineDeps) {
    const { createCassandraDeliveryLog } = await import('../adapters/cassandra/delivery-log.ts')
    const { CASSANDRA_DATACENTER: localDataCenter = '', CASSANDRA_USERNAME: username, CASSANDRA_PASSWORD: password = '' } = config
    const open = () =>
      createCassandraDeliveryLog({
        contactPoints: config.CASSANDRA_CONTACT_POINTS ?? [],
        localDataCenter,
        keyspace: config.CASSANDRA_KEYSPACE,
        replication: replicationOf(config.CASSANDRA_REPLICATION, localDataCenter),
        consistency: config.CASSANDRA_CONSISTENCY,
        retentionSeconds: secondsKept(config),
        ...(username === undefined ? {} : { credentials: { username, password } }),
        ...(config.CASSANDRA_SSL ? { ssl: pemFiles(config, { ca: 'CASSANDRA_SSL_CA' }) } : {}),
        log,
      })
    const deliveryLog = await whenThere('cassandra', open, patience)
    opened('delivery log', deliveryLog.close)
    return { deliveryLog, expire: byItself }
  },
}

/** `3` is so many copies in our data centre; `dc1:3,dc2:2` names each. */
const replicationOf = (text: string, dataCenter: string): Record<string, string | number> => ({
  class: 'NetworkTopologyStrategy',
  ...Object.fromEntries(
    (text.includes(':') ? text.split(',') : [`${dataCenter}:${text}`]).map((part) => {
      const [name = '', copies = ''] = part.trim().split(':')
      return [name, Number(copies)]
    }),
  ),
})

type PemVariable = 'KAFKA_SSL_CA' | 'KAFKA_SSL_CERT' | 'KAFKA_SSL_KEY' | 'CASSANDRA_SSL_CA'
/** The contents of the PEM files that variables name, by what TLS calls them. Throws KolbakError `invalid_config`. */
function pemFiles(config: Config, files: Record<string, PemVariable>): Record<string, string> {
  const contents: Record<string, string> = {}
  for (const [name, variable] of Object.entries(files)) {
    const path = config[variable]
    if (path === undefined) continue
    try {
      contents[name] = readFileSync(path, 'utf8')
    } catch (cause) {
      throw new KolbakError('invalid_config', `${variable}: ${path} cannot be read.`, { cause })
    }
  }
  return contents
}
