import { availableParallelism } from 'node:os'
import { longestChain } from '../events/retry-chain.ts'
import { parseSubnet, type Subnet } from '../lib/addresses.ts'
import { KolbakError } from '../lib/errors.ts'
import { flag, integer, invalid, key, list, minLength, oneOf, text, textOr, type Variable } from './variable.ts'

export const roles = ['api', 'dispatcher', 'projector'] as const
export type Role = (typeof roles)[number]

/** Every variable that Kolbak reads; the table in the docs is made from this. */
export const variables = {
  PORT: integer('Port of the HTTP API; 0 takes a free one.', 3000, { max: 65535 }),
  HOST: textOr('Address it listens on.', '127.0.0.1'),
  DATABASE_URL: text('A Postgres (16 or newer) to use instead of the embedded one.', undefined, true),
  KOLBAK_DATA_DIR: textOr('Folder of the embedded Postgres and of generated keys.', '.kolbak'),
  KOLBAK_ROLES: {
    doc: 'What this process does: any of api, dispatcher, projector, comma-separated.',
    initial: roles as readonly Role[],
    initialDoc: 'api,dispatcher,projector',
    parse(value: string): readonly Role[] {
      const chosen = value.split(',').map((role) => role.trim())
      const unknown = chosen.find((role) => !roles.some((r) => r === role))
      if (unknown !== undefined) throw invalid(`holds ${JSON.stringify(unknown)}, which is none of ${roles.join(', ')}`)
      return roles.filter((role) => chosen.includes(role))
    },
  },
  KOLBAK_PROCESSES: {
    doc: 'How many processes do that, 1 to 64, sharing the port; `auto`: one for every two cores, and with DATABASE_URL one.',
    initial: 'auto' as number | 'auto',
    parse(value: string): number | 'auto' {
      if (value === 'auto') return value
      if (!/^\d+$/.test(value) || Number(value) < 1 || Number(value) > 64) throw invalid('must be auto, or a whole number from 1 to 64')
      return Number(value)
    },
  },
  KOLBAK_MASTER_KEY: key('Wraps the data keys; 32 bytes, base64 or hex. Required with DATABASE_URL, else generated.'),
  KOLBAK_JWT_SECRET: key('Signs bearer tokens; 32 bytes or more, base64 or hex. Required with DATABASE_URL, else generated.'),
  KOLBAK_ADMIN_CLIENT_ID: {
    ...text('Client id of the admin of tenant `default`.'),
    parse(value: string) {
      if (!/^[A-Za-z0-9_.-]{1,255}$/.test(value)) throw invalid('must be 1-255 of A-Z a-z 0-9 _ . -')
      return value
    },
  },
  KOLBAK_ADMIN_CLIENT_SECRET: minLength(
    text('Its secret, 32 characters or more; another one than before rotates it.', undefined, true),
    32,
  ),
  KOLBAK_RETRY_DELAYS: {
    doc: 'Seconds from each failed attempt to the next, comma-separated; after the last comes a dead letter.',
    initial: [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000] as readonly number[],
    initialDoc: '5,300,1800,7200,18000,36000,36000',
    parse(value: string): readonly number[] {
      const delays = value.split(',').map(Number)
      if (delays.length > 20 || delays.some((d) => !(d > 0 && d <= 604_800)))
        throw invalid('must be 1 to 20 numbers of seconds, each above 0 and up to 604800')
      return delays
    },
  },
  KOLBAK_ALLOWED_SUBNETS: {
    doc: 'Subnets (CIDR, comma-separated) that callback URLs may reach although they are not public, also by plain http.',
    initial: [] as readonly Subnet[],
    initialDoc: 'none',
    parse: (value: string): readonly Subnet[] => value.split(',').map(parseSubnet),
  },
  KOLBAK_ALLOW_HTTP: flag('Allows callback URLs with plain http: everywhere.'),
  KOLBAK_CONNECT_TIMEOUT_MS: integer('To connect to a receiver.', 5_000, { min: 1 }),
  KOLBAK_REQUEST_TIMEOUT_MS: integer("For a receiver's whole answer.", 15_000, { min: 1 }),
  KOLBAK_MAX_IN_FLIGHT: integer('Requests under way at once, per dispatcher.', 256, { min: 1, max: 10_000 }),
  KOLBAK_MAX_IN_FLIGHT_PER_WEBHOOK: integer('Requests under way at once to one webhook, over all dispatchers; each may have one.', 10, {
    min: 1,
    max: 10_000,
  }),
  KOLBAK_MAX_IN_FLIGHT_PER_QUICK_WEBHOOK: integer('The same of a webhook that goes on answering within 100 ms.', 32, {
    min: 1,
    max: 10_000,
  }),
  KOLBAK_RETENTION_DAYS: integer('How long messages, history and index are kept; longer than the longest chain of retries.', 30, {
    min: 1,
    max: 3_650,
  }),
  KOLBAK_MAX_WEBHOOKS_PER_TENANT: integer('Webhooks of a tenant that has no limit of its own.', 1_000, { min: 1 }),
  KOLBAK_EVENTS_PER_SECOND: integer(
    'Events a second that a client may post, over all processes; a tenant can have its own limit.',
    20_000,
    {
      min: 1,
      max: 1_000_000_000,
    },
  ),
  KOLBAK_REQUESTS_PER_SECOND: integer('Requests a second of a client or key on all other routes; likewise.', 50, {
    min: 1,
    max: 1_000_000_000,
  }),
  KOLBAK_TOKEN_TTL_SECONDS: integer('Life of a bearer token.', 3_600, { min: 1, max: 86_400 }),
  KOLBAK_PARTITIONS: integer('Partitions of the bus; can only grow.', 8, { min: 1, max: 1_024 }),
  KOLBAK_LEASE_MS: integer('Life of a lease on a partition or projection: how soon another process takes over.', 10_000, { min: 100 }),
  KOLBAK_CLAIM_MS: integer('Life of a claim on a scheduled delivery; longer than a request takes.', 60_000, { min: 100 }),
  KOLBAK_DRAIN_TIMEOUT_MS: integer('What is in flight may take so long after SIGTERM.', 20_000),
  KOLBAK_TRUST_PROXY: text('Whose X-Forwarded-For is believed: as Express\'s "trust proxy" (a number of hops, or subnets).'),
  KOLBAK_METRICS_TOKEN: minLength(
    text('A bearer token for /metrics and the details of /health, 16 characters or more.', undefined, true),
    16,
  ),
  EVENTSTOREDB_URL: {
    ...text('An EventStoreDB for the streams of events, as `esdb://user:password@host:2113` (`?tls=false` without TLS).', undefined, true),
    parse(value: string) {
      if (!/^(esdb|kurrentdb)(\+discover)?:\/\/./.test(value))
        throw invalid('must be a connection string such as esdb://localhost:2113?tls=false')
      return value
    },
  },
  KAFKA_BROKERS: list('A Kafka for the queue of messages: `host:port`, comma-separated.'),
  KAFKA_TOPIC: {
    ...textOr('Its topic; made when it is missing.', 'messages'),
    parse(value: string) {
      if (!/^[A-Za-z0-9._-]{1,200}$/.test(value)) throw invalid('must be 1-200 of A-Z a-z 0-9 . _ -')
      return value
    },
  },
  KAFKA_GROUP_ID: textOr('The group of its consumers, the same for all processes.', 'kolbak'),
  KAFKA_REPLICATION_FACTOR: integer('Copies of each partition, when the topic is made.', 3, { min: 1, max: 32_767 }),
  KAFKA_MIN_INSYNC_REPLICAS: integer('Copies that must have a message before it is accepted, when the topic is made.', 2, {
    min: 1,
    max: 32_767,
  }),
  KAFKA_RETENTION_HOURS: integer('How long what has been read stays in Kafka; what is unread is never dropped.', 168, {
    min: 1,
    max: 87_600,
  }),
  KAFKA_MAX_MESSAGE_BYTES: integer("The topic's `max.message.bytes`, when it is made.", 4 << 20, { min: (2 << 20) + 65_536 }),
  KAFKA_SESSION_TIMEOUT_MS: integer(
    'How soon a dispatcher that is silent loses its partitions; brokers take no less than their `group.min.session.timeout.ms` (6 s).',
    10_000,
    { min: 500 },
  ),
  KAFKA_SSL: flag('Speaks TLS to Kafka.'),
  KAFKA_SSL_CA: text('A file (PEM) of the authorities that its certificates are checked by; else those of the system.'),
  KAFKA_SSL_CERT: text('A file (PEM) of our own certificate, where Kafka asks for one.'),
  KAFKA_SSL_KEY: text('And of its key.'),
  KAFKA_SASL_MECHANISM: oneOf('How we log in to Kafka.', undefined, ['plain', 'scram-sha-256', 'scram-sha-512'] as const),
  KAFKA_SASL_USERNAME: text('With this name,'),
  KAFKA_SASL_PASSWORD: text('and this password.', undefined, true),
  CASSANDRA_CONTACT_POINTS: list('A Cassandra for payloads and the history of deliveries: `host` or `host:port`, comma-separated.'),
  CASSANDRA_DATACENTER: text('The data centre that this process is in. Required with CASSANDRA_CONTACT_POINTS.'),
  CASSANDRA_KEYSPACE: {
    ...textOr('Its keyspace; made when it is missing.', 'kolbak'),
    parse(value: string) {
      if (!/^[a-z][a-z0-9_]{0,47}$/.test(value)) throw invalid('must be 1-48 of a-z 0-9 _, beginning with a letter')
      return value
    },
  },
  CASSANDRA_REPLICATION: {
    doc: 'Copies in each data centre, as `dc1:3,dc2:3`, or a number of copies in this one, when the keyspace is made.',
    initial: '3',
    parse(value: string) {
      if (!/^(\d+|[A-Za-z0-9_.-]+:\d+(,\s*[A-Za-z0-9_.-]+:\d+)*)$/.test(value)) throw invalid('must be a number, or such as dc1:3,dc2:3')
      return value
    },
  },
  CASSANDRA_CONSISTENCY: oneOf('How many copies answer a read or write.', 'local_quorum', [
    'one',
    'local_one',
    'quorum',
    'local_quorum',
    'each_quorum',
    'all',
  ] as const),
  CASSANDRA_USERNAME: text('How we log in to Cassandra: this name,'),
  CASSANDRA_PASSWORD: text('and this password.', undefined, true),
  CASSANDRA_SSL: flag('Speaks TLS to Cassandra.'),
  CASSANDRA_SSL_CA: text('A file (PEM) of the authorities that its certificates are checked by; else those of the system.'),
  KOLBAK_LOG_LEVEL: oneOf('How much is logged.', 'info', ['debug', 'info', 'warn', 'error', 'silent'] as const),
} satisfies Record<string, Variable<unknown>>

