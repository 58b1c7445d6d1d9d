import { expect } from 'chai'
import { createKafkaMessageBus } from '../../src/adapters/kafka/message-bus.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { capturingLog } from '../support/capturing-log.ts'
import { freshTopic } from '../support/engines/kafka/member.ts'
import type { KafkaServer } from '../support/engines/kafka/server.ts'
import { describeWithKafka, startSecureKafka } from '../support/engines/kafka.ts'
import { waitFor } from '../support/wait-for.ts'
import { collect, message, record } from './message-bus.contract.ts'

describeWithKafka('message bus on Kafka with TLS and a login', () => {
  let server: KafkaServer
  before(async () => {
    server = await startSecureKafka()
  })
  after(() => server?.stop())
  const options = () => {
    const { brokers, ca, username, password } = server.secure!
    return {
      brokers,
      topic: freshTopic(),
      groupId: freshTopic(),
      partitions: 1,
      replicationFactor: 1,
      minInSyncReplicas: 1,
      retentionMs: 3_600_000,
      maxMessageBytes: 4 << 20,
      ssl: { ca },
      sasl: { mechanism: 'plain' as const, username, password },
      log: capturingLog(),
    }
  }
  const failure = async (wrong: Partial<Parameters<typeof createKafkaMessageBus>[0]>) => {
    const bus = await createKafkaMessageBus({ ...options(), ...wrong }).catch((error: unknown) => error)
    if (!(bus instanceof Error)) throw new Error('it did not fail')
    return bus
  }

  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const)
    it(`carries records after a login by ${mechanism}`, async () => {
      const all = options()
      const bus = await createKafkaMessageBus({ ...all, sasl: { ...all.sasl, mechanism } })
      const collector = collect(bus)
      await bus.produce(record(message('m')))
      await waitFor(() => collector.seen.length === 1)
      await collector.stop()
      await bus.close()
      expect(all.log.lines.join()).to.not.include(all.sasl.password)
    })

  it('reports that the login is refused', async () => {
    for (const mechanism of ['plain', 'scram-sha-256'] as const) {
      const error = await failure({ sasl: { mechanism, username: 'alice', password: 'wrong' } })
      expect(codeOf(error)).to.equal('kafka_login_refused')
    }
  })

  it('reports that the certificate is not trusted', async () => {
    expect(codeOf(await failure({ ssl: true }))).to.equal('kafka_certificate_refused')
  })

  it('reports that no broker responds correctly when TLS is not configured', async () => {
    expect(codeOf(await failure({ ssl: undefined }))).to.equal('kafka_unreachable')
  })
})
