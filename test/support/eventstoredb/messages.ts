import type { StreamIdentifier, UUID } from '@eventstore/db-client/generated/shared_pb.js'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import type { ReadResp } from '@eventstore/db-client/generated/streams_pb.js'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { type Expected, type Proposed, revisionText, type Stored } from './stored.ts'

// This file converts between the messages of the protocol and the values of the double.

/** Converts an id, which may be a text or two signed halves. */
export function idOf(uuid: UUID | undefined): string {
  if (uuid === undefined) return ''
  if (uuid.hasString()) return uuid.getString()
  const half = (bits: string) => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0')
  const halves = uuid.getStructured()
  const hex = half(halves?.getMostSignificantBits() ?? '0') + half(halves?.getLeastSignificantBits() ?? '0')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
export const isUuid = (id: string): boolean => /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(id)

export const streamOf = (identifier: StreamIdentifier | undefined): string => Buffer.from(identifier?.getStreamName_asU8() ?? '').toString()
export const identifierOf = (stream: string): StreamIdentifier => new shared.StreamIdentifier().setStreamName(bytes(Buffer.from(stream)))

/** Converts bytes to a plain array, because google-protobuf does not accept a Buffer. */
const bytes = (buffer: Buffer): Uint8Array => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)

interface ProposedMessage {
  getId(): UUID | undefined
  getMetadataMap(): { get(key: string): string | undefined }
  getData_asU8(): Uint8Array
  getCustomMetadata_asU8(): Uint8Array
}
export const proposedOf = (message: ProposedMessage): Proposed => ({
  id: idOf(message.getId()),
  type: message.getMetadataMap().get('type') ?? '',
  contentType: message.getMetadataMap().get('content-type') ?? '',
  data: Buffer.from(message.getData_asU8()),
  metadata: Buffer.from(message.getCustomMetadata_asU8()),
})
/** The most bytes of one append. This is the limit of the server. */
export const maxAppendSize = 1 << 20
export const sizeOf = (event: Proposed): number => event.data.length + event.metadata.length + 2 * event.type.length

interface ExpectedOptions {
  hasNoStream(): boolean
  hasAny(): boolean
  hasStreamExists(): boolean
}
export const expectedOf = (options: ExpectedOptions, revision: string): Expected =>
  options.hasNoStream() ? 'no_stream' : options.hasAny() ? 'any' : options.hasStreamExists() ? 'stream_exists' : Number(revision)

function recorded(event: Stored): ReadResp.ReadEvent.RecordedEvent {
  const message = new streams.ReadResp.ReadEvent.RecordedEvent()
    .setId(new shared.UUID().setString(event.id))
    .setStreamIdentifier(identifierOf(event.stream))
    .setStreamRevision(revisionText(event.revision))
    .setCommitPosition(String(event.position))
    .setPreparePosition(String(event.position))
    .setData(bytes(event.data))
    .setCustomMetadata(bytes(event.metadata))
  const map = message.getMetadataMap()
  map.set('type', event.type)
  map.set('content-type', event.contentType)
  map.set('created', String(BigInt(event.created) * 10_000n)) // the unit is 100 ns since 1970
  return message
}
export function eventMessage(event: Stored | undefined, link: Stored | undefined): ReadResp {
  const message = new streams.ReadResp.ReadEvent()
  if (event !== undefined) message.setEvent(recorded(event))
  if (link !== undefined) message.setLink(recorded(link))
  message.setCommitPosition(String((link ?? event)?.position))
  return new streams.ReadResp().setEvent(message)
}
export const confirmationMessage = (id: string): ReadResp =>
  new streams.ReadResp().setConfirmation(new streams.ReadResp.SubscriptionConfirmation().setSubscriptionId(id))
export const checkpointMessage = (position: number): ReadResp =>
  new streams.ReadResp().setCheckpoint(
    new streams.ReadResp.Checkpoint().setCommitPosition(String(position)).setPreparePosition(String(position)),
  )
export const caughtUpMessage = (): ReadResp => new streams.ReadResp().setCaughtUp(new streams.ReadResp.CaughtUp())
export const notFoundMessage = (stream: string): ReadResp =>
  new streams.ReadResp().setStreamNotFound(new streams.ReadResp.StreamNotFound().setStreamIdentifier(identifierOf(stream)))

function failure(code: status, details: string, trailers: Record<string, string>): ServiceError {
  const metadata = new Metadata()
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value)
  return Object.assign(new Error(details), { code, details, metadata })
}
/** The errors of the server: a status, and trailers from which the client makes its error classes. */
export const failures = {
  deleted: (stream: string) =>
    failure(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, { exception: 'stream-deleted', 'stream-name': stream }),
  wrongVersion: (stream: string, expected: Expected, current: number) =>
    failure(status.FAILED_PRECONDITION, `wrong expected version of ${stream}`, {
      exception: 'wrong-expected-version',
      'stream-name': stream,
      'expected-version': String({ any: -2, no_stream: -1, stream_exists: -4 }[expected as string] ?? expected),
      'actual-version': current < 0 ? '' : String(current),
    }),
  unauthenticated: () => failure(status.UNAUTHENTICATED, 'Unauthenticated', {}),
  notLeader: (leader: { readonly port: number }) =>
    failure(status.NOT_FOUND, 'Leader info available', {
      exception: 'not-leader',
      'leader-endpoint-host': '127.0.0.1',
      'leader-endpoint-port': String(leader.port),
    }),
  denied: () => failure(status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' }),
  tooLarge: () =>
    failure(status.INVALID_ARGUMENT, 'Maximum Append Size Exceeded', {
      exception: 'maximum-append-size-exceeded',
      'maximum-append-size': String(maxAppendSize),
    }),
  notAnId: () => failure(status.UNKNOWN, 'Exception was thrown by handler.', {}),
  unavailable: () => failure(status.UNAVAILABLE, 'Server Is Not Ready', {}),
}