/** What must be said when another variable is. */
const neededWith: Partial<Record<keyof Variables, readonly (keyof Variables)[]>> = {
  CASSANDRA_CONTACT_POINTS: ['CASSANDRA_DATACENTER'],
  CASSANDRA_USERNAME: ['CASSANDRA_PASSWORD'],
  CASSANDRA_PASSWORD: ['CASSANDRA_USERNAME'],
  KAFKA_SASL_MECHANISM: ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'],
  KAFKA_SASL_USERNAME: ['KAFKA_SASL_MECHANISM'],
  KAFKA_SASL_PASSWORD: ['KAFKA_SASL_MECHANISM'],
  KAFKA_SSL_CERT: ['KAFKA_SSL_KEY'],
  KAFKA_SSL_KEY: ['KAFKA_SSL_CERT'],
}

/** What `kolbak`, the command line, reads: they may stand in the same environment. */
const ofTheCommandLine = new Set(['KOLBAK_URL', 'KOLBAK_CLIENT_ID', 'KOLBAK_CLIENT_SECRET', 'KOLBAK_API_KEY'])

type Variables = typeof variables
export type Config = { readonly [N in keyof Variables]: ReturnType<Variables[N]['parse']> | Variables[N]['initial'] }

/**
 * Reads and validates the environment, once. Throws KolbakError `invalid_config` whose details name every faulty
 * variable, unknown ones with our prefix included.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const details: { path: string; message: string }[] = []
  const fault = (path: string, message: string) => details.push({ path, message })
  const read: Record<string, unknown> = {}
  for (const [name, variable] of Object.entries(variables)) {
    const value = env[name]
    try {
      read[name] = value === undefined || value === '' ? variable.initial : variable.parse(value)
    } catch (error) {
      fault(name, error instanceof Error ? error.message : String(error))
    }
  }
  for (const name of Object.keys(env))
    if (name.startsWith('KOLBAK_') && !(name in variables) && !ofTheCommandLine.has(name))
      fault(name, 'is not a variable that Kolbak knows: see docs/configuration.md')
  const config = Object.freeze(read) as Config
  if (details.length === 0) {
    if (config.DATABASE_URL !== undefined) {
      for (const name of ['KOLBAK_MASTER_KEY', 'KOLBAK_JWT_SECRET'] as const)
        if (config[name] === undefined) fault(name, 'is required with DATABASE_URL: keys are generated only for the embedded Postgres')
    }
    for (const [engine, needed] of Object.entries(neededWith))
      for (const name of needed)
        if (config[engine as keyof Config] !== undefined && config[engine as keyof Config] !== false && config[name] === undefined)
          fault(name, `is required with ${engine}`)
    if (config.KAFKA_SSL === false)
      for (const name of ['KAFKA_SSL_CA', 'KAFKA_SSL_CERT', 'KAFKA_SSL_KEY'] as const)
        if (config[name] !== undefined) fault(name, 'means something only with KAFKA_SSL=true')
    if (config.CASSANDRA_SSL === false && config.CASSANDRA_SSL_CA !== undefined)
      fault('CASSANDRA_SSL_CA', 'means something only with CASSANDRA_SSL=true')
    if (/^(local_)?one$/.test(config.CASSANDRA_CONSISTENCY) && config.CASSANDRA_REPLICATION !== '1')
      fault('CASSANDRA_CONSISTENCY', 'of one copy cannot be read back where CASSANDRA_REPLICATION is above 1: use local_quorum')
    if (config.KAFKA_MIN_INSYNC_REPLICAS > config.KAFKA_REPLICATION_FACTOR)
      fault('KAFKA_MIN_INSYNC_REPLICAS', 'must not be above KAFKA_REPLICATION_FACTOR: nothing could be accepted')
    if ((config.KOLBAK_ADMIN_CLIENT_ID === undefined) !== (config.KOLBAK_ADMIN_CLIENT_SECRET === undefined))
      fault('KOLBAK_ADMIN_CLIENT_SECRET', 'goes together with KOLBAK_ADMIN_CLIENT_ID: set both or neither')
    if (longestChain(config.KOLBAK_RETRY_DELAYS, config.KOLBAK_REQUEST_TIMEOUT_MS / 1_000) >= config.KOLBAK_RETENTION_DAYS * 86_400)
      fault('KOLBAK_RETRY_DELAYS', 'takes longer than KOLBAK_RETENTION_DAYS keeps the payload')
    if (config.KOLBAK_CLAIM_MS <= config.KOLBAK_REQUEST_TIMEOUT_MS + config.KOLBAK_CONNECT_TIMEOUT_MS)
      fault('KOLBAK_CLAIM_MS', 'must be longer than KOLBAK_CONNECT_TIMEOUT_MS and KOLBAK_REQUEST_TIMEOUT_MS together')
  }
  if (details.length > 0)
    throw new KolbakError('invalid_config', details.map(({ path, message }) => `${path} ${message}.`).join(' '), { details })
  return config
}

/**
 * How many processes are to run. By itself one for every two cores, since each keeps about one busy and Postgres the other; but
 * one on a Postgres that is given: how many connections that has is not ours to say.
 */
export const processCount = ({ KOLBAK_PROCESSES: given, DATABASE_URL }: Config, cores = availableParallelism()): number =>
  given !== 'auto' ? given : DATABASE_URL === undefined ? Math.max(1, Math.floor(cores / 2)) : 1

/** For the log at the start: secrets only as `set`, subnets as they are written. */
export const describeConfig = (config: Config): Record<string, unknown> => ({
  ...Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => {
      const value = config[name as keyof Config]
      return [name, 'secret' in variable && variable.secret && value !== undefined ? 'set' : value]
    }),
  ),
  KOLBAK_ALLOWED_SUBNETS: config.KOLBAK_ALLOWED_SUBNETS.map(([address, bits]) => `${address}/${bits}`),
})
