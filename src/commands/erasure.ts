import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import type { ErasureEvents } from '../events/erasure.ts'
import type { TenantId } from '../events/ids.ts'
import { type MessageRef, messageRefOf } from '../events/refs.ts'
import { tenantStream } from '../events/streams.ts'
import type { CommandStreams } from './command-streams.ts'
import type { Decider } from './handler.ts'
import { refuseOnHold, tenantDecider } from './tenant.ts'

/** The erasure of the payload of one message. */
export interface PayloadErasure extends MessageRef {
  /** The ids and times of the two events. The second ones are null until the bytes are gone. */
  readonly asked_event: string
  readonly asked_at: string
  readonly erased_event: string | null
  readonly erased_at: string | null
}
export type ErasureCommand =
  | { readonly type: 'AskPayloadErasure'; readonly message: MessageRef }
  | { readonly type: 'CompletePayloadErasure' }

type RecordedErasureEvent = { [T in keyof ErasureEvents]: RecordedEvent<T, ErasureEvents[T]> }[keyof ErasureEvents]

export const erasureDecider: Decider<PayloadErasure, ErasureCommand, DecidedEvent<ErasureEvents>> = {
  initial: null,
  decide(command, state) {
    if (command.type === 'AskPayloadErasure')
      return state === null ? [{ type: 'PayloadErasureAsked', data: messageRefOf(command.message) }] : []
    if (state === null || state.erased_event !== null) return []
    const { tenant, message, place } = state
    return [{ type: 'PayloadErased', data: { tenant, message, place } }]
  },
  evolve(state, recorded) {
    const { type, data, id, metadata } = recorded as RecordedErasureEvent
    if (type === 'PayloadErasureAsked')
      return { ...messageRefOf(data), asked_event: id, asked_at: metadata.time, erased_event: null, erased_at: null }
    if (state === null || type !== 'PayloadErased') return state
    return { ...state, erased_event: id, erased_at: metadata.time }
  },
  ownerOf: ({ tenant }) => ({ tenant, key_id: null }),
}

/** Throws on_hold while a legal hold forbids the erasure of the tenant's data. The stream is read, because the read model may be behind. */
export async function refuseIfHeld(streams: Pick<CommandStreams, 'read'>, tenant: TenantId, now: string): Promise<void> {
  const { events } = await streams.read(tenantStream(tenant))
  const state = events.reduce(tenantDecider.evolve, tenantDecider.initial)
  refuseOnHold(state?.hold ?? null, now) // mutation: hold-ignored
}
