import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Batch, Consumer } from 'kafkajs'
import type { Log } from '../../lib/log.ts'
import { keepRunning } from '../../lib/retry.ts'
import type { BusRecord, MessageBus } from '../../ports/message-bus.ts'
import type { Clients } from './client.ts'
import { createSessionLease, type SessionHold } from './hold.ts'
import { type Fetching, type Tenures, tenures } from './tenures.ts'
import { maxBatchBytes } from './topic.ts'

export interface ConsumerOptions {
  readonly clients: Clients
  readonly topic: string
  readonly groupId: string
  readonly sessionTimeoutMs: number
  /** A fetch of the port that finds nothing answers after so long. */
  readonly fetchWaitMs: number
  readonly bounds: (partition: number) => Promise<{ low: bigint; high: bigint }>
  readonly log: Log
}
export interface GroupConsumer {
  consume: MessageBus['consume']
  /** Partitions that this process has now. */
  owned(): readonly number[]
  /** Tells the group, for Kafka's own tools, which offsets are done; of partitions that this process has. */
  commit(offsets: ReadonlyMap<number, bigint>): Promise<void>
}

/** kafkajs knows it, its types do not. */
type FetchedBatch = Batch & { readonly fetchedOffset: string }

/** A fetch that finds nothing comes back after so long: heartbeats go out between fetches, and paused partitions are looked at. */
const maxWaitTimeInMs = 200
/** What may wait in memory of one partition, beside the batch that comes last. */
const full = { records: 2_000, bytes: 4 << 20 }
/** Of all partitions of a broker; beyond it kafkajs would decode for longer than other work should wait. */
const maxFetchBytes = 8 << 20
/** How long leaving may take, before the broker is left to find out by itself. */
const leaveMs = 5_000
/** A consumer without a sign of life for so many session time-outs is thrown away, and made anew. */
const silentSessions = 3

/**
 * One member of the group, made anew whenever it crashes. kafkajs fetches all partitions of a broker in one request, and not
 * again before what came has been handled: so a batch is only taken in here, and handled elsewhere.
 */
export function groupConsumer(options: ConsumerOptions): GroupConsumer {
  const { clients, topic, groupId, sessionTimeoutMs, fetchWaitMs, bounds, log } = options
  let member: Consumer | null = null
  let held: Tenures | null = null

  /** A consumer that is going down cannot be steered, and fetches nothing. */
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

  /** Joins, and is a member until the signal aborts; throws when membership has ended otherwise. */
  const membership = async (signal: AbortSignal, parts: Tenures, hold: SessionHold): Promise<void> => {
    const consumer = clients.consumer({
      groupId,
      sessionTimeout: sessionTimeoutMs,
      // Nobody works inside a batch, so all join soon; who does not is out, as when its session ends.
      rebalanceTimeout: sessionTimeoutMs,
      heartbeatInterval: Math.min(1_000, Math.ceil(sessionTimeoutMs / 5)),
      maxWaitTimeInMs,
      // The largest batch must fit: of all but the first partition of an answer Kafka leaves out what does not.
      maxBytesPerPartition: maxBatchBytes,
      maxBytes: maxFetchBytes,
      allowAutoTopicCreation: false,
      // Made anew here instead, in one way whatever it was that failed.
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5, restartOnFailure: async () => false },
    })
    const ended = Promise.withResolvers<void>()
    ended.promise.catch(() => undefined) // it may end before or after it is waited for
    const end = () => ended.resolve()
    signal.addEventListener('abort', end, { once: true })
    let signOfLife = performance.now()
    let known: string | null = null
    watch(consumer, {
      alive(sentAt) {
        if (member !== consumer) return
        signOfLife = performance.now()
        hold.renew(sentAt)
        parts.begin()
      },
      joined(sentAt, partitions, memberId) {
        if (member !== consumer) return
        signOfLife = performance.now()
        hold.renew(sentAt)
        log.info({ groupId, memberId, partitions }, 'bus.group_joined')
        // Thrown out meanwhile: others may have had what it is given again.
        if (known !== null && known !== memberId) parts.lapse()
        known = memberId
        parts.given(partitions)
      },
      crashed: (error) => ended.reject(error),
    })
    const silence = setInterval(() => {
      if (performance.now() - signOfLife > silentSessions * sessionTimeoutMs)
        ended.reject(new Error('the group has not answered for several session time-outs'))
    }, sessionTimeoutMs)
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      member = consumer
      const running = consumer.run({ autoCommit: false, eachBatch: async ({ batch }) => takeIn(parts, batch as FetchedBatch) })
      await Promise.race([ended.promise, running.then(() => ended.promise)])
    } finally {
      clearInterval(silence)
      signal.removeEventListener('abort', end)
      parts.given([])
      // Of its own accord it leaves when its work is done: nobody else then begins with what is under way.
      if (signal.aborted) await parts.idle()
      member = null
      hold.end()
      await leave(consumer, log)
    }
  }

  return {
    owned: () => held?.had() ?? [],
    async commit(offsets) {
      const mine = new Set(held?.had())
      const changed = [...offsets].filter(([partition]) => mine.has(partition))
      if (member === null || changed.length === 0) return
      await member.commitOffsets(changed.map(([partition, offset]) => ({ topic, partition, offset: String(offset) })))
    },
    async consume(consume) {
      if (held !== null) throw new Error('this bus is being consumed already')
      const onLapse = () => {
        log.warn({ groupId }, 'bus.session_lapsed')
        parts.lapse()
      }
      const hold = createSessionLease({ sessionTimeoutMs, onLapse })
      const parts = tenures({ consume, fetching, held: hold.held, bounds, fetchWaitMs, full, againMs: sessionTimeoutMs, log })
      held = parts
      try {
        await keepRunning(() => membership(consume.signal, parts, hold), {
          signal: consume.signal,
          onError: (error, delayMs) => log.warn({ error, delayMs }, 'bus.consume_failed'),
        })
      } finally {
        await parts.idle()
        held = null
      }
    },
  }
}

/** What kafkajs tells of a member. Times are those of this process's monotonic clock. */
interface Listener {
  alive(sentAt: number): void
  joined(sentAt: number, partitions: readonly number[], memberId: string): void
  crashed(error: Error): void
}

function watch(consumer: Consumer, listener: Listener): void {
  const { GROUP_JOIN, HEARTBEAT, REQUEST, CRASH } = consumer.events
  /** When the last request of a kind was sent that has been answered: its event comes just before the other one. */
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

function takeIn(parts: Tenures, batch: FetchedBatch): void {
  const records = batch.messages.map(
    ({ offset, value }): BusRecord => ({
      offset: BigInt(offset),
      // A copy: a slice would keep the whole answer, many times as large, for as long as the record is in hand.
      bytes: value === null ? Buffer.alloc(0) : Buffer.from(value),
    }),
  )
  parts.add(batch.partition, BigInt(batch.fetchedOffset), records, BigInt(batch.highWatermark))
}

async function leave(consumer: Consumer, log: Log): Promise<void> {
  const late = new AbortController()
  try {
    await Promise.race([consumer.disconnect(), sleep(leaveMs, undefined, { signal: late.signal })])
  } catch (error) {
    log.warn({ error }, 'bus.group_not_left') // it finds out when the session ends
  } finally {
    late.abort()
  }
}
