import type { ConnectionOptions } from 'node:tls'
import { type Admin, type Consumer, type ConsumerConfig, type ISocketFactory, Kafka, type LogEntry, logLevel, type Producer } from 'kafkajs'
import { KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import './request-queue.ts'
import { createTrackedSockets } from './sockets.ts'

export interface KafkaConnection {
  /** `host:port` of some brokers. The client learns the others from them. */
  readonly brokers: readonly string[]
  /** The name of this process in Kafka's logs and quotas. Default `kolbak`. */
  readonly clientId?: string
  readonly ssl?: ConnectionOptions | boolean | undefined
  readonly sasl?:
    | { readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; readonly username: string; readonly password: string }
    | undefined
  /** Milliseconds after which a request without a response fails. Default 5,000. */
  readonly requestTimeoutMs?: number
  /** Makes the connections. Tests pass a factory that can cut them. */
  readonly socketFactory?: ISocketFactory
  readonly log: Log
}

export const defaultRequestTimeoutMs = 5_000

/** Delays of 100, 200, 400, 800 and 1,000 ms. They are bounded, so that an unreachable broker is an error within seconds. */
const retry = { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5 }

/**
 * Milliseconds after which a client asks again which partitions the topic has. kafkajs waits 5 minutes by default, and until then no member reads the
 * partitions that were added.
 */
const metadataMaxAge = 10_000

/** Makes producers, consumers and admins, each with its own connections. A connection that gets no response is closed and replaced. */
export interface Clients {
  admin(): Admin
  producer(): Producer
  consumer(config: ConsumerConfig): Consumer
}

export function createKafkaClients(options: KafkaConnection): Clients {
  const watched = <C extends Admin | Consumer | Producer>(make: (kafka: Kafka) => C): C => {
    const sockets = createTrackedSockets(options.socketFactory)
    const client = make(createClient(options, sockets.factory))
    const onTimeout = ({ payload: { broker } }: { payload: { broker: string } }) => sockets.breakOff(broker)
    // The cast is needed because the three kinds of client have the same event, but unrelated types.
    ;(client.on as (name: string, listener: typeof onTimeout) => void)(client.events.REQUEST_TIMEOUT, onTimeout)
    return client
  }
  return {
    admin: () => watched((client) => client.admin()),
    producer: () =>
      watched((client) =>
        client.producer({
          // The partitioner does nothing, because each record names its partition.
          createPartitioner:
            () =>
            ({ message }) =>
              message.partition ?? 0,
          allowAutoTopicCreation: false,
          metadataMaxAge,
          idempotent: false,
          retry: { ...retry, retries: 0 }, // the writer itself sends a failed batch again, to another partition if it can
        }),
      ),
    consumer: (config) => watched((client) => client.consumer({ metadataMaxAge, ...config })),
  }
}

function createClient(options: KafkaConnection, socketFactory: ISocketFactory): Kafka {
  const { brokers, clientId = 'kolbak', ssl, sasl, requestTimeoutMs = defaultRequestTimeoutMs, log } = options
  return new Kafka({
    brokers: [...brokers],
    clientId,
    connectionTimeout: 3_000,
    authenticationTimeout: 5_000,
    requestTimeout: requestTimeoutMs,
    retry,
    logLevel: logLevel.INFO,
    logCreator: () => (entry) => tell(log, entry),
    ...(ssl === undefined ? {} : { ssl }),
    // The cast is needed because the types of kafkajs differ for each mechanism.
    ...(sasl === undefined ? {} : { sasl: sasl as { mechanism: 'plain'; username: string; password: string } }),
    socketFactory,
  })
}

/**
 * Logs the reports of kafkajs. Only these fields are logged, because others could contain bytes of a record. Each report is logged one level
 * lower, because kafkajs reports an error before it repeats the request.
 */
function tell(log: Log, { level, namespace, log: entry }: LogEntry): void {
  const { message, broker, groupId, memberId, topic, partition, retryCount, error } = entry
  const fields = { client: namespace, said: message, broker, groupId, memberId, topic, partition, retryCount }
  const text = typeof error === 'string' ? { ...fields, cause: error } : fields
  if (level === logLevel.ERROR) log.warn(text, 'kafka.client')
  else if (level === logLevel.WARN) log.info(text, 'kafka.client')
  else log.debug(text, 'kafka.client')
}

/** Returns whether a request failed for a reason that may pass, so that it is worth sending again. */
export const isPassing = (error: unknown): boolean =>
  find(error, (cause) =>
    cause.name === 'KafkaJSNumberOfRetriesExceeded' || ('retriable' in cause && cause.retriable === true) ? true : undefined,
  ) === true

/** Returns the name of a protocol error, such as `MESSAGE_TOO_LARGE`, from the error or one of its causes. */
export function protocolErrorOf(error: unknown): string | undefined {
  return find(error, (cause) => ('type' in cause && typeof cause.type === 'string' ? cause.type : undefined))
}

/** Returns the error of a failed connection, with a sentence that says what to check. */
export function connectError(error: unknown, brokers: readonly string[]): KolbakError {
  const where = brokers.join(', ')
  const isLogin = find(error, (cause) => (cause.name === 'KafkaJSSASLAuthenticationError' ? true : undefined))
  if (isLogin)
    return new KolbakError('kafka_login_refused', `Kafka (${where}) refuses the login: check the mechanism, name and password.`, {
      cause: error,
    })
  const isCertificate = find(error, (cause) => (/certificate|self.signed/i.test(cause.message) ? true : undefined))
  if (isCertificate)
    return new KolbakError(
      'kafka_certificate_refused',
      `The certificate of Kafka (${where}) is not trusted: set KAFKA_SSL_CA to the file of its authority, and name its brokers as the certificate does.`,
      { cause: error },
    )
  return new KolbakError(
    'kafka_unreachable',
    `No broker of Kafka responds correctly (${where}): check that it runs, check the addresses, and check whether it uses TLS.`,
    { cause: error },
  )
}

function find<T>(error: unknown, probe: (error: Error) => T | undefined): T | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const result = probe(cause)
    if (result !== undefined) return result
  }
  return undefined
}
