import type { RecordedDeliveryEvent } from '../../events/delivery.ts'
import { type DeliveryFact, factsOf } from '../../events/delivery-facts.ts'
import type { NewEvent } from '../../events/envelope.ts'
import type { DeliveryRef } from '../../events/refs.ts'
import { eventTypes, upcast } from '../../events/schema.ts'
import type { StreamName } from '../../events/streams.ts'
import { dayAfter } from './day-partitions.ts'
import { problemOf } from './storable-facts.ts'

/** The delivery of a first success, as two columns of its event. */
export type FirstSuccess = Pick<DeliveryRef, 'delivery' | 'accepted_at'>

/**
 * Returns the columns of a first success, or null for any other event. A first success is a DeliverySucceeded of the first attempt of a delivery, on
 * the day of acceptance or on the next day. Most deliveries end with one, and it says all that the history shows of its delivery. So if event store
 * and delivery log share the database, the history reads the event itself.
 *
 * The limit of two days lets the queries look for the event in two partitions. An event that the delivery log would refuse does not
 * count as a first success, because the projection must find and quarantine it.
 */
export function firstSuccessOf(stream: StreamName, event: NewEvent): FirstSuccess | null {
  if (!isSuccess(event) || event.metadata.schema !== eventTypes.DeliverySucceeded.schema) return null
  const [fact] = factsOf(upcast({ ...event, stream }))
  if (fact?.chain !== 1 || fact.attempt !== 1 || !isComplete(fact)) return null
  const { webhook, delivery, accepted_at, time } = fact
  const day = time.slice(0, 10)
  if (stream !== `attempts-${webhook}-${day.replaceAll('-', '')}`) return null
  const acceptedDay = accepted_at.slice(0, 10)
  return day === acceptedDay || day === dayAfter(acceptedDay) ? { delivery, accepted_at } : null
}

type Succeeded = Extract<RecordedDeliveryEvent, { type: 'DeliverySucceeded' }>
const isSuccess = (event: NewEvent): event is Succeeded => event.type === 'DeliverySucceeded'
const isComplete = (fact: DeliveryFact): boolean =>
  problemOf(fact) === null && typeof fact.code === 'number' && typeof fact.duration_ms === 'number' && isTime(fact.accepted_at)
/** Returns whether the text is a time that exists, unlike 30 February. */
const isTime = (text: string): boolean => new Date(text).toJSON() === text
