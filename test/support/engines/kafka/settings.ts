import type { Certificate } from './certificate.ts'

export const user = { username: 'alice', password: 'alice-secret' }

/**
 * Returns the settings of a node that is broker and controller. Kafka's defaults for fsync are kept, so the operating system decides when data is
 * written to disk. A killed broker still loses no acknowledged record.
 */
export function settings(options: {
  logDir: string
  port: number
  controllerPort: number
  secure: { port: number; certificate: Certificate } | null
  /** The node of a cluster of three. Without it, the node is alone. */
  cluster?: { id: number; voters: string }
}): string {
  const { logDir, port, controllerPort, secure, cluster } = options
  const copies = cluster ? 3 : 1
  const inSync = cluster ? 2 : 1
  const login = (mechanism: string, module: string, moreOptions = '') => [
    `listener.name.secure.${mechanism}.sasl.jaas.config`,
    `org.apache.kafka.common.security.${module} required${moreOptions};`,
  ]
  const lines: (readonly (string | number | undefined)[])[] = [
    ['process.roles', 'broker,controller'],
    ['node.id', cluster?.id ?? 1],
    ['controller.quorum.voters', cluster?.voters ?? `1@127.0.0.1:${controllerPort}`],
    [
      'listeners',
      `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}${secure ? `,SECURE://127.0.0.1:${secure.port}` : ''}`,
    ],
    // The secure listener is named `localhost`, because the certificate is for that name.
    ['advertised.listeners', `PLAINTEXT://127.0.0.1:${port}${secure ? `,SECURE://localhost:${secure.port}` : ''}`],
    ['inter.broker.listener.name', 'PLAINTEXT'],
    ['controller.listener.names', 'CONTROLLER'],
    ['listener.security.protocol.map', 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL'],
    ['log.dirs', logDir],
    ['auto.create.topics.enable', 'false'],
    ['offsets.topic.num.partitions', 1],
    ['offsets.topic.replication.factor', copies],
    ['transaction.state.log.num.partitions', 1],
    ['transaction.state.log.replication.factor', copies],
    ['transaction.state.log.min.isr', inSync],
    ['share.coordinator.state.topic.replication.factor', copies],
    ['share.coordinator.state.topic.min.isr', inSync],
    ['min.insync.replicas', inSync],
    // The group does not wait for more members.
    ['group.initial.rebalance.delay.ms', 0],
    ['log.cleaner.dedupe.buffer.size', 16 << 20],
  ]
  // A cluster keeps Kafka's own time-outs, because they are part of what its tests measure.
  if (!cluster)
    lines.push(
      // This setting allows short session time-outs.
      ['group.min.session.timeout.ms', 500],
      // After a kill, the broker can work again when its old session ends, so the session is short (5 s instead of 9 s).
      ['broker.session.timeout.ms', 5_000],
      ['broker.heartbeat.interval.ms', 500],
    )
  if (secure)
    lines.push(
      ['sasl.enabled.mechanisms', 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512'],
      login('plain', 'plain.PlainLoginModule', ` user_${user.username}="${user.password}"`),
      login('scram-sha-256', 'scram.ScramLoginModule'),
      login('scram-sha-512', 'scram.ScramLoginModule'),
      ['ssl.keystore.type', 'PKCS12'],
      ['ssl.keystore.location', secure.certificate.keystore],
      ['ssl.keystore.password', secure.certificate.password],
    )
  return `${lines.map(([name, value]) => `${name}=${value}`).join('\n')}\n`
}

export const logging = `
rootLogger.level=WARN
rootLogger.appenderRef.o.ref=O
appender.o.type=Console
appender.o.name=O
appender.o.layout.type=PatternLayout
appender.o.layout.pattern=[%d] %p %m (%c)%n
`
