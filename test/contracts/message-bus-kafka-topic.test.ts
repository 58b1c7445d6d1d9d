import { expect } from 'chai'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { ensureTopic } from '../../src/adapters/kafka/topic.ts'
import { parsePlace } from '../../src/events/message-record.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { silentLog } from '../../src/lib/log.ts'
import { capturingLog } from '../support/capturing-log.ts'
import { freshTopic, type KafkaBusMember, kafkaBusMember } from '../support/engines/kafka/member.ts'
import { describeWithKafka } from '../support/engines/kafka.ts'
import { waitFor } from '../support/wait-for.ts'
import { collect, message, record } from './message-bus.contract.ts'

describeWithKafka('the topic of the message bus on Kafka', (kafka) => {
  let topic: string
  let members: KafkaBusMember[]
  let admin: Admin
  const member = async (options: Partial<Parameters<typeof kafkaBusMember>[0]> = {}) => {
    const newMember = await kafkaBusMember({ brokers: kafka().brokers, topic, ...options })
    members.push(newMember)
    return newMember
  }
  const failure = async (options: Partial<Parameters<typeof kafkaBusMember>[0]>): Promise<string | undefined> => {
    try {
      await member(options)
    } catch (error) {
      return codeOf(error)
    }
    throw new Error('it did not fail')
  }
  before(async () => {
    admin = new Kafka({ brokers: [...kafka().brokers], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
  })
  after(() => admin?.disconnect())
  beforeEach(() => {
    topic = freshTopic()
    members = []
  })
  afterEach(async () => {
    await Promise.all(members.map((busMember) => busMember.close()))
  })

  /** Creates topics, and waits until the broker knows them. */
  const createTopics = async (topics: NonNullable<Parameters<Admin['createTopics']>[0]>['topics']) => {
    await admin.createTopics({ topics, waitForLeaders: false })
    await waitFor(() => admin.fetchTopicMetadata({ topics: topics.map(({ topic }) => topic) }))
  }

  it('is not refused when Kafka does not respond, so that the start waits for it', async () => {
    const timeout = new Error('Request CreateTopics timed out')
    const silent = { listTopics: async () => [], createTopics: () => Promise.reject(timeout) } as unknown as Admin
    const options = { topic, partitions: 1, replicationFactor: 1, minInSyncReplicas: 1, maxMessageBytes: 1_000 }
    await ensureTopic(silent, options, silentLog).then(
      () => expect.fail('it did not fail'),
      (error: unknown) => expect(error).to.equal(timeout),
    )
  })

  it('is created with the right settings by several processes at once, and grows', async () => {
    await Promise.all([member({ partitions: 2 }), member({ partitions: 2 }), member({ partitions: 2 })])
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
    const settings = Object.fromEntries(resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]))
    expect(settings).to.include({
      'retention.ms': '-1',
      'unclean.leader.election.enable': 'false',
      'min.insync.replicas': '1',
      'max.message.bytes': String(4 << 20),
    })
    const [firstMember] = await Promise.all([member({ partitions: 5 }), member({ partitions: 5 })])
    expect((await firstMember.bus.ends()).size).to.equal(5)
    const places = await Promise.all(
      Array.from({ length: 40 }, async () => parsePlace(await firstMember.bus.produce(record(message('m'))))),
    )
    expect(places.every(({ partition }) => partition < 5)).to.equal(true)
  })

  it('assigns added partitions to existing members', async () => {
    const before = await member({ partitions: 2 })
    const firstCollector = collect(before.bus)
    await waitFor(() => firstCollector.owned.size === 2)
    const after = await member({ partitions: 4 })
    const secondCollector = collect(after.bus)
    await waitFor(() => firstCollector.owned.size === 2 && secondCollector.owned.size === 2)
    await Promise.all([firstCollector.stop(), secondCollector.stop()])
  })

  it('has its added partitions read within seconds by a member that was not restarted', async () => {
    const running = await member({ partitions: 2 })
    const reader = collect(running.bus)
    await waitFor(() => reader.owned.size === 2)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    await waitFor(() => reader.owned.size === 4, { within: 15_000 })
    await reader.stop()
  }).timeout(40_000)

  it('is refused for fewer partitions than it has, more replicas than brokers, a too small message size, or an invalid name', async () => {
    await member({ partitions: 3 })
    expect(await failure({ partitions: 2 })).to.equal('partitions_shrunk')
    expect(await failure({ topic: freshTopic(), replicationFactor: 3, minInSyncReplicas: 2 })).to.equal('kafka_topic_refused')
    expect(await failure({ topic: 'a/b' })).to.equal('kafka_topic_refused')
    const small = freshTopic()
    await createTopics([{ topic: small, numPartitions: 4, replicationFactor: 1 }])
    expect(await failure({ topic: small })).to.equal('kafka_topic_unfit')
  })

  it('logs the settings that differ in a topic that someone else created', async () => {
    const configEntries = [
      { name: 'max.message.bytes', value: String(4 << 20) },
      { name: 'retention.ms', value: '-1' },
    ]
    await createTopics([{ topic, numPartitions: 4, replicationFactor: 1, configEntries }])
    const log = capturingLog()
    await member({ log })
    const differing = log.lines.filter((line) => line.includes('bus.topic_setting_differs'))
    expect(differing.some((line) => line.includes('message.timestamp.type'))).to.equal(true)
  })

  it('is refused when Kafka would drop unread records by their age', async () => {
    const aged = freshTopic()
    const configEntries = [
      { name: 'max.message.bytes', value: String(4 << 20) },
      { name: 'retention.ms', value: '604800000' },
    ]
    await createTopics([{ topic: aged, numPartitions: 4, replicationFactor: 1, configEntries }])
    expect(await failure({ topic: aged })).to.equal('kafka_topic_unfit')
  })

  it('fails to open, in bounded time, when no broker responds', async () => {
    expect(await failure({ brokers: ['127.0.0.1:1'] })).to.equal('kafka_unreachable')
  })

  it('deletes only records that are older than the retention and already read', async () => {
    const { bus } = await member({ partitions: 3, retentionMs: 0 })
    const places = await Promise.all(Array.from({ length: 60 }, async (_, i) => parsePlace(await bus.produce(record(message(`m${i}`))))))
    for (let i = 0; new Set(places.map(({ partition }) => partition)).size < 3; i++)
      places.push(parsePlace(await bus.produce(record(message(`more-${i}`)))))
    const ends = await bus.ends()
    const unread = new Map([
      [0, 1n],
      [1, ends.get(1)!],
    ])
    // The test waits, because a record of this millisecond is not older than the given time.
    await waitFor(async () => {
      await bus.expire(unread)
      return (await lows()).get(1) === ends.get(1)
    })
    expect(await lows()).to.deep.equal(
      new Map([
        [0, 1n],
        [1, ends.get(1)!],
        [2, 0n],
      ]),
    )
    expect(await bus.expire(unread)).to.equal(0)
    const lag = await bus.lag(unread)
    expect(lag).to.deep.equal(
      new Map([
        [0, Number(ends.get(0)) - 1],
        [1, 0],
        [2, Number(ends.get(2))],
      ]),
    )
    expect(await bus.ends()).to.deep.equal(ends)
    const keeping = await member({ partitions: 3, retentionMs: 3_600_000 })
    expect(await keeping.bus.expire(ends)).to.equal(0)
  })
  const lows = async () => {
    const offsets = await admin.fetchTopicOffsets(topic)
    return new Map(offsets.map(({ partition, low }) => [partition, BigInt(low)] as const).sort(([a], [b]) => a - b))
  }

  it('continues at the first existing record, and logs an error, when unread records are gone', async () => {
    const log = capturingLog()
    const { bus } = await member({ partitions: 1, log })
    for (let i = 0; i < 10; i++) await bus.produce(record(message(`m${i}`)))
    await lows() // This call makes kafkajs load the topic, because it deletes only in topics that it knows.
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] })
    const collector = collect(bus, new Map([[0, 3n]]))
    await waitFor(() => collector.seen.length === 4)
    await collector.stop()
    expect(collector.ids()).to.deep.equal(['m6', 'm7', 'm8', 'm9'])
    expect(log.lines.filter((line) => line.includes('bus.unread_records_missing')).length).to.equal(1)
  })

  it('stops, and logs an error, when the saved offset lies beyond the end', async () => {
    const log = capturingLog()
    const { bus } = await member({ partitions: 1, log })
    await bus.produce(record(message('m')))
    const saved = new Map([[0, 7n]])
    const collector = collect(bus, saved)
    await waitFor(() => log.lines.some((line) => line.includes('offset_beyond_end')))
    expect(collector.seen).to.deep.equal([])
    saved.set(0, 1n)
    await bus.produce(record(message('next')))
    await waitFor(() => collector.seen.length === 1)
    await collector.stop()
    expect(collector.ids()).to.deep.equal(['next'])
  })

  it('fetches a large record of one partition together with small records of another', async () => {
    const { bus } = await member()
    const collector = collect(bus)
    let going = true
    const small = async () => {
      for (let i = 0; going; i++) await bus.produce(record(message(`small-${i}`)))
    }
    const lanes = Promise.all([small(), small(), small(), small()])
    const sizes = [2 << 20, 1 << 20, 2 << 20, 2 << 20, 2 << 20].map((size) => Buffer.alloc(size - 1_000))
    await Promise.all(sizes.map((payload, i) => bus.produce(record(message(`large-${i}`, payload)))))
    await waitFor(() => collector.ids().filter((id) => id.startsWith('large')).length === sizes.length)
    going = false
    await lanes
    await collector.stop()
  })

  it('pauses a partition that is not read, so that memory is bounded, and then continues in order', async () => {
    const log = capturingLog()
    const { bus } = await member({ partitions: 1, log })
    const count = 12_000
    await Promise.all(Array.from({ length: count }, (_, i) => bus.produce(record(message(`m${i}`)))))
    const stopping = new AbortController()
    const offsets: bigint[] = []
    const gate = Promise.withResolvers<void>()
    const done = bus.consume({
      signal: stopping.signal,
      startAt: async () => 0n,
      async own(partition) {
        await gate.promise
        while (!partition.lost.aborted) for (const { offset } of await partition.fetch(64)) offsets.push(offset)
      },
    })
    // The partition was paused once before its consumer began, and once because no record was fetched.
    await waitFor(() => log.lines.filter((line) => line.includes('Pausing fetching')).length === 2)
    gate.resolve()
    await waitFor(() => offsets.length >= count)
    stopping.abort()
    await done
    expect(offsets).to.deep.equal(Array.from({ length: count }, (_, i) => BigInt(i)))
  })

  it("reports the done offsets to Kafka's own tools", async () => {
    const { bus } = await member({ partitions: 1 })
    for (let i = 0; i < 5; i++) await bus.produce(record(message(`m${i}`)))
    const collector = collect(bus)
    await waitFor(() => collector.seen.length === 5)
    await bus.committed(
      new Map([
        [0, 5n],
        [9, 1n],
      ]),
    )
    const [committed] = await admin.fetchOffsets({ groupId: `group-of-${topic}`, topics: [topic] })
    expect(committed!.partitions.map(({ offset }) => offset)).to.deep.equal(['5'])
    await collector.stop()
  })
})
