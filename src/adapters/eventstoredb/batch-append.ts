import { randomUUID } from 'node:crypto'
import { convertToCommandError } from '@eventstore/db-client'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import type { ClientDuplexStream } from '@grpc/grpc-js'
import { EventRefused, StoreUnavailable } from '../../ports/event-store.ts'
import type { Connection } from './connections.ts'
import type { Engine } from './engine.ts'
import type { AppendItem } from './events.ts'
import { encodeAppendRequest } from './wire.ts'

/** The result of an append, as the server returns it. */
interface Stored {
  readonly revision: number
  readonly commit: bigint
}
interface Waiting {
  resolve(stored: Stored): void
  reject(error: unknown): void
}
/** The one call of BatchAppend on a connection, which carries all appends. */
interface BatchCall {
  send(item: AppendItem, signal: AbortSignal): Promise<Stored>
}

/** The error of an append that the server has refused. The RPC Append tells why. */
class AppendRefused extends EventRefused {}

const path = '/event_store.client.streams.Streams/BatchAppend'
/** The errors after which nothing of an append was stored. After any other error it may have been stored. */
const refusals = /\.(WrongExpectedVersion|AccessDenied|StreamDeleted|MaximumAppendSizeExceeded|InvalidTransaction|BadRequest)$/

/**
 * Appends by the RPC BatchAppend. Through it, an append is one message, whatever the number of its events, and all appends share one call. With the
 * RPC Append each append is a call and each event a message, which costs many times the processor time.
 *
 * The library has this RPC too, but it is not used, for two reasons. The library keeps all appends in flight in one map of the module, so a
 * fault of one connection fails the appends of all connections (KurrentDB-Client-NodeJS#523). And its call has no deadline.
 */
export function createBatchAppends(engine: Engine): { append(item: AppendItem, end: number): Promise<Stored> } {
  const calls = new WeakMap<Connection, Promise<BatchCall>>()
  const seconds = Math.max(1, Math.round(engine.tryMs / 1_000))

  const open = async (connection: Connection): Promise<BatchCall> => {
    const client = await connection.raw()
    const waiting = new Map<string, Waiting>()
    const call: ClientDuplexStream<Buffer, streams.BatchAppendResp> = client.makeBidiStreamRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => streams.BatchAppendResp.deserializeBinary(new Uint8Array(bytes)),
      engine.headers(),
      {},
    )
    const end = (error: unknown) => {
      if (calls.get(connection) === opening) calls.delete(connection)
      connection.lost.removeEventListener('abort', cancel)
      for (const { reject } of waiting.values()) reject(error)
      waiting.clear()
    }
    const opening = calls.get(connection)
    const cancel = () => call.cancel()
    connection.lost.addEventListener('abort', cancel, { once: true })
    call.on('data', (response: streams.BatchAppendResp) => {
      const id = idOf(response)
      const append = waiting.get(id)
      waiting.delete(id)
      if (append === undefined) return // the append has waited too long
      const success = response.getSuccess()
      const commit = success?.getPosition()?.getCommitPosition()
      if (success !== undefined && commit !== undefined)
        append.resolve({ revision: Number(success.getCurrentRevision()), commit: BigInt(commit) })
      else append.reject(errorOf(response))
    })
    call.on('error', (error) => end(convertToCommandError(error)))
    call.on('end', () => end(new StoreUnavailable('EventStoreDB ended the call of appends')))
    return {
      send: (item, signal) =>
        new Promise((resolve, reject) => {
          const id = randomUUID()
          waiting.set(id, { resolve, reject })
          const giveUp = () => {
            waiting.delete(id)
            // A connection that takes no bytes would keep those of every later append in memory.
            if (call.writableLength > 0) cancel()
          }
          signal.addEventListener('abort', giveUp, { once: true })
          call.write(encodeAppendRequest(id, item.stream, item.encoded, seconds))
        }),
    }
  }
  const callOf = (connection: Connection): Promise<BatchCall> => {
    let call = calls.get(connection)
    if (call === undefined) {
      call = open(connection)
      calls.set(connection, call)
    }
    return call
  }
  return {
    append: (item, end) =>
      engine.ask(item.stream, async (_, signal, connection) => (await callOf(connection)).send(item, signal), { end, once: true }),
  }
}

function idOf(response: streams.BatchAppendResp): string {
  const id = response.getCorrelationId()
  if (id?.hasString()) return id.getString()
  const half = (bits: string | undefined) =>
    BigInt.asUintN(64, BigInt(bits ?? 0))
      .toString(16)
      .padStart(16, '0')
  const hex = half(id?.getStructured()?.getMostSignificantBits()) + half(id?.getStructured()?.getLeastSignificantBits())
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
function errorOf(response: streams.BatchAppendResp): Error {
  const error = response.getError()
  const type = error?.getDetails()?.getTypeUrl() ?? ''
  const message = `EventStoreDB has not stored an append: ${error?.getMessage() || type}`
  return refusals.test(type) ? new AppendRefused(message) : new StoreUnavailable(message)
}
