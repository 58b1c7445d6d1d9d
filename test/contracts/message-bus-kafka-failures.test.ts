import { expect } from 'chai'
import { Kafka, logLevel } from 'kafkajs'
import { createRecordWriter } from '../../src/adapters/kafka/produce.ts'
import { parsePlace } from '../../src/events/message-record.ts'
import { BusUnavailable, type MessageBus } from '../../src/ports/message-bus.ts'
import { capturingLog } from '../support/capturing-log.ts'
import { freshTopic, type KafkaBusMember, kafkaBusMember } from '../support/engines/kafka/member.ts'
import { describeWithKafka } from '../support/engines/kafka.ts'
import { machineTimeOf } from '../support/patience.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Collector, collect, message, record } from './message-bus.contract.ts'

/** Runs several loops that produce records until they are stopped. Returns the place of each message by its id. */
function load(bus: MessageBus, lanes = 8) {
  const stored = new Map<string, string>()
  const failures: unknown[] = []
  let going = true
  const lane = async (number: number) => {
    for (let i = 0; going; i++) {
      const id = `${number}-${i}`
      try {
        stored.set(id, await bus.produce(record(message(id))))
      } catch (error) {
        failures.push(error)
      }
    }
  }
  const done = Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
  return {
    stored,
    failures,
    async stop() {
      going = false
      await done
    },
  }
}

