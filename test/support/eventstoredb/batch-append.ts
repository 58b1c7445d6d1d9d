import shared from '@eventstore/db-client/generated/shared_pb.js'
import statusMessages from '@eventstore/db-client/generated/status_pb.js'
import type { BatchAppendReq, BatchAppendResp } from '@eventstore/db-client/generated/streams_pb.js'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import { type handleBidiStreamingCall, status } from '@grpc/grpc-js'
import anyMessages from 'google-protobuf/google/protobuf/any_pb.js'
import emptyMessages from 'google-protobuf/google/protobuf/empty_pb.js'
import { expectedOf, failures, identifierOf, idOf, maxAppendSize, proposedOf, sizeOf, streamOf } from './messages.ts'
import type { DoubleNode } from './node.ts'
import type { Expected, Proposed } from './stored.ts'

interface Pending {
  readonly stream: string
  readonly expected: Expected
  readonly events: Proposed[]
  size: number
}
type Respond = (fill: (response: BatchAppendResp) => void) => void

/** Makes an error for a response. Its empty fields have the type `google.protobuf.Empty`, while Append uses a type of EventStoreDB. */
function problem(name: string, code: status, message: { serializeBinary(): Uint8Array }) {
  const details = new anyMessages.Any()
  details.pack(message.serializeBinary(), `event_store.client.${name}`)
  return new statusMessages.Status()
    .setMessage(name)
    .setDetails(details)
    .setCode(code as never)
}
function wrongVersion(expected: Expected, current: number) {
  const message = new shared.WrongExpectedVersion()
  const empty = new emptyMessages.Empty()
  if (current < 0) message.setCurrentNoStream(empty)
  else message.setCurrentStreamRevision(String(current))
  if (expected === 'any') message.setExpectedAny(empty)
  else if (expected === 'no_stream') message.setExpectedNoStream(empty)
  else if (expected === 'stream_exists') message.setExpectedStreamExists(empty)
  else message.setExpectedStreamPosition(String(expected))
  return problem('WrongExpectedVersion', status.ALREADY_EXISTS, message)
}

/**
 * The RPC BatchAppend. One stream of requests carries many appends, each in parts under its correlation id. The responses come in any order.
 */
export function batchAppending(node: DoubleNode): handleBidiStreamingCall<BatchAppendReq, BatchAppendResp> {
  const { faults } = node
  const finish = async ({ stream, expected, events, size }: Pending, respond: Respond) => {
    if (size > maxAppendSize) {
      const message = new shared.MaximumAppendSizeExceeded().setMaxappendsize(maxAppendSize)
      return respond((response) => response.setError(problem('MaximumAppendSizeExceeded', status.INVALID_ARGUMENT, message)))
    }
    const done = await node.log.append(stream, expected, events)
    if (!(await faults.beforeResponse(true))) return
    if (done.kind === 'wrong') return respond((response) => response.setError(wrongVersion(expected, done.current)))
    if (done.kind === 'deleted') {
      const message = new shared.StreamDeleted().setStreamIdentifier(identifierOf(stream))
      return respond((response) => response.setError(problem('StreamDeleted', status.NOT_FOUND, message)))
    }
    const position = new shared.AllStreamPosition().setCommitPosition(String(done.position)).setPreparePosition(String(done.position))
    const success = new streams.BatchAppendResp.Success().setCurrentRevision(String(done.revision)).setPosition(position)
    return respond((response) => response.setSuccess(success))
  }

  return (call) => {
    const refusal = faults.countCall('batchAppend') ? failures.unavailable() : node.refusal(call.metadata, { isWrite: true })
    if (refusal !== null) {
      call.emit('error', refusal)
      return
    }
    const pending = new Map<string, Pending>()
    call.on('data', (request: BatchAppendReq) => {
      const correlation = idOf(request.getCorrelationId())
      const options = request.getOptions()
      if (options !== undefined)
        pending.set(correlation, {
          stream: streamOf(options.getStreamIdentifier()),
          expected: expectedOf(options, options.getStreamPosition()),
          events: [],
          size: 0,
        })
      const append = pending.get(correlation)
      if (append === undefined) return
      for (const message of request.getProposedMessagesList()) {
        const event = proposedOf(message)
        append.size += sizeOf(event)
        append.events.push(event)
      }
      if (!request.getIsFinal()) return
      pending.delete(correlation)
      finish(append, (fill) => {
        const response = new streams.BatchAppendResp()
          .setCorrelationId(request.getCorrelationId())
          .setStreamIdentifier(identifierOf(append.stream))
        fill(response)
        if (!call.cancelled) call.write(response)
      }).catch(() => call.emit('error', failures.unavailable())) // this node was deposed
    })
    call.on('error', () => pending.clear()) // the caller has gone, so its unfinished appends are dropped
    call.on('end', () => call.end())
  }
}
