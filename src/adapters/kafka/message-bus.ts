import type { Admin } from 'kafkajs'
import { type MessageRecord, placeOf } from '../../events/message-record.ts'
import { KolbakError } from '../../lib/errors.ts'
import { BusUnavailable, bytesOfRecord, type MessageBus } from '../../ports/message-bus.ts'
import { connectError, createKafkaClients, defaultRequestTimeoutMs, type KafkaConnection } from './client.ts'
import { createGroupConsumer } from './consumer.ts'
import { recordWriter, type Writer } from './produce.ts'
import { busBounds, expireRecords } from './retention.ts'
import { ensureTopic, type TopicOptions } from './topic.ts'

export interface KafkaMessageBusOptions extends KafkaConnection, TopicOptions {
  /** The same for all processes: they share the partitions out among themselves. */
  readonly groupId: string
  /** How long what has been read stays (`expire`). */
  readonly retentionMs: number
  /** A member that says nothing for so long is believed dead. Default 30 s; the brokers bound it (6 s to 30 min). */
  readonly sessionTimeoutMs?: number
  /** Records that may be unanswered before BusFull. Default 20,000. */
  readonly maxWaiting?: number
  /** And their bytes. Default 64 MiB. */
  readonly maxWaitingBytes?: number
  /** A record that has not been answered for so long is BusUnavailable. Default 10 s. */
  readonly produceTimeoutMs?: number
  /** A fetch that finds nothing answers after so long. Default 1 s. */
  readonly fetchWaitMs?: number
}
export interface KafkaMessageBus extends MessageBus {
  /**
   * Deletes what is older than the retention, but nothing unread, and answers how many records those were.
   * @param unread for each partition the first offset not done; one that is missing is all unread
   */
  expire(unread: ReadonlyMap<number, bigint>): Promise<number>
  /**
   * Tells Kafka's own tools how far the group has come; what counts is what the caller has saved, so an error is its to pass
   * over. To be called after a save. @param saved the first offset not done
   */
  committed(saved: ReadonlyMap<number, bigint>): Promise<void>
}

/**
 * The bus as a topic of Kafka, which is made or grown if need be. Throws KolbakError: `kafka_unreachable`,
 * `kafka_login_refused`, `kafka_certificate_refused` within seconds; `partitions_shrunk` when the topic has more partitions
 * than asked for; `kafka_topic_refused`, `kafka_topic_unfit`.
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
    writer = await recordWriter({
      producer: clients.producer(),
      topic,
      partitions,
      owned: () => consumer.owned(),
      maxWaiting: options.maxWaiting ?? 20_000,
      maxWaitingBytes: options.maxWaitingBytes ?? 64 << 20,
      produceTimeoutMs: options.produceTimeoutMs ?? 10_000,
      requestTimeoutMs: options.requestTimeoutMs ?? defaultRequestTimeoutMs,
    })
  } catch (error) {
    await admin.disconnect()
    throw error instanceof KolbakError ? error : connectError(error, options.brokers)
  }
  const consumer = createGroupConsumer({
    clients,
    topic,
    groupId,
    sessionTimeoutMs: options.sessionTimeoutMs ?? 30_000,
    fetchWaitMs: options.fetchWaitMs ?? 1_000,
    async bounds(partition) {
      const found = (await busBounds(admin, topic)).get(partition)
      if (found === undefined) throw new Error(`Kafka does not know partition ${partition} of ${topic}`)
      return found
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
    expire: (unread) => expireRecords(admin, topic, Date.now() - retentionMs, unread),
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

/** Answers the bus's identity, a part of each place: the cluster is a part of it, as another one has other records. */
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
    throw new KolbakError('kafka_topic_refused', `"${topic}" cannot be the name of a topic: letters, digits, ".", "_" and "-" are.`)
  return identity
}
