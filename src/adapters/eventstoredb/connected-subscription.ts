import { setImmediate } from 'node:timers/promises'
import { convertToCommandError } from '@eventstore/db-client'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import type { ClientReadableStream } from '@grpc/grpc-js'
import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import { type Family, isStreamName } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { type EventBatch, StoreUnavailable } from '../../ports/event-store.ts'
import type { Engine } from './engine.ts'
import { isLeaderless, toPortError } from './errors.ts'
import { fromWire, toCheckpoint } from './events.ts'
import type { OwnEvents } from './own-events.ts'
import { headStream } from './own-streams.ts'
import { decodeReadResponse, type ReadResponse } from './wire.ts'

export interface SubscriptionOptions {
  readonly families: readonly Family[]
  readonly after: Checkpoint | null
  readonly batch: number
  readonly signal: AbortSignal
}
/** A batch with the size of its events in bytes. */
export interface SizedBatch extends EventBatch {
  readonly bytes: number
}
interface SubscriptionDependencies {
  readonly engine: Engine
  readonly log: Log
  readonly own: OwnEvents
}

/** Number of events that the server checks between two checkpoints when no event passes the filter. */
const window = 500
const path = '/event_store.client.streams.Streams/Read'

/**
 * Yields batches of events as they are stored, by a call of its own to the server. Whenever the server ends the call, a new call begins at
 * the last checkpoint. Further tries back off until events arrive.
 */
export async function* subscribeAlone(
  dependencies: SubscriptionDependencies,
  options: SubscriptionOptions,
): AsyncGenerator<SizedBatch, void, void> {
  const { engine, log } = dependencies
  const { signal } = options
  const delays = createBackoff()
  const health = engine.health.source()
  let checkpoint = options.after
  try {
    while (!signal.aborted) {
      let error: unknown = new StoreUnavailable('EventStoreDB ended a subscription')
      try {
        for await (const batch of connection(dependencies, { ...options, after: checkpoint }, health.succeeded)) {
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
      // The health reports an engine that is unavailable, once for all subscriptions.
      log[error instanceof StoreUnavailable ? 'debug' : 'warn']({ error, delayMs }, 'event_store.subscription_failed')
      await pause(delayMs, signal)
    }
  } finally {
    health.end()
  }
}

/** Yields the batches of one call until the server ends it. @param onConfirmed is called when the server has accepted the subscription */
async function* connection(
  { engine, own }: SubscriptionDependencies,
  { families, after, batch, signal }: SubscriptionOptions,
  onConfirmed: () => void,
): AsyncGenerator<SizedBatch, void, void> {
  const node = await engine.connections.current()
  const client = await node.raw()
  const source: ClientReadableStream<ReadResponse> = client.makeServerStreamRequest(
    path,
    (request: streams.ReadReq) => Buffer.from(request.serializeBinary()),
    decodeReadResponse,
    requestOf(families, after),
    engine.headers(),
    {},
  )
  source.on('error', () => {}) // the loop below throws the error; an error after the end must not end the process
  const stop = () => source.cancel()
  signal.addEventListener('abort', stop, { once: true })
  node.lost.addEventListener('abort', stop, { once: true })
  if (signal.aborted || node.lost.aborted) stop()
  try {
    let checkpoint = after
    let events: RecordedEvent[] = []
    let bytes = 0
    let hasMoved = false
    for await (const response of source as AsyncIterable<ReadResponse>) {
      if (response.kind === 'confirmation') onConfirmed()
      if (response.kind === 'event' || response.kind === 'checkpoint') {
        const event = response.kind === 'event' ? response.event : null
        const reached = toCheckpoint(event?.commit ?? (response as { commit: bigint }).commit)
        // The position of a checkpoint may be that of the previous event, whose checkpoint was yielded already.
        if (checkpoint === null || reached > checkpoint) {
          checkpoint = reached
          hasMoved = true
          if (event !== null && isStreamName(event.stream)) {
            events.push(fromWire(event, own.take(event)))
            bytes += event.data.length + event.metadata.length
          }
        }
      }
      // Events that arrived together follow within one turn of the event loop.
      if (source.readableLength === 0) await setImmediate()
      if (!hasMoved || checkpoint === null || (source.readableLength > 0 && events.length < batch)) continue
      yield { events, checkpoint, bytes }
      events = []
      bytes = 0
      hasMoved = false
    }
  } catch (cause) {
    const error = convertToCommandError(cause as Error)
    if (!signal.aborted && isLeaderless(error)) engine.connections.giveUp(node, error)
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    node.lost.removeEventListener('abort', stop)
    source.cancel()
    source.resume() // what has arrived already is dropped
  }
}

function requestOf(families: readonly Family[], after: Checkpoint | null): streams.ReadReq {
  const { Options } = streams.ReadReq
  const all = new Options.AllOptions()
  if (after === null) all.setStart(new shared.Empty())
  else {
    const position = String(BigInt(after))
    all.setPosition(new Options.Position().setCommitPosition(position).setPreparePosition(position))
  }
  const names = new Options.FilterOptions.Expression().setPrefixList([...families.map((family) => `${family}-`), headStream])
  const filter = new Options.FilterOptions().setStreamIdentifier(names).setMax(window).setCheckpointintervalmultiplier(1)
  const options = new Options()
    .setAll(all)
    .setSubscription(new Options.SubscriptionOptions())
    .setUuidOption(new Options.UUIDOption().setString(new shared.Empty()))
    .setFilter(filter)
  return new streams.ReadReq().setOptions(options)
}