describeWithKafka('message bus on Kafka, when things fail', (kafka) => {
  let topic: string
  let members: KafkaBusMember[]
  let collectors: Collector[]
  let loads: { stop(): Promise<void> }[]
  const member = async (options: Partial<Parameters<typeof kafkaBusMember>[0]> = {}) => {
    const newMember = await kafkaBusMember({ brokers: kafka().brokers, topic, ...options })
    members.push(newMember)
    return newMember
  }
  const loading = (bus: MessageBus, lanes?: number) => {
    const testLoad = load(bus, lanes)
    loads.push(testLoad)
    return testLoad
  }
  const collecting = (bus: MessageBus, saved?: Map<number, bigint>) => {
    const collector = collect(bus, saved)
    collectors.push(collector)
    return collector
  }
  beforeEach(() => {
    topic = freshTopic()
    members = []
    collectors = []
    loads = []
  })
  afterEach(async () => {
    await Promise.all(loads.map((testLoad) => testLoad.stop()))
    await Promise.all(collectors.map((collector) => collector.stop()))
    await Promise.all(members.map((busMember) => busMember.close()))
  })

  /** Checks that every stored record is found at its place, and that each place is used once. */
  const expectNothingLost = async (collector: Collector, bus: MessageBus, stored: ReadonlyMap<string, string>) => {
    const isMissing = () => {
      const seen = new Set(collector.ids())
      return [...stored.keys()].some((id) => !seen.has(id))
    }
    await waitFor(() => collector.seen.length >= stored.size)
    await waitFor(() => !isMissing(), { what: 'every stored record to arrive' })
    const places = collector.places(bus.identity)
    const ids = collector.ids()
    const idAt = new Map(places.map((place, i) => [place, ids[i]]))
    expect(idAt.size).to.equal(places.length)
    expect([...stored].filter(([id, place]) => idAt.get(place) !== id)).to.deep.equal([])
  }

  for (const how of ['halt', 'kill'] as const)
    it(`loses no accepted record when the broker is ${how === 'halt' ? 'restarted' : 'killed'} under load`, async () => {
      const { bus } = await member()
      const collector = collecting(bus)
      const producing = loading(bus)
      await waitFor(() => producing.stored.size > 500 && collector.seen.length > 500)
      await kafka()[how]()
      const before = producing.stored.size
      await kafka().start()
      await waitFor(() => producing.stored.size > before + 500, { what: 'producing to go on' })
      await producing.stop()
      expect(producing.failures.filter((error) => !(error instanceof BusUnavailable))).to.deep.equal([])
      await expectNothingLost(collector, bus, producing.stored)
    })

  it('replaces a consumer that has given up, and continues at the saved offset', async () => {
    const log = capturingLog()
    const { bus } = await member({ log })
    const saved = new Map<number, bigint>()
    const collector = collecting(bus, saved)
    await Promise.all(Array.from({ length: 20 }, (_, i) => bus.produce(record(message(`before-${i}`)))))
    await waitFor(() => collector.seen.length === 20)
    const owned = [...collector.owned.values()]
    await kafka().halt()
    await waitFor(() => owned.every((partition) => partition.lost.aborted && !partition.isHeld()))
    await waitFor(() => log.lines.some((line) => line.includes('bus.consume_failed')), { what: 'the consumer to give up' })
    await kafka().start()
    await waitFor(() => collector.owned.size === 4, { what: 'the partitions to come back' })
    await Promise.all(Array.from({ length: 20 }, (_, i) => bus.produce(record(message(`after-${i}`)))))
    await waitFor(() => collector.seen.length === 40)
    expect(new Set(collector.ids()).size).to.equal(40)
  })

  for (const how of ['cut', 'deafen'] as const)
    it(`continues when its connections are ${how === 'cut' ? 'cut' : 'silent'} repeatedly`, async () => {
      const busMember = await member({ requestTimeoutMs: 1_000 })
      const { bus } = busMember
      const collector = collecting(bus)
      const producing = loading(bus, 4)
      for (let i = 1; i <= 4; i++) {
        const target = producing.stored.size + 200
        await waitFor(() => producing.stored.size > target, { what: `producing to continue after fault ${i}` })
        busMember[how]()
      }
      const target = producing.stored.size + 200
      await waitFor(() => producing.stored.size > target, { what: 'producing to continue after the last fault' })
      await producing.stop()
      await expectNothingLost(collector, bus, producing.stored)
      await waitFor(async () => (await bus.ends()).size === 4, { what: 'the ends of all partitions' })
    })

  it('reads the partitions that it keeps without a gap or a repetition while another member joins and leaves', async () => {
    // A member produces to its own partitions. The third only produces and owns none, so it distributes its records over all.
    const [first, second, third] = [await member(), await member(), await member()]
    const saved = new Map<number, bigint>()
    const firstCollector = collecting(first.bus, saved)
    await waitFor(() => firstCollector.owned.size === 4)
    const before = new Map(firstCollector.owned)
    const producing = loading(third.bus)
    await waitFor(() => firstCollector.seen.length > 300)
    // Both members save their offsets in the same map, as in Postgres.
    const secondCollector = collecting(second.bus, saved)
    await waitFor(() => firstCollector.owned.size === 2 && secondCollector.owned.size === 2)
    const retained = [...firstCollector.owned.values()]
    expect(retained.every((partition) => before.get(partition.partition) === partition && partition.isHeld())).to.equal(true)
    const seen = firstCollector.seen.length
    await waitFor(() => firstCollector.seen.length > seen + 200 && secondCollector.seen.length > 100)
    await secondCollector.stop()
    await waitFor(() => firstCollector.owned.size === 4)
    expect(retained.every((partition) => firstCollector.owned.get(partition.partition) === partition && !partition.lost.aborted)).to.equal(
      true,
    )
    await producing.stop()
    await waitFor(() => firstCollector.seen.length + secondCollector.seen.length >= producing.stored.size)
    const keptPartitions = new Set(retained.map(({ partition }) => partition))
    const offsets = [...firstCollector.seen, ...secondCollector.seen].filter(({ partition }) => keptPartitions.has(partition))
    for (const partition of keptPartitions) {
      const partitionOffsets = offsets.filter((s) => s.partition === partition).map((s) => s.record.offset)
      expect(partitionOffsets).to.deep.equal(partitionOffsets.map((_, i) => BigInt(i)))
    }
    const ids = new Set([...firstCollector.ids(), ...secondCollector.ids()])
    expect([...producing.stored.keys()].filter((id) => !ids.has(id))).to.deep.equal([])
  })

  it('releases its partitions at once when it stops as planned', async () => {
    const [first, second] = [await member({ sessionTimeoutMs: 20_000 }), await member({ sessionTimeoutMs: 20_000 })]
    const firstCollector = collecting(first.bus)
    await waitFor(() => firstCollector.owned.size === 4)
    await firstCollector.stop()
    const secondCollector = collecting(second.bus)
    await waitFor(() => secondCollector.owned.size === 4, { within: 10_000 })
  })

  it('leaves the group when it stops while it joins, so that the others do not wait for its session', async () => {
    const [first, second] = [await member({ sessionTimeoutMs: 20_000 }), await member({ sessionTimeoutMs: 20_000 })]
    const firstCollector = collecting(first.bus)
    await waitFor(() => firstCollector.owned.size === 4)
    const admin = new Kafka({ brokers: [...kafka().brokers], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    try {
      const group = async () => (await admin.describeGroups([`group-of-${topic}`])).groups[0]!
      // The group prepares a rebalance until the first member sends its next heartbeat. If that was too quick to be seen, the second member tries again.
      for (let isJoining = false; !isJoining; ) {
        const secondCollector = collecting(second.bus)
        await waitFor(async () => {
          isJoining = (await group()).state === 'PreparingRebalance'
          return isJoining || secondCollector.owned.size > 0
        })
        await secondCollector.stop()
        const isAlone = async () => {
          const { state, members: presentMembers } = await group()
          return state === 'Stable' && presentMembers.length === 1
        }
        await waitFor(isAlone, { within: 10_000, what: 'the group to go on without the second member' })
      }
      await waitFor(() => firstCollector.owned.size === 4)
    } finally {
      await admin.disconnect()
    }
  })

  it('stores what was sent while a broker was away for a moment, and refuses nothing', async () => {
    const { bus } = await member({ produceTimeoutMs: 120_000 })
    const collector = collecting(bus)
    const producing = loading(bus)
    await waitFor(() => producing.stored.size > 100)
    await kafka().kill()
    await kafka().start()
    const before = producing.stored.size
    await waitFor(() => producing.stored.size > before + 100, { what: 'producing to go on' })
    await producing.stop()
    expect(producing.failures).to.deep.equal([])
    await expectNothingLost(collector, bus, producing.stored)
  })

  it('sends a batch to another partition when the leader of the first one is away', async () => {
    const { bus } = await member() // this member creates the topic
    const client = new Kafka({ brokers: [...kafka().brokers], logLevel: logLevel.NOTHING })
    const producer = client.producer({ createPartitioner: () => (args) => args.message.partition ?? 0, retry: { retries: 0 } })
    const refused: number[] = []
    const send: typeof producer.send = (batch) => {
      const partition = batch.messages[0]!.partition!
      if (partition === 2) return producer.send(batch)
      refused.push(partition)
      return Promise.reject(Object.assign(new Error('the partition has no leader'), { type: 'LEADER_NOT_AVAILABLE', retriable: true }))
    }
    const limits = { maxWaiting: 100, maxWaitingBytes: 1 << 20, produceTimeoutMs: 60_000, requestTimeoutMs: 5_000 }
    const writer = await createRecordWriter({ producer: { ...producer, send }, topic, partitions: 4, owned: () => [0], ...limits })
    try {
      for (let i = 0; i < 10; i++) expect((await writer.write(Buffer.from(`record ${i}`))).partition).to.equal(2)
      expect(refused[0]).to.equal(0)
      expect(refused.length).to.be.at.most(10)
      expect((await bus.ends()).get(2)).to.equal(10n)
    } finally {
      await writer.close()
    }
  })

  it('throws BusUnavailable in time while the broker is unavailable, and stores again afterwards', async () => {
    const { bus } = await member({ produceTimeoutMs: 1_000 })
    await bus.produce(record(message('before')))
    await kafka().halt()
    try {
      const tookMs = await machineTimeOf(async () => {
        const results = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => bus.produce(record(message(`m${i}`)))))
        expect(results.every((result) => result.status === 'rejected' && result.reason instanceof BusUnavailable)).to.equal(true)
      })
      expect(tookMs).to.be.below(6_000)
    } finally {
      await kafka().start()
    }
    const place = await waitFor(() => bus.produce(record(message('after'))))
    expect(parsePlace(place).bus).to.equal(bus.identity)
  })
})
