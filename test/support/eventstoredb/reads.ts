import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js'
import type { handleServerStreamingCall, ServerWritableStream } from '@grpc/grpc-js'
import type { EventLog } from './event-log.ts'
import { caughtUpMessage, checkpointMessage, confirmationMessage, eventMessage, failures, notFoundMessage, streamOf } from './messages.ts'
import type { DoubleNode } from './node.ts'
import { filterOf, startOf } from './read-options.ts'
import type { Stored } from './stored.ts'

type Call = ServerWritableStream<ReadReq, ReadResp>

/** The RPC Read. It reads events of a stream or of $all, or subscribes to one of them. */
export function reading(node: DoubleNode): handleServerStreamingCall<ReadReq, ReadResp> {
  const { faults } = node
  /** Returns an event and its link. With `resolveLinkTos` a link (`$>`, `<revision>@<stream>`) is followed to its event. */
  const messageOf = (log: EventLog, event: Stored, resolves: boolean): ReadResp => {
    if (!resolves || event.type !== '$>') return eventMessage(event, undefined)
    const [, revision, stream] = /^(\d+)@(.*)$/s.exec(event.data.toString()) ?? []
    const readResult = stream === undefined ? undefined : log.read(stream)
    const target = readResult?.kind === 'events' ? readResult.events.find((e) => e.revision === Number(revision)) : undefined
    return eventMessage(target, event)
  }
  const all = function* (log: EventLog): Iterable<Stored> {
    for (let i = 0; i < log.size; i++) {
      const event = log.at(i)
      if (event !== undefined) yield event
    }
  }

  async function read(call: Call, options: ReadReq.Options, gone: AbortSignal): Promise<void> {
    const { log } = node
    const isBackwards = options.getReadDirection() === 1
    const start = startOf(options)
    const passes = filterOf(options).passes
    const place = (event: Stored) => (options.hasStream() ? event.revision : event.position)
    let events: Stored[]
    if (options.hasStream()) {
      const stream = streamOf(options.getStream()?.getStreamIdentifier())
      const result = log.read(stream)
      if (result.kind === 'deleted') throw failures.deleted(stream)
      if (result.kind === 'not_found') {
        call.write(notFoundMessage(stream))
        return
      }
      events = [...result.events]
    } else events = [...all(log)].filter(passes)
    // A revision is inclusive in both directions. A position is exclusive when reading backwards.
    if (start === 'start') events = isBackwards ? events.filter((e) => options.hasStream() && place(e) === 0) : events
    else if (start === 'end') events = isBackwards ? events : []
    else if (isBackwards) events = events.filter((e) => (options.hasStream() ? place(e) <= start : place(e) < start))
    else events = events.filter((e) => place(e) >= start)
    if (isBackwards) events.reverse()
    for (const event of events.slice(0, Number(options.getCount())))
      await send(call, messageOf(log, event, options.getResolveLinks()), gone)
  }

  /**
   * Sends the messages of a subscription until the reader ends it: the confirmation, the stored events after its start, a checkpoint, "caught up",
   * and then new events.
   */
  async function subscribe(call: Call, options: ReadReq.Options, gone: AbortSignal): Promise<void> {
    const { log } = node
    const stream = options.hasStream() ? streamOf(options.getStream()?.getStreamIdentifier()) : null
    if (stream !== null && log.read(stream).kind === 'deleted') throw failures.deleted(stream)
    await send(call, confirmationMessage(randomUUID()), gone)
    const filter = filterOf(options)
    const start = startOf(options)
    let index = start === 'end' ? log.size : 0
    if (typeof start === 'number' && stream === null) while (index < log.size && (log.at(index)?.position ?? 0) <= start) index++
    const after = stream !== null && typeof start === 'number' ? start : -1
    const wants = (event: Stored): boolean => {
      if (stream === null) return filter.passes(event)
      if (event.stream !== stream || event.revision <= after) return false
      const visible = log.read(stream)
      return visible.kind === 'events' && visible.events.includes(event)
    }
    let considered = 0
    let last = -1
    let lastCheckpoint = -1
    const checkpoint = async () => {
      if (last === lastCheckpoint) return // no position has two checkpoints
      lastCheckpoint = last
      await send(call, checkpointMessage(last), gone)
    }
    let isLive = false
    while (!gone.aborted && node.log === log) {
      if (index === log.size) {
        if (!isLive) {
          isLive = true
          if (filter.window !== null) await checkpoint()
          await send(call, caughtUpMessage(), gone)
        }
        await untilMore(log, index, gone)
        continue
      }
      const event = log.at(index++)
      if (event === undefined) continue // a scavenge has removed the event
      last = event.position
      if (wants(event)) await send(call, messageOf(log, event, options.getResolveLinks()), gone)
      // Events that the filter leaves out also count for the window.
      if (filter.window !== null && ++considered % filter.window === 0) await checkpoint()
    }
  }

  return (call) => {
    const callEnded = new AbortController()
    for (const end of ['cancelled', 'close', 'error']) call.on(end, () => callEnded.abort())
    const options = call.request.getOptions()
    const work = async () => {
      if (options === undefined || faults.countCall(options.hasSubscription() ? 'subscribe' : 'read')) throw failures.unavailable()
      const refusal = node.refusal(call.metadata, { readsAll: !options.hasStream() })
      if (refusal !== null) throw refusal
      await faults.beforeResponse(false)
      if (options.hasSubscription()) return subscribe(call, options, callEnded.signal)
      await read(call, options, callEnded.signal)
      call.end()
    }
    work().catch((error: unknown) => {
      if (!callEnded.signal.aborted) call.emit('error', error)
    })
  }
}

/** Writes a message, and waits while the reader is slower. */
async function send(call: Call, message: ReadResp, gone: AbortSignal): Promise<void> {
  if (gone.aborted || call.write(message)) return
  await once(call, 'drain', { signal: gone })
}

const untilMore = (log: EventLog, seen: number, callEnded: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      stop()
      callEnded.removeEventListener('abort', done)
      resolve()
    }
    const stop = log.onMore(done)
    callEnded.addEventListener('abort', done, { once: true })
    if (callEnded.aborted || log.size > seen) done()
  })
