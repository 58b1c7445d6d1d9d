import type { RecordedEvent } from '../events/envelope.ts'
import { codeOf } from '../lib/errors.ts'
import { isDataError } from '../lib/group-commit.ts'
import { FactRefused } from '../ports/delivery-log.ts'

/** Of SQLSTATE: connection, session state (a standby is read-only), authorisation, serialization, resources, locks, operator, system. */
const engineClasses = /^(08|25|28|3D|40|53|55|57|58)...$/
const networkCodes = /^(E(?!RR_)[A-Z_]+|UND_ERR_\w+)$/
/** What our own ports and commands say when the same call may succeed later. */
const tryAgain = new Set(['store_unavailable', 'bus_unavailable', 'bus_full', 'delivery_log_unavailable', 'conflict', 'revision_conflict'])
/** pg gives connections that end, or never begin, an error without a code. */
const connectionMessages = /connection terminated|connection error|timeout exceeded when trying to connect|query read timeout/i

/** Whether what failed in the transaction is the engine's fault, so that the same batch succeeds later. All else is an event's. */
export function isEngineError(error: unknown): boolean {
  const code = codeOf(error)
  if (code === undefined) return error instanceof Error && connectionMessages.test(error.message)
  return engineClasses.test(code) || networkCodes.test(code) || tryAgain.has(code)
}

const codesOfEvents = new Set(['fact_refused', 'seal_broken', 'key_destroyed', 'event_too_large', 'event_refused', 'event_not_readable'])
/**
 * Whether what failed in a `prepare` is an event's fault. There the rule is turned round: each store has errors of its
 * own, and those that are not known as an event's are taken for the store's.
 */
export const isEventError = (error: unknown): boolean =>
  isDataError(error) ||
  codesOfEvents.has(codeOf(error) ?? '') ||
  error instanceof TypeError ||
  error instanceof RangeError ||
  error instanceof SyntaxError

/** An event that could not be taken, and why. */
export interface Poison {
  readonly event: RecordedEvent
  readonly error: unknown
}

/** Events without those of the poisoned streams, from the poison on. */
export const without = (events: readonly RecordedEvent[], poisons: readonly Poison[]): RecordedEvent[] => {
  const from = new Map(poisons.map(({ event }) => [event.stream, event.revision]))
  return events.filter((event) => event.revision < (from.get(event.stream) ?? Number.POSITIVE_INFINITY))
}

/**
 * Does the work for all events but those that make it fail and what follows them in their streams, halving the batch
 * until a faulty event fails alone. `work` leaves nothing behind when it fails. Throws what is no event's fault.
 */
export async function isolate(
  work: (events: readonly RecordedEvent[]) => Promise<void>,
  events: readonly RecordedEvent[],
  isFault: (error: unknown) => boolean,
): Promise<Poison[]> {
  if (events.length === 0) return []
  try {
    await work(events)
    return []
  } catch (error) {
    if (!isFault(error)) throw error
    const named = error instanceof FactRefused ? events.find((event) => event.id === error.event_id) : undefined
    const event = named ?? (events.length === 1 ? events[0] : undefined)
    if (event !== undefined) {
      const poison = { event, error }
      return [poison, ...(await isolate(work, without(events, [poison]), isFault))]
    }
    const middle = events.length >> 1
    const first = await isolate(work, events.slice(0, middle), isFault)
    const second = await isolate(work, without(events.slice(middle), first), isFault)
    return [...first, ...second]
  }
}
