import { availableParallelism } from 'node:os'
import { longestChain } from '../events/retry-chain.ts'
import { parseSubnet, type Subnet } from '../lib/addresses.ts'
import { secondsPerDay } from '../lib/days.ts'
import { KolbakError, withFullStop } from '../lib/errors.ts'
import { parseWitness, type WitnessAddress } from '../lib/witness.ts'
import { flag, hosts, integer, invalid, key, minLength, oneOf, postgresUrl, text, textOr, trustProxy, type Variable } from './variable.ts'

export const roles = ['api', 'dispatcher', 'projector'] as const
export type Role = (typeof roles)[number]

/** All variables that Kolbak reads. The table in docs/configuration.md is made from them. */
export const variables = {
  PORT: integer('Port of the HTTP API. 0 chooses a free port.', 3000, { max: 65535 }),
  HOST: textOr('Address on which the HTTP API listens.', '127.0.0.1'),
  DATABASE_URL: postgresUrl('URL of a Postgres (16 or newer) to use instead of the embedded one.'),
  KOLBAK_DATA_DIR: textOr('Folder of the embedded Postgres and of the generated keys.', '.kolbak'),
  KOLBAK_ROLES: {
    doc: 'Roles of this process, comma-separated: `api`, `dispatcher`, `projector`.',
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
    doc: 'Number of processes (1 to 64) that share the port. `auto` is one process for every two cores. If DATABASE_URL is set, it is a single process.',
    initial: 'auto' as number | 'auto',
    parse(value: string): number | 'auto' {
      if (value === 'auto') return value
      if (!/^\d+$/.test(value) || Number(value) < 1 || Number(value) > 64) throw invalid('must be auto, or a whole number from 1 to 64')
      return Number(value)
    },
  },
  KOLBAK_MASTER_KEY: key('Key that wraps the data keys: 32 bytes in base64 or hex. Required with DATABASE_URL, otherwise generated.'),
  KOLBAK_JWT_SECRET: key(
    'Secret that signs bearer tokens: at least 32 bytes in base64 or hex. Required with DATABASE_URL, otherwise generated.',
  ),
  KOLBAK_ADMIN_CLIENT_ID: {
    ...text('Client id of the admin client of the tenant `default`. Admin clients of earlier starts stay valid until they are revoked.'),
    parse(value: string) {
      if (!/^[A-Za-z0-9_.-]{1,255}$/.test(value)) throw invalid('must be 1-255 of A-Z a-z 0-9 _ . -')
      return value
    },
  },
  KOLBAK_ADMIN_CLIENT_SECRET: minLength(
    text('Secret of the admin client, at least 32 characters. A new value rotates the secret.', undefined, true),
    32,
  ),
  KOLBAK_RETRY_DELAYS: {
    doc: 'Seconds from each failed attempt to the next, comma-separated. After the last attempt the delivery is a dead letter.',
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
    doc: 'Subnets (CIDR, comma-separated) that callback URLs may reach although they are not public. Plain http is allowed there.',
    initial: [] as readonly Subnet[],
    initialDoc: 'none',
    parse: (value: string): readonly Subnet[] => value.split(',').map(parseSubnet),
  },
  KOLBAK_ALLOW_HTTP: flag('Allows callback URLs with plain http everywhere.'),
  KOLBAK_CONNECT_TIMEOUT_MS: integer('Time limit for connecting to a receiver.', 5_000, { min: 1 }),
  KOLBAK_REQUEST_TIMEOUT_MS: integer('Time limit for the whole response of a receiver.', 15_000, { min: 1 }),
  KOLBAK_MAX_IN_FLIGHT: integer('Maximum number of requests in flight of one dispatcher.', 256, { min: 1, max: 10_000 }),
  KOLBAK_MAX_WAITING_BYTES: integer(
    'Maximum number of bytes of deliveries that wait in the memory of one dispatcher. What does not fit is parked in Postgres, which takes longer.',
    16 << 20,
    { min: 1 << 16, max: 1 << 30 },
  ),
  KOLBAK_MAX_IN_FLIGHT_PER_WEBHOOK: integer(
    'Maximum number of requests in flight to one webhook, over all dispatchers. ' +
      'Each dispatcher may always have one request in flight, so with more dispatchers than this number the limit is the number of dispatchers.',
    10,
    {
      min: 1,
      max: 10_000,
    },
  ),
  KOLBAK_MAX_IN_FLIGHT_PER_HIGH_THROUGHPUT_WEBHOOK: integer(
    'Maximum number of requests in flight to one webhook that keeps responding within 100 ms, over all dispatchers.',
    32,
    {
      min: 1,
      max: 10_000,
    },
  ),
  KOLBAK_RETENTION_DAYS: integer(
    'Days for which messages, history and message index are kept. Must exceed the longest chain of retries.',
    30,
    {
      min: 1,
      max: 3_650,
    },
  ),
  KOLBAK_MAX_WEBHOOKS_PER_TENANT: integer('Maximum number of webhooks of a tenant. A tenant can have its own limit.', 1_000, { min: 1 }),
  KOLBAK_MAX_PAYLOAD_DEPTH: integer('Maximum number of levels of objects and arrays in a payload.', 128, { min: 1, max: 1_000 }),
  KOLBAK_EVENTS_PER_SECOND: integer(
    'Events a second that a client may post, over all processes. A tenant can have its own limit.',
    20_000,
    {
      min: 1,
      max: 1_000_000_000,
    },
  ),
  KOLBAK_REQUESTS_PER_SECOND: integer(
    'Requests a second that a client or key may make on all other routes, over all processes. A tenant can have its own limit.',
    50,
    {
      min: 1,
      max: 1_000_000_000,
    },
  ),
  KOLBAK_TOKEN_TTL_SECONDS: integer('Seconds for which a bearer token is valid.', 3_600, { min: 1, max: 86_400 }),
  KOLBAK_PARTITIONS: integer('Partitions of the message bus. The number can only grow.', 8, { min: 1, max: 1_024 }),
  KOLBAK_LEASE_MS: integer(
    'Duration of a lease on a partition or projection. Another process takes over from a dead one within this time.',
    10_000,
    { min: 100 },
  ),
  KOLBAK_CLAIM_MS: integer('Duration of a claim on a scheduled delivery. Must exceed the time limits of a request.', 60_000, { min: 100 }),
  KOLBAK_DRAIN_TIMEOUT_MS: integer('Time limit for finishing the work in flight after SIGTERM.', 20_000),
  KOLBAK_LOG_HEAD_SECONDS: integer('Seconds between two signed heads of the audit log, if it has grown.', 10, { min: 1, max: 3_600 }),
  KOLBAK_LOG_BATCH_SECONDS: integer('Seconds after which attempts and routing events are sealed in a batch of the audit log.', 60, {
    min: 1,
    max: 3_600,
  }),
  KOLBAK_LOG_LIST_SECONDS: integer('Seconds between two lists of all streams in the audit log, if it has grown.', 86_400, {
    min: 1,
    max: 604_800,
  }),
  KOLBAK_LOG_ANCHOR: text(
    'File to which each head of the audit log is appended. Put it on another disk or machine than the database. Default: `log-anchor.jsonl` in the data folder.',
  ),
  KOLBAK_LOG_WITNESSES: {
    doc: 'Witnesses that sign the heads of the audit log, comma-separated, each as `key@url`. `kolbak witness` is one.',
    initial: [] as readonly WitnessAddress[],
    initialDoc: '',
    parse: (value: string): readonly WitnessAddress[] =>
      value.split(',').map((witness) => {
        try {
          return parseWitness(witness.trim())
        } catch {
          throw invalid(`holds ${JSON.stringify(witness.trim())}, which must be the key of a witness, @, and its URL`)
        }
      }),
  },
  KOLBAK_LOG_WITNESS_SECONDS: integer('Seconds between two requests to the witnesses, if the audit log has grown.', 60, {
    min: 1,
    max: 86_400,
  }),
  KOLBAK_LOG_SEND_SECONDS: integer(
    'Seconds between two messages `kolbak.log.head` to webhooks that name this event, if the audit log has grown.',
    900,
    { min: 1, max: 86_400 },
  ),
  KOLBAK_TRUST_PROXY: trustProxy(
    'Proxies whose X-Forwarded-For is trusted: a number of hops, or subnets, as for the Express setting "trust proxy".',
  ),
  KOLBAK_UI: flag('Serves the dashboard at `/ui/`.', true),
  KOLBAK_METRICS_TOKEN: minLength(
    text('Bearer token for /metrics and the details of /health, at least 16 characters.', undefined, true),
    16,
  ),
  EVENTSTOREDB_URL: {
    ...text(
      'URL of an EventStoreDB to use as the event store: `esdb://user:password@host:2113` (`?tls=false` without TLS).',
      undefined,
      true,
    ),
    parse(value: string) {
      if (!/^(esdb|kurrentdb)(\+discover)?:\/\/./.test(value))
        throw invalid('must be a connection string such as esdb://localhost:2113?tls=false')
      return value
    },
  },
  KAFKA_BROKERS: hosts('Brokers of a Kafka to use as the message bus: `host:port`, comma-separated.'),
  KAFKA_TOPIC: {
    ...textOr('Topic of the messages in Kafka. It is created if it is missing.', 'messages'),
    parse(value: string) {
      if (!/^[A-Za-z0-9._-]{1,200}$/.test(value)) throw invalid('must be 1-200 of A-Z a-z 0-9 . _ -')
      return value
    },
  },
  KAFKA_GROUP_ID: textOr('Consumer group in Kafka, the same for all processes.', 'kolbak'),
  KAFKA_REPLICATION_FACTOR: integer('Copies of each partition of the topic. Used when the topic is created.', 3, { min: 1, max: 32_767 }),
  KAFKA_MIN_INSYNC_REPLICAS: integer('Copies that must have a message before it is accepted. Used when the topic is created.', 2, {
    min: 1,
    max: 32_767,
  }),
  KAFKA_RETENTION_HOURS: integer('Hours after which Kolbak deletes a record from Kafka. Unread records are kept longer.', 168, {
    min: 1,
    max: 87_600,
  }),
  KAFKA_MAX_MESSAGE_BYTES: integer('Setting `max.message.bytes` of the topic. Used when the topic is created.', 4 << 20, {
    min: (2 << 20) + 65_536,
  }),
  KAFKA_SESSION_TIMEOUT_MS: integer(
    'Time after which a silent dispatcher loses its Kafka partitions. Brokers refuse less than their `group.min.session.timeout.ms` (6 s).',
    10_000,
    { min: 500 },
  ),
  KAFKA_SSL: flag('Connects to Kafka with TLS.'),
  KAFKA_SSL_CA: text('File (PEM) with the authorities that certify the Kafka brokers. Default: those of the system.'),
  KAFKA_SSL_CERT: text('File (PEM) with the client certificate of Kolbak, if Kafka requires one.'),
  KAFKA_SSL_KEY: text('File (PEM) with the private key of KAFKA_SSL_CERT.'),
  KAFKA_SASL_MECHANISM: oneOf('SASL mechanism of the login to Kafka: `plain`, `scram-sha-256` or `scram-sha-512`.', undefined, [
    'plain',
    'scram-sha-256',
    'scram-sha-512',
  ] as const),
  KAFKA_SASL_USERNAME: text('User name of the login to Kafka.'),
  KAFKA_SASL_PASSWORD: text('Password of the login to Kafka.', undefined, true),
  CASSANDRA_CONTACT_POINTS: hosts('Contact points of a Cassandra to use as the delivery log: `host` or `host:port`, comma-separated.'),
  CASSANDRA_DATACENTER: text('Cassandra data centre of this process. Required with CASSANDRA_CONTACT_POINTS.'),
  CASSANDRA_KEYSPACE: {
    ...textOr('Keyspace in Cassandra. It is created if it is missing.', 'kolbak'),
    parse(value: string) {
      if (!/^[a-z][a-z0-9_]{0,47}$/.test(value)) throw invalid('must be 1-48 of a-z 0-9 _, beginning with a letter')
      return value
    },
  },
  CASSANDRA_REPLICATION: {
    doc: 'Copies in each data centre (`dc1:3,dc2:3`), or copies in the data centre of this process (`3`). Used when the keyspace is created.',
    initial: '3',
    parse(value: string) {
      if (!/^(\d+|[A-Za-z0-9_.-]+:\d+(,\s*[A-Za-z0-9_.-]+:\d+)*)$/.test(value))
        throw invalid('must be a number, or a list such as dc1:3,dc2:3')
      return value
    },
  },
  CASSANDRA_CONSISTENCY: oneOf('Consistency level of reads and writes in Cassandra.', 'local_quorum', [
    'one',
    'local_one',
    'quorum',
    'local_quorum',
    'each_quorum',
    'all',
  ] as const),
  CASSANDRA_USERNAME: text('User name of the login to Cassandra.'),
  CASSANDRA_PASSWORD: text('Password of the login to Cassandra.', undefined, true),
  CASSANDRA_SSL: flag('Connects to Cassandra with TLS.'),
  CASSANDRA_SSL_CA: text('File (PEM) with the authorities that certify the Cassandra nodes. Default: those of the system.'),
  KOLBAK_LOG_LEVEL: oneOf('Lowest level that is logged: `debug`, `info`, `warn`, `error` or `silent`.', 'info', [
    'debug',
    'info',
    'warn',
    'error',
    'silent',
  ] as const),
  KOLBAK_LOG_FORMAT: oneOf(
    'Format of the log: `json`, `text` (lines for people), or `auto`, which is `text` on a terminal and `json` elsewhere.',
    'auto',
    ['auto', 'json', 'text'] as const,
  ),
} satisfies Record<string, Variable<unknown>>

