import type { Admin } from 'kafkajs'
import { type MessageRecord, placeOf } from '../../events/message-record.ts'
import { KolbakError } from '../../lib/errors.ts'
import { BusUnavailable, bytesOfRecord, type MessageBus } from '../../ports/message-bus.ts'
import { connectError, createKafkaClients, defaultRequestTimeoutMs, type KafkaConnection } from './client.ts'
import { createGroupConsumer } from './consumer.ts'
import { createRecordWriter, type Writer } from './produce.ts'
import { busBounds, expireRecords } from './retention.ts'
import { ensureTopic, type TopicOptions } from './topic.ts'

export interface KafkaMessageBusOptions extends KafkaConnection, TopicOptions {
  /** Name of the consumer group, which is the same for all processes. The members divide the partitions among them. */
  readonly groupId: string
  /** Milliseconds for which records are kept after they were produced (see `expire`). */
  readonly retentionMs: number
  /**
   * A member loses its partitions after this many milliseconds of silence. The brokers allow 6 s to 30 min. Default of this adapter: 30,000.
   * The service passes KAFKA_SESSION_TIMEOUT_MS (default 10,000).
   */
  readonly sessionTimeoutMs?: number
  /** The most records that may wait for the brokers. Beyond them `produce` throws BusFull. Default 20,000. */
  readonly maxWaiting?: number
  /** The most bytes of records that may wait for the brokers. Beyond them `produce` throws BusFull. Default 64 MiB. */
  readonly maxWaitingBytes?: number
  /**
   * Milliseconds after which a record that still waits for the brokers fails with BusUnavailable. Default 20,000. When a broker is lost, no partition
   * with a copy on it confirms records until Kafka has removed the broker from the in-sync replicas (9 s by default, 11 s measured under load).
   */
  readonly produceTimeoutMs?: number
  /** Milliseconds after which a fetch without records returns. Default 1,000. */
  readonly fetchWaitMs?: number
}
export interface KafkaMessageBus extends MessageBus {
  /**
   * Deletes the records that are older than `retentionMs` and were read. Returns the number of deleted records.
   * @param savedOffsets the saved offset of each partition; records of a missing partition are not deleted
   */
  expire(savedOffsets: ReadonlyMap<number, bigint>): Promise<number>
  /**
   * Reports saved offsets to the tools of Kafka. Nothing else depends on the report, so the caller may ignore errors.
   * @param saved the saved offset of each partition
   */
  committed(saved: ReadonlyMap<number, bigint>): Promise<void>
}

/**
 * Makes a bus whose records are in a topic of Kafka. The topic is created or extended if needed. Throws KolbakError `kafka_unreachable`,
 * `kafka_login_refused` and `kafka_certificate_refused` within seconds, `partitions_shrunk` when the topic has more partitions than
 * configured, `kafka_topic_refused` and `kafka_topic_unfit`.
 */
export async function createKafkaMessageBus(options: KafkaMessageBusOptions): Promise<KafkaMessageBus> {
  const { topic, partitions, retentionMs, groupId, log } = options
  const clients = createKafkaClients(options)
  const admin = clients.admin()
  let identity: string
  let writer: Writer
  try {
    identity = await connect(admin, options)
    await ensureTopic(admin, options, log)
    writer = await createRecordWriter({
      producer: clients.producer(),
      topic,
      partitions,
      owned: () => consumer.owned(),
      maxWaiting: options.maxWaiting ?? 20_000,
      maxWaitingBytes: options.maxWaitingBytes ?? 64 << 20,
      produceTimeoutMs: options.produceTimeoutMs ?? 20_000,
      requestTimeoutMs: options.requestTimeoutMs ?? defaultRequestTimeoutMs,
    })
  } catch (error) {
    await admin.disconnect()
    throw error instanceof KolbakError ? error : connectError(error, options.brokers)
  }
  const consumer = createGroupConsumer({
    clients,
    topic,
    partitions,
    groupId,
    sessionTimeoutMs: options.sessionTimeoutMs ?? 30_000,
    fetchWaitMs: options.fetchWaitMs ?? 1_000,
    async bounds(partition) {
      const bound = (await busBounds(admin, topic)).get(partition)
      if (bound === undefined) throw new Error(`Kafka does not know partition ${partition} of ${topic}`)
      return bound
    },
    log,
  })
  let closed = false

  return {
    identity,
    async produce(record: MessageRecord) {
      if (closed) throw new BusUnavailable('the bus is closed')
      const bytes = bytesOfRecord(record)
      const { partition, offset } = await writer.write(bytes)
      return placeOf(identity, partition, offset, 0)
    },
    consume: consumer.consume,
    async ends() {
      return new Map([...(await busBounds(admin, topic))].map(([partition, { high }]) => [partition, high]))
    },
    expire: (savedOffsets) => expireRecords(admin, topic, Date.now() - retentionMs, savedOffsets),
    async lag(saved) {
      const lagOf = (partition: number, { low, high }: { low: bigint; high: bigint }) => {
        const next = saved.get(partition) ?? 0n
        return Math.max(0, Number(high - (next > low ? next : low)))
      }
      return new Map([...(await busBounds(admin, topic))].map(([partition, bounds]) => [partition, lagOf(partition, bounds)]))
    },
    committed: consumer.commit,
    async close() {
      closed = true
      try {
        await writer.close()
      } finally {
        await admin.disconnect()
      }
    },
  }
}

/** Returns the identity of the bus. The id of the cluster is a part of it, because another cluster has other records. */
async function connect(admin: Admin, { topic, brokers }: KafkaMessageBusOptions): Promise<string> {
  let clusterId: string
  try {
    await admin.connect()
    clusterId = (await admin.describeCluster()).clusterId
  } catch (error) {
    throw connectError(error, brokers)
  }
  const identity = `kafka-${clusterId}-${topic}`
  if (!/^[\w.-]+$/.test(identity))
    throw new KolbakError('kafka_topic_refused', `"${topic}" cannot be the name of a topic: use only letters, digits, ".", "_" and "-".`)
  return identity
}
