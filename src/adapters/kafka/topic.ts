import kafkajs, { type Admin } from 'kafkajs'
import { KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { maxRecordBytes } from '../../ports/message-bus.ts'
import { protocolErrorOf } from './client.ts'

export interface TopicOptions {
  readonly topic: string
  /** Number of partitions. It may be higher than at the last start, but never lower. */
  readonly partitions: number
  /** This setting and the next two are used only when the topic is created. The operator may change the topic's settings later. */
  readonly replicationFactor: number
  readonly minInSyncReplicas: number
  /** Bytes. The limit must leave room for a record of 2 MiB and the batch around it. */
  readonly maxMessageBytes: number
}

/** The bytes of the largest record and of the batch of Kafka around it. */
export const maxBatchBytes = maxRecordBytes + (64 << 10)

/** Milliseconds that the brokers have for each request about the topic. */
const timeout = 10_000
const notYetKnown: ReadonlySet<string | undefined> = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE'])

/** Returns settings with which the topic loses no unread record. */
const settingsOf = (options: TopicOptions): Record<string, string> => ({
  // Kolbak deletes the records that were read (`expire`), because Kafka does not know which records are unread.
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'cleanup.policy': 'delete',
  'min.insync.replicas': String(options.minInSyncReplicas),
  'unclean.leader.election.enable': 'false',
  'max.message.bytes': String(options.maxMessageBytes),
  // The clock of the brokers decides how old a record is, and not the clock of each producer.
  'message.timestamp.type': 'LogAppendTime',
})

/**
 * Creates the topic if it is missing, and adds partitions if it has too few. Throws KolbakError `partitions_shrunk` when it has more
 * partitions than configured, because no process would read the records in them. Throws `kafka_topic_unfit` when the topic could lose records.
 */
export async function ensureTopic(admin: Admin, options: TopicOptions, log: Log): Promise<void> {
  const { topic, partitions } = options
  if (!(await admin.listTopics()).includes(topic)) await create(admin, options, log)
  else await check(admin, options, log)
  const count = await partitionCount(admin, topic)
  if (count > partitions)
    throw new KolbakError(
      'partitions_shrunk',
      `The topic ${topic} has ${count} partitions, and their records must be read: set KOLBAK_PARTITIONS to ${count} or more, not ${partitions}.`,
    )
  if (count === partitions) return
  try {
    await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }], timeout })
    log.info({ topic, partitions, before: count }, 'bus.partitions_added')
  } catch (error) {
    // Another process that starts at the same time may have added the partitions.
    if ((await partitionCount(admin, topic)) !== partitions) throw error
  }
}

/** Returns the number of partitions once all of them have leaders. A broker may not know a new topic for a moment. */
async function partitionCount(admin: Admin, topic: string): Promise<number> {
  const delays = createBackoff(50, 500)
  for (const end = performance.now() + timeout; ; )
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
      return topics[0]?.partitions.length ?? 0
    } catch (error) {
      if (!notYetKnown.has(protocolErrorOf(error)) || performance.now() > end) throw error
      await pause(delays.next())
    }
}

async function create(admin: Admin, options: TopicOptions, log: Log): Promise<void> {
  const { topic, partitions, replicationFactor } = options
  const configEntries = Object.entries(settingsOf(options)).map(([name, value]) => ({ name, value }))
  try {
    // `createTopics` returns false when another process has created the topic meanwhile. With `waitForLeaders` it would fail when a broker does
    // not know the new topic yet.
    const topics = [{ topic, numPartitions: partitions, replicationFactor, configEntries }]
    const isNew = await admin.createTopics({ topics, timeout, waitForLeaders: false })
    if (isNew) log.info({ topic, partitions, replicationFactor }, 'bus.topic_made')
  } catch (error) {
    const cause = error instanceof AggregateError || (error instanceof Error && 'errors' in error) ? (error.errors as unknown[])[0] : error
    const reason = protocolErrorOf(cause)
    // Kafka has not responded, so the start waits for it.
    if (reason === undefined) throw error
    throw new KolbakError(
      'kafka_topic_refused',
      `Kafka does not make the topic ${topic} with ${partitions} partitions and ${replicationFactor} copies (${reason}): make it yourself, or ask for no more copies than there are brokers.`,
      { cause },
    )
  }
}

/** Checks a topic that an operator may have created or changed. Throws if its settings can lose records, and logs other differences. */
async function check(admin: Admin, options: TopicOptions, log: Log): Promise<void> {
  const { topic } = options
  let settings: Map<string, string>
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
    })
    settings = new Map(resources.flatMap(({ configEntries }) => configEntries.map((entry) => [entry.configName, entry.configValue])))
  } catch (error) {
    // The login may have no permission to read settings.
    log.warn({ error, topic }, 'bus.topic_unchecked')
    return
  }
  const largest = Number(settings.get('max.message.bytes') ?? maxBatchBytes)
  if (largest < maxBatchBytes || (settings.get('cleanup.policy') ?? 'delete') !== 'delete')
    throw new KolbakError(
      'kafka_topic_unfit',
      `The topic ${topic} cannot keep every record: its max.message.bytes must be ${maxBatchBytes} or more, and its cleanup.policy "delete".`,
    )
  const bounds = ['retention.ms', 'retention.bytes'].filter((name) => (settings.get(name) ?? '-1') !== '-1')
  if (bounds.length > 0 || settings.get('unclean.leader.election.enable') === 'true')
    throw new KolbakError(
      'kafka_topic_unfit',
      `The topic ${topic} would lose unread messages: set its retention.ms and retention.bytes to -1 (Kolbak deletes records that are done, after KAFKA_RETENTION_HOURS), and its unclean.leader.election.enable to false.`,
    )
  for (const [name, wanted] of Object.entries(settingsOf(options))) {
    const value = settings.get(name)
    if (value !== undefined && value !== wanted && name !== 'max.message.bytes')
      log.warn({ topic, setting: name, value, wanted }, 'bus.topic_setting_differs')
  }
}