/** For each variable, the variables that are required if it is set. */
const requiredWith: Partial<Record<keyof Variables, readonly (keyof Variables)[]>> = {
  CASSANDRA_CONTACT_POINTS: ['CASSANDRA_DATACENTER'],
  CASSANDRA_USERNAME: ['CASSANDRA_PASSWORD'],
  CASSANDRA_PASSWORD: ['CASSANDRA_USERNAME'],
  KAFKA_SASL_MECHANISM: ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'],
  KAFKA_SASL_USERNAME: ['KAFKA_SASL_MECHANISM'],
  KAFKA_SASL_PASSWORD: ['KAFKA_SASL_MECHANISM'],
  KAFKA_SSL_CERT: ['KAFKA_SSL_KEY'],
  KAFKA_SSL_KEY: ['KAFKA_SSL_CERT'],
}

/** Variables that only the command line `kolbak` reads. They may be set in the same environment as the service. */
const commandLineVariables = new Set(['KOLBAK_URL', 'KOLBAK_CLIENT_ID', 'KOLBAK_CLIENT_SECRET', 'KOLBAK_API_KEY'])

type Variables = typeof variables
export type Config = { readonly [N in keyof Variables]: ReturnType<Variables[N]['parse']> | Variables[N]['initial'] }

/**
 * Reads and validates the environment once. Throws KolbakError `invalid_config`, whose details name every faulty variable. An unknown
 * variable that begins with KOLBAK_ is also faulty.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const details: { path: string; message: string }[] = []
  const fault = (path: string, message: string) => details.push({ path, message })
  const values: Record<string, unknown> = {}
  for (const [name, variable] of Object.entries(variables)) {
    const value = env[name]
    try {
      values[name] = value === undefined || value === '' ? variable.initial : variable.parse(value)
    } catch (error) {
      fault(name, error instanceof Error ? error.message : String(error))
    }
  }
  for (const name of Object.keys(env))
    if (name.startsWith('KOLBAK_') && !(name in variables) && !commandLineVariables.has(name))
      fault(name, 'is not a variable of Kolbak: see docs/configuration.md')
  const config = Object.freeze(values) as Config
  if (details.length === 0) {
    if (config.DATABASE_URL !== undefined) {
      for (const name of ['KOLBAK_MASTER_KEY', 'KOLBAK_JWT_SECRET'] as const)
        if (config[name] === undefined) fault(name, 'is required with DATABASE_URL: keys are generated only for the embedded Postgres')
    }
    for (const [engine, needed] of Object.entries(requiredWith))
      for (const name of needed)
        if (config[engine as keyof Config] !== undefined && config[engine as keyof Config] !== false && config[name] === undefined)
          fault(name, `is required with ${engine}`)
    if (config.KAFKA_SSL === false)
      for (const name of ['KAFKA_SSL_CA', 'KAFKA_SSL_CERT', 'KAFKA_SSL_KEY'] as const)
        if (config[name] !== undefined) fault(name, 'has an effect only with KAFKA_SSL=true')
    if (config.CASSANDRA_SSL === false && config.CASSANDRA_SSL_CA !== undefined)
      fault('CASSANDRA_SSL_CA', 'has an effect only with CASSANDRA_SSL=true')
    if (/^(local_)?one$/.test(config.CASSANDRA_CONSISTENCY) && config.CASSANDRA_REPLICATION !== '1')
      fault(
        'CASSANDRA_CONSISTENCY',
        'must not be one or local_one when CASSANDRA_REPLICATION is above 1, because a read could miss a write: use local_quorum',
      )
    if (config.KAFKA_MIN_INSYNC_REPLICAS > config.KAFKA_REPLICATION_FACTOR)
      fault('KAFKA_MIN_INSYNC_REPLICAS', 'must not be above KAFKA_REPLICATION_FACTOR: nothing could be accepted')
    if ((config.KOLBAK_ADMIN_CLIENT_ID === undefined) !== (config.KOLBAK_ADMIN_CLIENT_SECRET === undefined))
      fault('KOLBAK_ADMIN_CLIENT_SECRET', 'needs KOLBAK_ADMIN_CLIENT_ID: set both or neither')
    if (longestChain(config.KOLBAK_RETRY_DELAYS, config.KOLBAK_REQUEST_TIMEOUT_MS / 1_000) >= config.KOLBAK_RETENTION_DAYS * secondsPerDay)
      fault('KOLBAK_RETRY_DELAYS', 'takes longer than KOLBAK_RETENTION_DAYS keeps the payload')
    if (config.KOLBAK_CLAIM_MS <= config.KOLBAK_REQUEST_TIMEOUT_MS + config.KOLBAK_CONNECT_TIMEOUT_MS)
      fault('KOLBAK_CLAIM_MS', 'must be longer than KOLBAK_CONNECT_TIMEOUT_MS and KOLBAK_REQUEST_TIMEOUT_MS together')
  }
  if (details.length > 0)
    throw new KolbakError('invalid_config', details.map(({ path, message }) => withFullStop(`${path} ${message}`)).join(' '), { details })
  return config
}

/**
 * Returns the number of processes to run. `auto` means one process for every two cores, because a process keeps about one core busy and Postgres
 * needs the other one. With DATABASE_URL, `auto` means one process, because Kolbak does not know how many connections this Postgres allows.
 */
export const processCount = ({ KOLBAK_PROCESSES: configured, DATABASE_URL }: Config, cores = availableParallelism()): number =>
  configured !== 'auto' ? configured : DATABASE_URL === undefined ? Math.max(1, Math.floor(cores / 2)) : 1

/** Returns the configuration for the log: a secret appears as `set`, a subnet in CIDR notation. */
export const describeConfig = (config: Config): Record<string, unknown> => ({
  ...Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => {
      const value = config[name as keyof Config]
      return [name, 'secret' in variable && variable.secret && value !== undefined ? 'set' : value]
    }),
  ),
  KOLBAK_ALLOWED_SUBNETS: config.KOLBAK_ALLOWED_SUBNETS.map(([address, bits]) => `${address}/${bits}`),
})

/** Returns the account that called sudo, or undefined if the process was not started by sudo. */
export const callerOfSudo = (env: Readonly<Record<string, string | undefined>> = process.env): string | undefined =>
  env.SUDO_USER === '' ? undefined : env.SUDO_USER
