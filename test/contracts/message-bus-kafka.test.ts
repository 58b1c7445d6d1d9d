import { freshTopic, type KafkaBusMember, kafkaBusMember } from '../support/engines/kafka/member.ts'
import { describeWithKafka } from '../support/engines/kafka.ts'
import { messageBusContract } from './message-bus.contract.ts'

describeWithKafka('message bus on Kafka', (kafka) => {
  messageBusContract('Kafka', async () => {
    const topic = freshTopic()
    const members = new Set<KafkaBusMember>()
    return {
      partitions: 4,
      async member(options) {
        const member = await kafkaBusMember({ brokers: kafka().brokers, topic, ...options })
        members.add(member)
        return member
      },
      async drop() {
        for (const member of members) await member.close()
      },
    }
  })
})
