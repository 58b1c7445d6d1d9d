import type { AttemptEventType, DeliveryEvents } from '../events/delivery.ts'
import type { Metadata, NewEvent } from '../events/envelope.ts'
import { type DeliveryRef, deliveryEventRefOf } from '../events/refs.ts'
import { withoutImplied } from '../events/schema.ts'
import { sealEvent, type UnsealedEvent } from '../events/sealed-fields.ts'
import { step } from '../events/steps.ts'
import { attemptsStream, type StreamName } from '../events/streams.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'
import type { Vault } from '../lib/seal.ts'
import { EventRefused, type EventStore, EventTooLarge } from '../ports/event-store.ts'
import type { Schedule } from './schedule.ts'

export interface RecordAttemptDeps {
  readonly store: Pick<EventStore, 'append'>
  readonly schedule: Pick<Schedule, 'done'>
  readonly macs: Pick<EventMacs, 'attemptIdOf'>
  readonly log: Log
  /** Returns whether every live process reads attempts whose implied fields are absent. A process of version 0.2 does not. */
  readsImplied(): boolean
}
/** The data of an attempt's event, without the fields that identify the delivery. */
type AttemptFacts<T extends AttemptEventType> = Omit<DeliveryEvents[T], keyof DeliveryRef>
export interface Attempt<T extends AttemptEventType = AttemptEventType> {
  readonly ref: DeliveryRef
  /** RFC 3339 time. It is fixed before the request, so that a repeated append has the same time and goes to the same stream. */
  readonly time: string
  readonly type: T
  readonly facts: AttemptFacts<T>
  /** The vault that seals the response of the receiver, or null if the event has no response. */
  readonly vault: Vault | null
}

/** The schema of attempts in version 0.2, whose events have every field. */
const schemaOfVersion02 = 1

/** Appends the event of an attempt, and then deletes the scheduled row of the attempt. Retries until both succeed. */
export async function recordAttempt<T extends AttemptEventType>(
  deps: RecordAttemptDeps,
  attempt: Attempt<T>,
  { fromTable }: { fromTable: boolean },
): Promise<void> {
  await append(deps, attempt) // mutation: row-deleted-before-append
  if (fromTable) await deleteRow(deps, attempt.ref)
}

async function append<T extends AttemptEventType>(deps: RecordAttemptDeps, attempt: Attempt<T>): Promise<void> {
  const { store, log } = deps
  const { ref, time, type, facts, vault } = attempt
  const { delivery, chain, attempt: number } = ref
  const stream = attemptsStream(ref.webhook, time)
  const data = { ...deliveryEventRefOf(ref), ...facts }
  const unsealed = { type, data, metadata: metadataOf(ref, time) }
  // The event is made once, so a repeated append stores it once.
  let event = storedEvent(deps, stream, unsealed, vault)
  const appendEvent = () => store.append(stream, [event], 'any', { patient: true }) // mutation: new-event-per-try
  await untilDone(() => step('delivery.append', appendEvent), {
    onError(error, delayMs) {
      log.warn({ error, delayMs, delivery, chain, attempt: number }, 'attempt.append_failed')
      // The receiver chooses the bytes of its response. If the store refuses them, the attempt is recorded without them.
      if (error instanceof EventRefused || error instanceof EventTooLarge)
        event = storedEvent(deps, stream, { ...unsealed, data: withoutBytes(data) }, null)
    },
  })
}

/** Returns the event of an attempt as it is stored. Its id is its MAC. */
function storedEvent<T extends AttemptEventType>(
  { macs, readsImplied }: RecordAttemptDeps,
  stream: StreamName,
  unsealed: Omit<UnsealedEvent<T>, 'id'>,
  vault: Vault | null,
): NewEvent {
  const sealed = sealEvent(vault, stream, unsealed)
  const stored = readsImplied()
    ? withoutImplied(sealed, stream)
    : { ...sealed, metadata: { ...sealed.metadata, schema: schemaOfVersion02 } }
  return { ...stored, id: macs.attemptIdOf({ ...stored, stream }) } // mutation: attempt-without-mac
}

/** Returns the data of an attempt without what the receiver has written. */
function withoutBytes<D extends object>(data: D): D {
  const { response_headers, ...others } = data as D & { readonly response_headers?: string }
  return { ...others, response: null } as unknown as D
}

const metadataOf = (ref: DeliveryRef, time: string): Omit<Metadata, 'schema'> => ({
  actor: 'system:dispatcher',
  tenant: ref.tenant,
  time,
  $correlationId: ref.correlation_id,
  $causationId: null,
})

async function deleteRow({ schedule, log }: RecordAttemptDeps, ref: DeliveryRef): Promise<void> {
  await untilDone(() => step('schedule.done', () => schedule.done(ref)), {
    onError: (error, delayMs) => log.warn({ error, delayMs, delivery: ref.delivery }, 'schedule.done_failed'),
  })
}
