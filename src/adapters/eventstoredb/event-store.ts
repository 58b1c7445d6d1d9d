import { isDayStream } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/retry.ts'
import { createUnderWay } from '../../lib/under-way.ts'
import { type EventStore, type ExpectedRevision, StoreUnavailable } from '../../ports/event-store.ts'
import { createAnyAppends } from './any-appends.ts'
import { createAppender } from './append.ts'
import { type SubscriptionOptions, subscribeAlone } from './connected-subscription.ts'
import { createEngine } from './engine.ts'
import { encodeAppend } from './events.ts'
import { createStoreHealth } from './health.ts'
import { createOwnEvents } from './own-events.ts'
import { createHead, engineIdOf, headStream } from './own-streams.ts'
import { readStream, tryReadingAll } from './read.ts'
import { createTail, kindsOf, subscribe } from './tail.ts'

export interface EventStoreDbOptions {
  /** A connection string, such as `esdb://user:password@host:2113`, or `esdb://host:2113?tls=false` without TLS. */
  readonly url: string
  /** Seconds after which stored events of day streams are no longer read. Only new streams get the limit. */
  readonly dayStreamMaxAgeSeconds: number
  readonly log: Log
  /** Milliseconds that an append may take with its retries. Default 10,000. */
  readonly appendTimeoutMs?: number
}

const isExact = (expected: ExpectedRevision): boolean => expected === 'none' || typeof expected === 'number'
/** The most bytes of appends that are in flight or waiting. Beyond this limit an append is refused. */
const maxUnderWayBytes = 256 << 20
/** After a call has failed, the store itself makes a call after this many milliseconds. */
const probeMs = 1_000

/**
 * Makes the event store on EventStoreDB 22.6 or later. Throws StoreUnavailable when the server does not respond, and KolbakError
 * `invalid_config` when the connection string cannot be used.
 */
export async function createEventStoreDbStore(options: EventStoreDbOptions): Promise<EventStore> {
  const { url, dayStreamMaxAgeSeconds, log, appendTimeoutMs = 10_000 } = options
  const health = createStoreHealth(log)
  const engine = createEngine(url, appendTimeoutMs, log, health)
  const appends = createAppender(engine)
  const anyAppends = createAnyAppends({ engine, appender: appends, maxAgeSeconds: dayStreamMaxAgeSeconds, now: Date.now })
  const heads = createHead(appends)
  const closing = new AbortController()
  const ownEvents = createOwnEvents()
  const subscribeDirectly = (subscription: SubscriptionOptions) => subscribeAlone({ engine, log, own: ownEvents }, subscription)
  const tailOf = (kind: 'command' | 'day') =>
    createTail({ kind, read: subscribeDirectly, newest: () => appends.newest, signal: closing.signal })
  const tails = { command: tailOf('command'), day: tailOf('day') }
  const calls = createUnderWay()
  let underWayBytes = 0

  const ensureOpen = () => {
    if (closing.signal.aborted) throw new StoreUnavailable('the event store is closed')
  }

  /** Appends a marker after calls have failed. Otherwise a process without requests would not notice that calls succeed again. */
  const probeWhileFailing = async () => {
    while (!closing.signal.aborted) {
      await pause(probeMs, closing.signal)
      if (engine.isFailing && !closing.signal.aborted) await calls.track(heads.mark()).catch(() => {}) // the failure of the call is recorded in `health`
    }
  }

  try {
    await tryReadingAll(engine)
    await appends.describe(headStream, { maxCount: 1 })
    // The marker shows that the store accepts writes. Its position separates older events from newer ones, so that repeats are recognised.
    await heads.mark()
    const identity = `eventstoredb-${await engineIdOf(engine, appends)}`
    health.begin()
    engine.connections.watch()
    void probeWhileFailing()
    return {
      identity,
      get problem() {
        return health.problem
      },
      async append(stream, events, expected, { patient = false, since } = {}) {
        ensureOpen()
        const item = encodeAppend(stream, events, expected)
        if (tails[isDayStream(stream) ? 'day' : 'command'].isReading) ownEvents.add(item)
        if (underWayBytes + item.bytes > maxUnderWayBytes) throw new StoreUnavailable('too many appends are waiting to be written')
        underWayBytes += item.bytes
        try {
          return await calls.track(
            isDayStream(stream) || !isExact(expected) ? anyAppends.append(item, patient, since) : appends.append(item),
          )
        } finally {
          underWayBytes -= item.bytes
        }
      },
      async read(stream, range) {
        ensureOpen()
        return calls.track(readStream(engine, stream, range))
      },
      subscribe({ families, after, signal, batch = 500 }) {
        const subscription = { families, after, batch, signal: AbortSignal.any([signal, closing.signal]) }
        const [kind, ...otherKinds] = kindsOf(families)
        return kind === undefined || otherKinds.length > 0
          ? subscribeDirectly(subscription)
          : subscribe(tails[kind], subscribeDirectly, subscription)
      },
      // A head is always returned, because it would cost much to find out whether the families have events.
      async head() {
        ensureOpen()
        return calls.track(heads.mark())
      },
      async close() {
        closing.abort()
        health.close()
        await calls.ended()
        await engine.connections.close()
      },
    }
  } catch (error) {
    health.close()
    await engine.connections.close()
    throw error
  }
}
