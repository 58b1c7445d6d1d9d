import type { MessageBusEngine } from './engine.ts'
import { readPemFiles } from './pem-files.ts'

export const kafka: MessageBusEngine = {
  name: 'kafka',
  title: 'Kafka',
  chosenBy: 'KAFKA_BROKERS',
  unavailable: ['kafka_unreachable'],
  async connect({ config, log }) {
    const { createKafkaMessageBus } = await import('../../adapters/kafka/message-bus.ts')
    const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username = '', KAFKA_SASL_PASSWORD: password = '' } = config
    const bus = await createKafkaMessageBus({
      brokers: config.KAFKA_BROKERS ?? [],
      topic: config.KAFKA_TOPIC,
      groupId: config.KAFKA_GROUP_ID,
      partitions: config.KOLBAK_PARTITIONS,
      replicationFactor: config.KAFKA_REPLICATION_FACTOR,
      minInSyncReplicas: config.KAFKA_MIN_INSYNC_REPLICAS,
      retentionMs: config.KAFKA_RETENTION_HOURS * 3_600_000,
      maxMessageBytes: config.KAFKA_MAX_MESSAGE_BYTES,
      sessionTimeoutMs: config.KAFKA_SESSION_TIMEOUT_MS,
      ...(config.KAFKA_SSL ? { ssl: readPemFiles(config, { ca: 'KAFKA_SSL_CA', cert: 'KAFKA_SSL_CERT', key: 'KAFKA_SSL_KEY' }) } : {}),
      ...(mechanism === undefined ? {} : { sasl: { mechanism, username, password } }),
      log,
    })
    return {
      adapter: bus,
      expire: (_day, unread) => bus.expire(unread),
      committed(offsets) {
        // An error does no harm, because Kolbak reads its offsets from Postgres, and the next call reports all of them again.
        bus.committed(offsets).catch((error: unknown) => log.debug({ error }, 'bus.offsets_not_reported'))
      },
    }
  },
}
