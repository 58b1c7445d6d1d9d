import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Batch, Consumer } from 'kafkajs'
import type { Log } from '../../lib/log.ts'
import { keepRunning } from '../../lib/retry.ts'
import type { BusRecord, MessageBus } from '../../ports/message-bus.ts'
import { type AssignedPartitions, createAssignedPartitions, type Fetching } from './assigned-partitions.ts'
import type { Clients } from './client.ts'
import { createSessionLease, type SessionLease } from './session-lease.ts'
import { maxBatchBytes } from './topic.ts'

export interface ConsumerOptions {
  readonly clients: Clients
  readonly topic: string
  /** The number of partitions of the topic. */
  readonly partitions: number
  readonly groupId: string
  readonly sessionTimeoutMs: number
  /** Milliseconds after which a fetch of the port without records returns. */
  readonly fetchWaitMs: number
  readonly bounds: (partition: number) => Promise<{ low: bigint; high: bigint }>
  readonly log: Log
}
interface GroupConsumer {
  consume: MessageBus['consume']
  /** Partitions that this process reads now. */
  owned(): readonly number[]
  /** Reports done offsets to the group, for the tools of Kafka. Leaves out partitions that this process does not own. */
  commit(offsets: ReadonlyMap<number, bigint>): Promise<void>
}

/** A batch of kafkajs with a property that its types lack. */
type FetchedBatch = Batch & { readonly fetchedOffset: string }

/**
 * Milliseconds that a fetch without records waits. The time is short, because heartbeats are sent between fetches, and resumed partitions join only
 * the next fetch.
 */
const maxWaitTimeInMs = 200
/**
 * Returns the limits of the records that wait in memory for one partition. The last batch may exceed them. So the waiting records of a process that
 * consumes all partitions have at most 32 MiB, and 2 MiB more for each partition.
 */
const intakeLimits = (partitions: number) => ({ records: 2_000, bytes: Math.min(4 << 20, (32 << 20) / partitions) })
/** The most bytes of one fetch of all partitions of a broker. Decoding more would block other work of the process for too long. */
const maxFetchBytes = 8 << 20
/** The most milliseconds that leaving the group may take. After that, the broker itself notices the missing member. */
const leaveMs = 5_000
/**
 * After this number of session time-outs without a successful heartbeat or join, the consumer is replaced. kafkajs sends its heartbeat to a frozen
 * coordinator six times, each for 5 s, although Kafka appoints another coordinator after 9 s. A rejoin may take one session time-out, because the group
 * waits for a lost member. The first join may take longer, because the first brokers that are tried may be frozen too.
 */
const silentSessions = { joining: 3, joined: 1.5 } as const

/**
 * Makes one member of the group, which is replaced whenever it crashes. kafkajs fetches all partitions of a broker in one request, and fetches again
 * only after the batch has been handled. So this code only stores the batch, and other code handles its records.
 */
export function createGroupConsumer(options: ConsumerOptions): GroupConsumer {
  const { topic, partitions: count, groupId, sessionTimeoutMs, fetchWaitMs, bounds, log } = options
  let member: Consumer | null = null
  let partitions: AssignedPartitions | null = null

  /** Pauses, resumes or seeks. A consumer that is stopping refuses this. That does no harm, because it no longer fetches. */
  const steer = (how: (consumer: Consumer) => void) => {
    try {
      if (member !== null) how(member)
    } catch (error) {
      log.debug({ error }, 'bus.consumer_not_steered')
    }
  }
  const fetching: Fetching = {
    pause: (partition) => steer((consumer) => consumer.pause([{ topic, partitions: [partition] }])),
    resume: (partition) => steer((consumer) => consumer.resume([{ topic, partitions: [partition] }])),
    from: (partition, offset) => steer((consumer) => consumer.seek({ topic, partition, offset: String(offset) })),
  }
  return {
    owned: () => partitions?.owned() ?? [],
    async commit(offsets) {
      const owned = new Set(partitions?.owned())
      const committed = [...offsets].filter(([partition]) => owned.has(partition))
      if (member === null || committed.length === 0) return
      await member.commitOffsets(committed.map(([partition, offset]) => ({ topic, partition, offset: String(offset) })))
    },
    async consume(consume) {
      if (partitions !== null) throw new Error('this bus is being consumed already')
      const onLapse = () => {
        log.warn({ groupId }, 'bus.session_lapsed')
        assigned.lapse()
      }
      const lease = createSessionLease({ sessionTimeoutMs, onLapse })
      const assigned = createAssignedPartitions({
        ...{ consume, fetching, bounds, fetchWaitMs, log },
        full: intakeLimits(count),
        isHeld: lease.isHeld,
        retryMs: sessionTimeoutMs,
      })
      partitions = assigned
      const onMember = (consumer: Consumer | null) => {
        member = consumer
      }
      try {
        await keepRunning(() => runMember({ ...options, signal: consume.signal, assigned, lease, onMember }), {
          signal: consume.signal,
          onError: (error, delayMs) => log.warn({ error, delayMs }, 'bus.consume_failed'),
        })
      } finally {
        await assigned.ended()
        partitions = null
      }
    },
  }
}

interface MemberOptions extends ConsumerOptions {
  readonly signal: AbortSignal
  readonly assigned: AssignedPartitions
  readonly lease: SessionLease
  /** Called with the consumer that is the member now, or with null when there is none. */
  onMember(consumer: Consumer | null): void
}

