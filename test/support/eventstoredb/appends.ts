import { setImmediate } from 'node:timers/promises'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import type {
  AppendReq,
  AppendResp,
  DeleteReq,
  DeleteResp,
  TombstoneReq,
  TombstoneResp,
} from '@eventstore/db-client/generated/streams_pb.js'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import type { handleClientStreamingCall, handleUnaryCall, Metadata, sendUnaryData } from '@grpc/grpc-js'
import type { WriteResult } from './event-log.ts'
import { expectedOf, failures, isUuid, maxAppendSize, proposedOf, sizeOf, streamOf } from './messages.ts'
import type { DoubleNode } from './node.ts'
import type { Expected, Proposed } from './stored.ts'

/** The RPCs Append, Delete and Tombstone. */
export function writing(node: DoubleNode) {
  const { faults } = node
  const append: handleClientStreamingCall<AppendReq, AppendResp> = (call, callback) => {
    const refusal = faults.countCall('append') ? failures.unavailable() : node.refusal(call.metadata, { isWrite: true })
    let options: AppendReq.Options | undefined
    let size = 0
    let isOver = false
    const events: Proposed[] = []
    const respond: sendUnaryData<AppendResp> = (...args) => {
      if (!isOver) callback(...args)
      isOver = true
    }
    call.on('data', (request: AppendReq) => {
      options ??= request.getOptions()
      const message = request.getProposedMessage()
      if (message === undefined || isOver) return
      const event = proposedOf(message)
      size += sizeOf(event)
      if (size > maxAppendSize) respond(failures.tooLarge())
      else if (!isUuid(event.id)) respond(failures.notAnId())
      else events.push(event)
    })
    call.on('error', () => {
      isOver = true // the caller has gone in the middle of its request, so nothing is appended
    })
    call.on('end', async () => {
      await setImmediate() // a request that was cut ends too, and is known as cancelled a moment later
      if (refusal !== null) return respond(refusal)
      if (isOver || call.cancelled || options === undefined) return
      const stream = streamOf(options.getStreamIdentifier())
      const expected = expectedOf(options, options.getRevision())
      const done = await node.log.append(stream, expected, events).catch(() => null)
      if (done === null) return respond(failures.unavailable()) // this node was deposed, so it is unknown whether the append happened
      if (!(await faults.beforeResponse(true))) return
      if (done.kind === 'deleted') respond(failures.deleted(stream))
      else respond(null, appended(done, expected))
    })
  }

  const ending =
    <Q extends DeleteReq | TombstoneReq, R extends DeleteResp | TombstoneResp>(
      method: 'delete' | 'tombstone',
      respond: (position: number) => R,
    ) =>
    async (call: { request: Q; metadata: Metadata }, callback: sendUnaryData<R>) => {
      const options = call.request.getOptions()
      const refusal = faults.countCall(method) ? failures.unavailable() : node.refusal(call.metadata, { isWrite: true })
      if (refusal !== null || options === undefined) return callback(refusal ?? failures.unavailable())
      const stream = streamOf(options.getStreamIdentifier())
      const expected = expectedOf(options, options.getRevision())
      const done = await node.log[method](stream, expected)
      if (!(await faults.beforeResponse(false))) return
      if (done.kind === 'deleted') callback(failures.deleted(stream))
      else if (done.kind === 'wrong') callback(failures.wrongVersion(stream, expected, done.current))
      else callback(null, respond(done.position))
    }
  const remove: handleUnaryCall<DeleteReq, DeleteResp> = ending('delete', (position) =>
    new streams.DeleteResp().setPosition(
      new streams.DeleteResp.Position().setCommitPosition(String(position)).setPreparePosition(String(position)),
    ),
  )
  const tombstone: handleUnaryCall<TombstoneReq, TombstoneResp> = ending('tombstone', (position) =>
    new streams.TombstoneResp().setPosition(
      new streams.TombstoneResp.Position().setCommitPosition(String(position)).setPreparePosition(String(position)),
    ),
  )
  return { append, delete: remove, tombstone }
}

/** Returns the response of Append. A wrong version is a normal response, and not an error. */
function appended(done: Exclude<WriteResult, { kind: 'deleted' }>, expected: Expected): AppendResp {
  const response = new streams.AppendResp()
  if (done.kind === 'done') {
    const position = new streams.AppendResp.Position().setCommitPosition(String(done.position)).setPreparePosition(String(done.position))
    const success = new streams.AppendResp.Success().setPosition(position)
    if (done.revision < 0) success.setNoStream(new shared.Empty())
    else success.setCurrentRevision(String(done.revision))
    return response.setSuccess(success)
  }
  const wrong = new streams.AppendResp.WrongExpectedVersion()
  if (done.current < 0) wrong.setCurrentNoStream(new shared.Empty())
  else wrong.setCurrentRevision(String(done.current))
  if (expected === 'any') wrong.setExpectedAny(new shared.Empty())
  else if (expected === 'no_stream') wrong.setExpectedNoStream(new shared.Empty())
  else if (expected === 'stream_exists') wrong.setExpectedStreamExists(new shared.Empty())
  else wrong.setExpectedRevision(String(expected))
  return response.setWrongExpectedVersion(wrong)
}
