import { setTimeout as sleep } from 'node:timers/promises'
import { ulid } from 'ulid'
import { type PostStatus, postLoadEvent } from '../support/load.ts'
import type { Receiver } from '../support/receiver.ts'
import { waitFor } from '../support/wait-for.ts'

/** The results of one load. Times are in milliseconds. */
export interface Figures {
  readonly accepted: number
  /** Posts with another status than 202, and posts without a response. */
  readonly refused: number
  /** Accepted events that have not arrived. */
  readonly lost: number
  /** Requests beyond the first one of an event. */
  readonly repeated: number
  /** The longest time without any delivery. */
  readonly standStillMs: number
  /** The time from the post of an event to its first delivery, which 99 % of the events do not exceed. */
  readonly p99Ms: number
  /** The share of events that were delivered more than 2 s after their post, from 0 to 1. */
  readonly lateShare: number
}

/** The ids of posted events, with the times of their posts and deliveries. */
export interface Ledger {
  /** Returns the number of responses by status. `none` counts the posts without a response. */
  statuses(): ReadonlyMap<PostStatus, number>
  /** Waits until a second's events are all accepted and delivered. */
  flowing(): Promise<void>
  /** Stops posting, waits until every accepted event has arrived or no further one has arrived for a minute, and returns the figures. */
  close(): Promise<Figures>
}

/** The times at which requests have arrived at a receiver, by the ids of their events. */
export type Arrivals = ReadonlyMap<string, readonly number[]>

/** Makes a path of the receiver record all requests that arrive from now on. */
export function recordArrivals(receiver: Receiver, path: string): Arrivals {
  const arrivals = new Map<string, number[]>()
  receiver.setResponse(path, ({ headers, at }, response) => {
    response.writeHead(200).end()
    const id = String(headers['webhook-id'])
    arrivals.set(id, [...(arrivals.get(id) ?? []), at])
  })
  return arrivals
}

/** Returns the number of requests beyond the first one of each event. */
export const repeatedIn = (arrivals: Arrivals): number => [...arrivals.values()].reduce((sum, times) => sum + times.length - 1, 0)

/** Events that arrive later than this after their post are late. */
const lateMs = 2_000
/** Milliseconds without a delivery after which the accepted events that have not arrived count as lost. */
const lostAfterMs = 60_000
/** The most posts that may wait for their responses. It is high, so that a fault that blocks posts does not slow down the load. */
const maxOpen = 1_000
/** Milliseconds after which a post without a response is given up. A producer would wait about as long. */
const postTimeoutMs = 30_000

interface LedgerOptions {
  /** The processes to which events are posted in turn. Called for each post, because a restarted process has another address. */
  readonly urls: () => readonly string[]
  readonly authorization: string
  readonly perSecond: number
  readonly arrivals: Arrivals
}

/** Posts events `load.posted` until `close`. */
export function openLedger({ urls, authorization, perSecond, arrivals }: LedgerOptions): Ledger {
  const prefix = ulid()
  const postedAt = new Map<string, number>()
  const responses = new Map<string, PostStatus>()
  const open = new Set<Promise<void>>()
  let isPosting = true

  const post = async (n: number) => {
    const id = `${prefix}-${n}`
    postedAt.set(id, performance.now())
    responses.set(id, await postLoadEvent(urls()[n % urls().length]!, authorization, id, postTimeoutMs))
  }
  const posting = (async () => {
    const startedAt = performance.now()
    for (let n = 0; isPosting; n++) {
      await sleep(Math.max(0, startedAt + (n * 1_000) / perSecond - performance.now()))
      const request = post(n).finally(() => open.delete(request))
      open.add(request)
      if (open.size >= maxOpen) await Promise.race(open)
    }
  })()
  const isAccepted = (id: string) => responses.get(id) === 202
  const isDelivered = (id: string) => arrivals.has(id)
  const missing = () => [...responses.keys()].filter((id) => isAccepted(id) && !isDelivered(id))

  return {
    statuses() {
      const counts = new Map<PostStatus, number>()
      for (const status of responses.values()) counts.set(status, (counts.get(status) ?? 0) + 1)
      return counts
    },
    async flowing() {
      let first = postedAt.size
      await waitFor(
        () => {
          const ids = Array.from({ length: perSecond }, (_, i) => `${prefix}-${first + i}`)
          if (!ids.every((id) => responses.has(id))) return false
          if (ids.every(isAccepted)) return ids.every(isDelivered)
          first = postedAt.size // some of them were refused, so later ones have to show that the service works again
          return false
        },
        { what: 'events to be accepted and delivered' },
      )
    },
    async close() {
      isPosting = false
      await posting
      await Promise.all(open)
      let lastProgress = { at: performance.now(), missing: Number.POSITIVE_INFINITY }
      await waitFor(
        () => {
          const missingCount = missing().length
          if (missingCount < lastProgress.missing) lastProgress = { at: performance.now(), missing: missingCount }
          return missingCount === 0 || performance.now() - lastProgress.at > lostAfterMs
        },
        { what: 'the accepted events to arrive' },
      )
      const accepted = [...responses.keys()].filter(isAccepted)
      const ownArrivals = new Map([...postedAt.keys()].flatMap((id) => (arrivals.has(id) ? [[id, arrivals.get(id)!] as const] : [])))
      const deliveredAt = [...ownArrivals.values()].map(([first]) => first!).sort((a, b) => a - b)
      const delays = [...ownArrivals].map(([id, [first]]) => first! - postedAt.get(id)!).sort((a, b) => a - b)
      return {
        accepted: accepted.length,
        refused: responses.size - accepted.length,
        lost: missing().length,
        repeated: repeatedIn(ownArrivals),
        standStillMs: Math.max(0, ...deliveredAt.map((at, i) => (i === 0 ? 0 : at - deliveredAt[i - 1]!))),
        p99Ms: delays[Math.floor(delays.length * 0.99)] ?? 0,
        lateShare: delays.filter((delay) => delay > lateMs).length / Math.max(1, delays.length),
      }
    },
  }
}
