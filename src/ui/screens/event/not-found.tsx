import type { Delivery, ListedEvent } from '../../../api/responses.ts'
import { useMatches } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { similarTo } from '../../lib/similar-id.ts'
import { DeliveriesTable } from '../../parts/deliveries-table.tsx'
import { EventsTable } from '../../parts/events-table.tsx'
import { Empty } from '../../parts/messages.tsx'

/** Says that there is no event with this id, and shows the latest events whose ids are like it. */
export function NotFound({ id }: { id: string }) {
  const isSimilar = similarTo(id)
  const events = useMatches<ListedEvent>(can('read:events') ? '/v1/events' : null, id, (event) => isSimilar(event.id))
  const failed = useMatches<Delivery>('/v1/dead-letters', id, ({ event_id }) => isSimilar(event_id))
  const similar = events.reply?.body ?? []
  const failures = failed.reply?.body ?? []
  const hasSimilar = similar.length + failures.length > 0
  return (
    <>
      <Empty title={`No event has exactly the id ${id}${hasSimilar ? ', but these are similar' : ''}`}>
        {!hasSimilar && (
          <p>
            {events.isLoading || failed.isLoading
              ? 'The latest events are being searched for similar ids.'
              : 'None of the latest events has a similar id. The event may be older than the retention time, or what you look for is only in its payload, which cannot be searched because payloads are stored sealed.'}
          </p>
        )}
        <p>
          Look for an event by its name and time among <a href={urlOf('/events')}>all events</a>, or among{' '}
          <a href={urlOf('/problems')}>what failed</a>.
        </p>
      </Empty>
      {failures.length > 0 && (
        <section class="stack">
          <h2>Failed deliveries</h2>
          <DeliveriesTable deliveries={failures} label="Failed deliveries of events with a similar id" />
        </section>
      )}
      {similar.length > 0 && (
        <section class="stack">
          <h2>Events</h2>
          <EventsTable events={similar} />
        </section>
      )}
    </>
  )
}
