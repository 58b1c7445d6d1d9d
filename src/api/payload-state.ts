import type { CommandStreams } from '../commands/command-streams.ts'
import { erasureDecider, type PayloadErasure } from '../commands/erasure.ts'
import type { Checkpoint } from '../events/envelope.ts'
import { erasureId } from '../events/erasure.ts'
import type { MessageRef } from '../events/refs.ts'
import { isErased } from '../events/sealed-body.ts'
import { erasureStream, type StreamName } from '../events/streams.ts'
import { ApiError } from './errors.ts'

/** Returns the erasure of a message's payload (null if nobody has asked for one), and its stream with the position of the last event. */
export async function findErasure(
  streams: Pick<CommandStreams, 'read'>,
  message: MessageRef,
): Promise<{ erasure: PayloadErasure | null; position: Checkpoint | null; stream: StreamName }> {
  const stream = erasureStream(erasureId(message))
  const { events, position } = await streams.read(stream)
  return { erasure: events.reduce(erasureDecider.evolve, erasureDecider.initial), position, stream }
}

/** Why the payload of an event cannot be shown or sent. */
export type PayloadReason = 'payload_expired' | 'payload_erased' | 'payload_unreadable'

/**
 * Returns why the archive does not hold the body of a message. An empty body without an erasure in the audit log was made by somebody else, so it counts
 * as unreadable.
 */
export async function absenceOf(
  streams: Pick<CommandStreams, 'read'>,
  message: MessageRef,
  sealedBody: Buffer | null | undefined,
): Promise<PayloadReason | null> {
  if (sealedBody === null || sealedBody === undefined) return 'payload_expired'
  if (!isErased(sealedBody)) return null
  return (await findErasure(streams, message)).erasure === null ? 'payload_unreadable' : 'payload_erased'
}

/** Throws payload_expired or payload_erased if the archive does not hold the body of a message. */
export function requireBody(sealedBody: Buffer | null | undefined): void {
  if (sealedBody === null || sealedBody === undefined)
    throw new ApiError('payload_expired', 'The payload is no longer kept: the event cannot be delivered again.')
  if (isErased(sealedBody)) throw new ApiError('payload_erased', 'The payload was erased: the event cannot be delivered again.')
}
