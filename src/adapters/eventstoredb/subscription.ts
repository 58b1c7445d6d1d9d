import { setImmediate } from 'node:timers/promises'
import { type AllStreamResolvedEvent, type Position, START, streamNameFilter } from '@eventstore/db-client'
import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import { type Family, isStreamName } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { type EventBatch, StoreUnavailable } from '../../ports/event-store.ts'
import type { Engine } from './engine.ts'
import { isLeaderless, toPortError } from './errors.ts'
import { toCheckpoint, toRecordedEvent } from './events.ts'
import { headStream } from './own-streams.ts'

/** Number of events that the server checks between two checkpoints when no event passes the filter. */
const window = 500
/** The most events that are read from the connection before the reader needs them. gRPC holds back the others. */
const ahead = 100

/**
 * Yields batches of events as they are stored. When the server ends the subscription, a new one begins at the last checkpoint, with back-off until
 * events arrive.
 */
export async function* subscribe(options: {
  engine: Engine
  log: Log
  families: readonly Family[]
  after: Checkpoint | null
  batch: number
  signal: AbortSignal
}): AsyncGenerator<EventBatch, void, void> {
  const { log, signal, engine } = options
  const delays = createBackoff()
  const health = engine.health.source()
  let checkpoint = options.after
  try {
    while (!signal.aborted) {
      let error: unknown = new StoreUnavailable('EventStoreDB ended a subscription')
      try {
        for await (const batch of connection({ ...options, after: checkpoint, onConfirmed: health.succeeded })) {
          checkpoint = batch.checkpoint
          delays.reset()
          yield batch
          if (signal.aborted) return
        }
      } catch (cause) {
        error = toPortError(cause, '$all')
      }
      if (signal.aborted) return
      health.failed(error)
      const delayMs = delays.next()
      // An unavailable engine is logged only at debug, because the health reports it once for all subscriptions.
      log[error instanceof StoreUnavailable ? 'debug' : 'warn']({ error, delayMs }, 'event_store.subscription_failed')
      await pause(delayMs, signal)
    }
  } finally {
    health.end()
  }
}

/** A position that the server has passed. The position goes through the same queue as the events. */
interface Passed {
  readonly passed: Position
}

/** Yields the batches of one subscription until the server ends it. */
async function* connection(options: {
  engine: Engine
  families: readonly Family[]
  after: Checkpoint | null
  batch: number
  signal: AbortSignal
  /** Called when the server has accepted the subscription. */
  onConfirmed(): void
}): AsyncGenerator<EventBatch, void, void> {
  const { engine, families, after, batch, signal, onConfirmed } = options
  const position = after === null ? START : { commit: BigInt(after), prepare: BigInt(after) }
  const filter = streamNameFilter({
    prefixes: [...families.map((family) => `${family}-`), headStream],
    maxSearchWindow: window,
    async checkpointReached(subscription, passed) {
      subscription.push({ passed } satisfies Passed)
    },
  })
  const { credentials } = engine.callOptions
  const node = await engine.connections.current()
  const source = node.client.subscribeToAll({ credentials, fromPosition: position, filter }, { highWaterMark: ahead })
  source.on('error', () => {}) // the loop below throws the error, and an error after the end must not end the process
  source.once('confirmation', onConfirmed)
  const stop = () => source.destroy()
  signal.addEventListener('abort', stop, { once: true })
  node.lost.addEventListener('abort', stop, { once: true })
  try {
    let checkpoint = after
    let events: RecordedEvent[] = []
    let hasMoved = false
    for await (const item of source as AsyncIterable<AllStreamResolvedEvent | Passed>) {
      const reached = toCheckpoint('passed' in item ? item.passed.commit : (item.event?.position.commit ?? 0n))
      // The passed position may be that of the previous event, whose checkpoint was yielded already.
      if (checkpoint === null || reached > checkpoint) {
        checkpoint = reached
        hasMoved = true
        if ('event' in item && item.event !== undefined && isStreamName(item.event.streamId)) events.push(toRecordedEvent(item.event))
      }
      // Events that arrived together follow within one turn of the event loop.
      if (source.readableLength === 0) await setImmediate()
      if (!hasMoved || checkpoint === null || (source.readableLength > 0 && events.length < batch)) continue
      yield { events, checkpoint }
      events = []
      hasMoved = false
    }
  } catch (error) {
    if (isLeaderless(error)) engine.connections.giveUp(node, error)
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    node.lost.removeEventListener('abort', stop)
    source.destroy()
    source.unsubscribe().catch(() => {}) // if the call could not begin, its error was thrown above
  }
}
