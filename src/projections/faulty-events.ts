import type { RecordedEvent } from '../events/envelope.ts'
import { codeOf, isProgrammingError } from '../lib/errors.ts'
import { isDataError } from '../lib/group-commit.ts'
import { FactRefused } from '../ports/delivery-log.ts'

/**
 * SQLSTATE classes of engine errors: connection, session state (a standby is read-only), authorisation, serialization, resources, locks,
 * operator, system.
 */
const engineClasses = /^(08|25|28|3D|40|53|55|57|58)...$/
const networkCodes = /^(E(?!RR_)[A-Z_]+|UND_ERR_\w+)$/
/** Error codes of our ports and commands. After such an error the same call may succeed later. */
const retryableCodes = new Set([
  'store_unavailable',
  'bus_unavailable',
  'bus_full',
  'delivery_log_unavailable',
  'conflict',
  'revision_conflict',
])
/** Messages of pg for connections that are closed or cannot be opened. These errors have no code. */
const connectionMessages = /connection terminated|connection error|timeout exceeded when trying to connect|query read timeout/i

/**
 * Returns whether an error in the transaction is the engine's fault, so that the batch can succeed later. Every other error is the fault of an
 * event.
 */
export function isEngineError(error: unknown): boolean {
  const code = codeOf(error)
  if (code === undefined) return error instanceof Error && connectionMessages.test(error.message)
  return engineClasses.test(code) || networkCodes.test(code) || retryableCodes.has(code)
}

const codesOfEvents = new Set(['fact_refused', 'seal_broken', 'key_destroyed', 'event_too_large', 'event_refused', 'event_not_readable'])
/**
 * Returns whether an error in `prepare` is certainly the fault of an event. Each store has its own errors, so every other error counts as the fault of the
 * store.
 */
export const isEventError = (error: unknown): boolean =>
  isDataError(error) || codesOfEvents.has(codeOf(error) ?? '') || isProgrammingError(error)

/** An event that could not be processed, and the error. */
export interface FaultyEvent {
  readonly event: RecordedEvent
  readonly error: unknown
}

/** Returns the events without the faulty ones and without those that follow a faulty event in its stream. */
export const withoutFaulty = (events: readonly RecordedEvent[], faulty: readonly FaultyEvent[]): RecordedEvent[] => {
  const firstFaultyRevision = new Map(faulty.map(({ event }) => [event.stream, event.revision]))
  return events.filter((event) => event.revision < (firstFaultyRevision.get(event.stream) ?? Number.POSITIVE_INFINITY))
}

/**
 * Does the work for the events, but not for faulty events and the later events of their streams. It halves the batch until a faulty event fails
 * alone. Returns the faulty events. Throws an error that is not the fault of an event.
 * @param work leaves nothing behind when it fails
 */
export async function isolateFaulty(
  work: (events: readonly RecordedEvent[]) => Promise<void>,
  events: readonly RecordedEvent[],
  isFault: (error: unknown) => boolean,
): Promise<FaultyEvent[]> {
  if (events.length === 0) return []
  try {
    await work(events)
    return []
  } catch (error) {
    if (!isFault(error)) throw error
    const named = error instanceof FactRefused ? events.find((event) => event.id === error.event_id) : undefined
    const event = named ?? (events.length === 1 ? events[0] : undefined)
    if (event !== undefined) {
      const faulty = { event, error }
      return [faulty, ...(await isolateFaulty(work, withoutFaulty(events, [faulty]), isFault))]
    }
    const middle = events.length >> 1
    const first = await isolateFaulty(work, events.slice(0, middle), isFault)
    const second = await isolateFaulty(work, withoutFaulty(events.slice(middle), first), isFault)
    return [...first, ...second]
  }
}
