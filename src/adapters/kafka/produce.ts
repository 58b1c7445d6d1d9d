import { setTimeout as sleep } from 'node:timers/promises'
import type { Producer } from 'kafkajs'
import { createGroupCommit } from '../../lib/group-commit.ts'
import { BusFull, BusUnavailable, RecordTooLarge } from '../../ports/message-bus.ts'
import { isPassing, protocolErrorOf } from './client.ts'

interface WriterOptions {
  /** A producer that is not connected yet. */
  readonly producer: Producer
  readonly topic: string
  readonly partitions: number
  /**
   * Returns the partitions that this process owns. The writer prefers them, so that this process delivers the messages that it has accepted.
   */
  readonly owned: () => readonly number[]
  /** The most records that may wait for the brokers. Beyond them `write` throws BusFull. */
  readonly maxWaiting: number
  /** The most bytes of records that may wait for the brokers. Beyond them `write` throws BusFull. */
  readonly maxWaitingBytes: number
  /** Milliseconds after which a record that still waits for the brokers fails with BusUnavailable. */
  readonly produceTimeoutMs: number
  /** A connection without a response for this many milliseconds is closed. */
  readonly requestTimeoutMs: number
}
export interface Writer {
  /** Returns the record's place once all in-sync replicas have it. Throws the errors that `MessageBus.produce` names. */
  write(bytes: Buffer): Promise<{ partition: number; offset: bigint }>
  /** Waits for the records in flight, then disconnects. */
  close(): Promise<void>
}

interface Item {
  readonly bytes: Buffer
  /** Whether `write` has failed because it took too long. The record is then no longer sent. */
  givenUp: boolean
  /** Why the last send of the record failed. */
  lastError?: unknown
}
interface Written {
  readonly partition: number
  readonly offset: bigint
}

/**
 * Number of lanes. Each lane has at most one batch in flight, to one partition. With one lane, a slow broker delays every record. With more
 * lanes, batches are smaller. Measured in 1,000 records/s for 1, 32, 256 and 1,000 callers, with records of 600 bytes and one local broker on
 * a busy machine of 2 cores: 1.1, 29, 40 and 20 with one lane; 1.8, 20, 38 and 46 with two; 1.9, 15, 44 and 50 with four.
 */
const lanes = 2
const batch = { maxCount: 1_000, maxBytes: 1 << 20 }
/** Milliseconds for which a partition that has failed is avoided while other partitions work. */
const avoidMs = 3_000
/** Milliseconds for which a partition counts as working after a success. */
const provenMs = 10_000
/** Milliseconds until a failed batch is sent again: the first number, doubled after each further failure, up to the second number. */
const resendMs = [25, 1_000] as const
/** The errors with which a broker refuses a record for ever. */
const faulty = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD', 'INVALID_TIMESTAMP', 'CORRUPT_MESSAGE'])

/**
 * Makes a writer that sends records in batches, because kafkajs does not batch. It does not use the idempotent producer of kafkajs, because that
 * producer never gives up. So a repeated send may store a record at two places. The message index then drops the second one.
 */