/** Joins the group, and stays a member until the signal aborts. Throws when membership ends for another reason. */
async function runMember(options: MemberOptions): Promise<void> {
  const { topic, groupId, sessionTimeoutMs, signal, assigned, lease, onMember, log } = options
  const consumer = createConsumer(options)
  const ended = Promise.withResolvers<void>()
  ended.promise.catch(() => undefined) // the promise may be rejected while no code awaits it
  const end = () => ended.resolve()
  signal.addEventListener('abort', end, { once: true })
  let isMember = false
  let lastSignOfLife = performance.now()
  let memberId: string | null = null
  /** Ends when the first join has succeeded or failed. */
  let joining: Promise<unknown> = Promise.resolve()
  const isAlive = (sentAt: number): boolean => {
    if (!isMember) return false
    lastSignOfLife = performance.now()
    lease.renew(sentAt)
    return true
  }
  watch(consumer, {
    alive(sentAt) {
      if (isAlive(sentAt)) assigned.startMissing()
    },
    joined(sentAt, partitions, newMemberId) {
      if (!isAlive(sentAt)) return
      log.info({ groupId, memberId: newMemberId, partitions }, 'bus.group_joined')
      // A new member id means that the group had removed this process, so other processes may have owned the partitions meanwhile.
      if (memberId !== null && memberId !== newMemberId) assigned.lapse()
      memberId = newMemberId
      assigned.assign(partitions)
    },
    crashed: (error) => ended.reject(error),
  })
  const silence = setInterval(() => {
    const sessions = memberId === null ? silentSessions.joining : silentSessions.joined
    if (performance.now() - lastSignOfLife > sessions * sessionTimeoutMs)
      ended.reject(new Error('the group has not responded for longer than a session time-out'))
  }, sessionTimeoutMs / 10)
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    if (signal.aborted) return
    isMember = true
    onMember(consumer)
    const running = consumer.run({ autoCommit: false, eachBatch: async ({ batch }) => takeIn(assigned, batch as FetchedBatch) })
    joining = running.catch(() => undefined) // the error is thrown below
    await Promise.race([ended.promise, running.then(() => ended.promise)])
  } finally {
    clearInterval(silence)
    signal.removeEventListener('abort', end)
    assigned.assign([])
    // On a planned stop, the work in flight is finished before the member leaves, so that the next owner does not repeat it.
    if (signal.aborted) await assigned.ended()
    isMember = false
    onMember(null)
    lease.end()
    await leave(consumer, joining, sessionTimeoutMs, log)
  }
}

const createConsumer = ({ clients, groupId, sessionTimeoutMs }: ConsumerOptions): Consumer =>
  clients.consumer({
    groupId,
    sessionTimeout: sessionTimeoutMs,
    // A member only stores a batch, so it is never busy for long and can rejoin quickly. A member that does not rejoin in time is removed, as if its
    // session had ended.
    rebalanceTimeout: sessionTimeoutMs,
    heartbeatInterval: Math.min(1_000, Math.ceil(sessionTimeoutMs / 5)),
    maxWaitTimeInMs,
    // The largest batch must fit. Kafka leaves out a batch that does not fit, except in the first partition of a response.
    maxBytesPerPartition: maxBatchBytes,
    maxBytes: maxFetchBytes,
    allowAutoTopicCreation: false,
    // kafkajs does not restart the member. `createGroupConsumer` replaces it after every kind of failure.
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5, restartOnFailure: async () => false },
  })

/** Reactions to the events of a member. Times are those of this process's monotonic clock. */
interface MemberListener {
  alive(sentAt: number): void
  joined(sentAt: number, partitions: readonly number[], memberId: string): void
  crashed(error: Error): void
}

function watch(consumer: Consumer, listener: MemberListener): void {
  const { GROUP_JOIN, HEARTBEAT, REQUEST, CRASH } = consumer.events
  /** The time at which the last successful request of each kind was sent. The event of a request comes just before that of its heartbeat or join. */
  const sent = new Map<string, number>()
  const sentAt = (api: string) => sent.get(api) ?? Number.NEGATIVE_INFINITY
  consumer.on(REQUEST, ({ payload: { apiName, duration } }) => {
    if (apiName === 'Heartbeat' || apiName === 'SyncGroup') sent.set(apiName, performance.now() - Math.max(0, duration))
  })
  consumer.on(HEARTBEAT, () => listener.alive(sentAt('Heartbeat')))
  consumer.on(GROUP_JOIN, ({ payload: { memberAssignment, memberId } }) =>
    listener.joined(sentAt('SyncGroup'), Object.values(memberAssignment).flat(), memberId),
  )
  consumer.on(CRASH, ({ payload: { error } }) => listener.crashed(error))
}

function takeIn(assigned: AssignedPartitions, batch: FetchedBatch): void {
  const records = batch.messages.map(
    ({ offset, value }): BusRecord => ({
      offset: BigInt(offset),
      // The bytes are copied, because a slice would keep the whole response in memory, which is many times as large.
      bytes: value === null ? Buffer.alloc(0) : Buffer.from(value),
    }),
  )
  assigned.add(batch.partition, BigInt(batch.fetchedOffset), records, BigInt(batch.highWatermark))
}

/**
 * Leaves the group. kafkajs does not leave while it joins for the first time, and then the whole group would wait for this member until its session ends.
 * So the join is awaited first.
 */
async function leave(consumer: Consumer, joining: Promise<unknown>, sessionTimeoutMs: number, log: Log): Promise<void> {
  const timeLimit = new AbortController()
  const atMost = (ms: number) => sleep(ms, undefined, { signal: timeLimit.signal })
  try {
    await Promise.race([joining, atMost(sessionTimeoutMs)])
    await Promise.race([consumer.disconnect(), atMost(leaveMs)])
  } catch (error) {
    log.warn({ error }, 'bus.group_not_left') // the group removes the member when its session ends
  } finally {
    timeLimit.abort()
  }
}
