import type { RecordedDeliveryEvent } from '../../src/events/delivery.ts'
import { routedMessagesIn } from '../../src/events/delivery-facts.ts'
import { upcast } from '../../src/events/schema.ts'
import { dayFamilies } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { eventsUpTo } from '../../src/ports/events-up-to.ts'
import { liveCounts } from '../../src/projections/delivery-statistics.ts'
import type { TestDatabase } from './database.ts'

/** The sums of all counts of each webhook. Those of all webhooks together are under an empty name. */
export type CountedHistory = Readonly<Record<string, Readonly<Record<string, number>>>>

const nameOf: Readonly<Record<string, string>> = {
  DeliverySucceeded: 'success',
  DeliveryFailed: 'retrying',
  DeliveryDeadLettered: 'failed',
  DeliveryDiscarded: 'discarded',
  DeliveryReplayed: 'replayed',
}
/** Counts the events of the store one by one, as the statistics should have counted them. */
export async function countHistory(store: Pick<EventStore, 'head' | 'subscribe'>): Promise<CountedHistory> {
  const counted: Record<string, Record<string, number>> = {}
  const add = (webhook: string, name: string, count = 1) => {
    counted[webhook] ??= { accepted: 0, success: 0, retrying: 0, failed: 0, discarded: 0, replayed: 0 }
    counted[webhook][name]! += count
  }
  const upTo = await store.head(dayFamilies)
  for await (const events of eventsUpTo(store, { families: dayFamilies, after: null, upTo }))
    for (const event of events.map(upcast) as RecordedDeliveryEvent[])
      if (event.type === 'MessageRouted' || event.type === 'MessagesRouted') add('', 'accepted', routedMessagesIn(event).length)
      else if (event.type !== 'MessageRejected') for (const webhook of ['', event.data.webhook]) add(webhook, nameOf[event.type]!)
  return counted
}

/** Returns the sums of the stored statistics of the live build, from the rows of minutes or of hours. */
export async function storedCounts({ pool }: Pick<TestDatabase, 'pool'>, step: 60 | 3_600): Promise<CountedHistory> {
  const names = ['accepted', ...Object.values(nameOf)]
  const { rows } = await pool.query<{ webhook: string } & Record<string, number>>(
    `select webhook, ${names.map((name) => `sum(${name})::int as ${name}`).join(', ')} from (${liveCounts.textFrom(1)}) as counted
     where step_seconds = $1 group by webhook`,
    [step],
  )
  return Object.fromEntries(rows.map(({ webhook, ...counts }) => [webhook, counts as Record<string, number>]))
}