export async function createRecordWriter(options: WriterOptions): Promise<Writer> {
  const { producer, maxWaiting, maxWaitingBytes, produceTimeoutMs } = options
  await producer.connect()

  const send = createSend(options)
  const groupsOf = Array.from({ length: lanes }, () =>
    createGroupCommit<Item, Written | null>({
      write: send,
      bytesOf: (item) => item.bytes.length,
      ...batch,
      isItemFault: isFaulty,
      maxWaiting: Number.POSITIVE_INFINITY, // all lanes together are bounded below
    }),
  )

  const inFlight = new Set<Promise<unknown>>()
  let inFlightBytes = 0
  const add = async (bytes: Buffer): Promise<Written> => {
    const lane = groupsOf.reduce((least, next) => (next.size < least.size ? next : least))
    const item: Item = { bytes, givenUp: false }
    const timeout = Promise.withResolvers<null>()
    const timer = setTimeout(() => {
      item.givenUp = true
      timeout.resolve(null)
    }, produceTimeoutMs)
    try {
      const written = await Promise.race([lane.add(item), timeout.promise])
      if (written === null) throw new Error(`no response for ${produceTimeoutMs} ms`, { cause: item.lastError })
      return written
    } catch (error) {
      if (protocolErrorOf(error) === 'MESSAGE_TOO_LARGE')
        throw new RecordTooLarge(`Kafka does not take a record of ${bytes.length} bytes`, { cause: error })
      throw new BusUnavailable('Kafka did not confirm the message, so it is unknown whether the message was stored', { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    async write(bytes) {
      if (inFlight.size >= maxWaiting) throw new BusFull('more messages are waiting to be written than the limit allows: try again later')
      if (inFlightBytes + bytes.length > maxWaitingBytes)
        throw new BusFull('more bytes are waiting to be written than the limit allows: try again later')
      const written = add(bytes)
      inFlight.add(written)
      inFlightBytes += bytes.length
      try {
        return await written
      } finally {
        inFlight.delete(written)
        inFlightBytes -= bytes.length
      }
    },
    async close() {
      await Promise.allSettled(inFlight)
      await producer.disconnect()
    },
  }
}

/**
 * Makes the function that sends a batch until it is stored, or all of its records are given up. It returns null for the records that are given up. After a
 * failure it prefers another partition, whose leader may be another broker.
 */
function createSend({
  producer,
  topic,
  partitions,
  owned,
  requestTimeoutMs,
}: WriterOptions): (items: readonly Item[]) => Promise<(Written | null)[]> {
  /** Times until which partitions are avoided, and times of the last success. */
  const avoided = new Map<number, number>()
  const succeeded = new Map<number, number>()
  let groups = Math.floor(Math.random() * partitions)
  const nextPartition = (isResent: boolean): number => {
    const now = performance.now()
    const isGood = (partition: number) => (avoided.get(partition) ?? 0) < now
    const hasWorked = (partition: number) => (succeeded.get(partition) ?? Number.NEGATIVE_INFINITY) > now - provenMs
    const good = Array.from({ length: partitions }, (_, partition) => partition).filter(isGood)
    // The leaders of other partitions may be away too. So a failed batch goes to a partition that has worked lately, if there is one.
    const preferred = isResent ? good.filter(hasWorked) : owned().filter(isGood)
    const choices = [preferred, good].find((choice) => choice.length > 0)
    return choices === undefined ? groups++ % partitions : choices[groups++ % choices.length]!
  }
  const sendTo = async (partition: number, items: ReadonlySet<Item>): Promise<bigint> => {
    const responses = await producer.send({
      topic,
      acks: -1,
      // The time is shorter than the request time-out, so that the broker reports late replicas before the connection counts as dead.
      timeout: Math.ceil(requestTimeoutMs * 0.8),
      messages: [...items].map(({ bytes }) => ({ value: bytes, partition })),
    })
    const first = firstOffset(responses, partition)
    avoided.delete(partition)
    succeeded.set(partition, performance.now())
    return first
  }
  return async (items) => {
    for (let failures = 0; ; failures++) {
      const sent = new Set(items.filter((item) => !item.givenUp))
      if (sent.size === 0) return items.map(() => null)
      const partition = nextPartition(failures > 0)
      try {
        const first = await sendTo(partition, sent)
        let index = 0n
        return items.map((item) => (sent.has(item) ? { partition, offset: first + index++ } : null))
      } catch (error) {
        if (isFaulty(error)) throw error
        avoided.set(partition, performance.now() + avoidMs)
        if (!isPassing(error)) throw error
        for (const item of sent) item.lastError = error
      }
      await sleep(Math.min(resendMs[0] * 2 ** failures, resendMs[1]))
    }
  }
}

const isFaulty = (error: unknown): boolean => faulty.has(protocolErrorOf(error) ?? '')

/** Returns the offset of a batch's first record. The whole batch went to one partition. */
function firstOffset(responses: readonly { partition: number; errorCode: number; baseOffset?: string }[], partition: number): bigint {
  const [response] = responses
  if (responses.length !== 1 || response?.partition !== partition || response.errorCode !== 0 || response.baseOffset === undefined)
    throw new Error(`Kafka did not report the offset of a batch in partition ${partition}`)
  const first = BigInt(response.baseOffset)
  if (first < 0n) throw new Error(`Kafka has stored a batch in partition ${partition} without an offset`)
  return first
}
