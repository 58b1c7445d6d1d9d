import type { RecordedEvent } from '../events/envelope.ts'
import type { EventBatch } from '../ports/event-store.ts'

/** The limits of the time for which the events of a projection wait, so that more of them are applied in one transaction. */
export interface Gathering {
  /** The most milliseconds that an event waits. */
  readonly ms: number
  /** The least milliseconds between two batches with an urgent event. An urgent event waits no longer than this. */
  readonly urgentMs: number
  /** Returns whether something waits for the effects of an event. */
  isUrgent(event: RecordedEvent): boolean
}

/** A batch that has this number of events is yielded at once. */
const maxEvents = 2_000

/**
 * Joins batches of a subscription. A joined batch ends when its first event has waited for `ms`, or when it has `maxEvents`. A batch with an urgent
 * event also ends when `urgentMs` have passed since the batch before it. Batches that have not been yielded when the source ends are dropped, because
 * their checkpoint is not saved either.
 */
export async function* gather(source: AsyncIterable<EventBatch>, { ms, urgentMs, isUrgent }: Gathering): AsyncGenerator<EventBatch> {
  const batches = source[Symbol.asyncIterator]()
  let timer: NodeJS.Timeout | undefined
  const nextBatch = () => {
    const next = batches.next()
    next.catch(() => {}) // The read is awaited later, and may fail before that.
    return next
  }
  const after = (delayMs: number) =>
    new Promise<null>((resolve) => {
      timer = setTimeout(resolve, delayMs, null)
    })
  let yieldedAt = Number.NEGATIVE_INFINITY
  try {
    for (let next = nextBatch(); ; ) {
      const first = await next
      if (first.done === true) return
      let { events, checkpoint } = first.value
      next = nextBatch()
      let due = performance.now() + (events.length === 0 ? 0 : ms)
      if (events.some(isUrgent)) due = Math.min(due, yieldedAt + urgentMs)
      while (events.length < maxEvents && performance.now() < due) {
        const following = await Promise.race([next, after(due - performance.now())])
        clearTimeout(timer)
        if (following === null) break
        if (following.done === true) return
        if (events.length === 0 && following.value.events.length > 0) due = performance.now() + ms
        if (following.value.events.some(isUrgent)) due = Math.min(due, yieldedAt + urgentMs)
        events = [...events, ...following.value.events]
        checkpoint = following.value.checkpoint
        next = nextBatch()
      }
      yieldedAt = performance.now()
      yield { events, checkpoint }
    }
  } finally {
    clearTimeout(timer)
    await batches.return?.()
  }
}
