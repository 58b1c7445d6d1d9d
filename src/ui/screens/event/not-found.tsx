import type { Delivery, ListedEvent } from '../../../api/responses.ts'
import { useMatches } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { DeliveriesTable } from '../../parts/deliveries-table.tsx'
import { EventsTable } from '../../parts/events-table.tsx'
import { Empty } from '../../parts/messages.tsx'

/** Says that there is no event with this id, and shows the latest events whose ids contain it. */
export function NotFound({ id }: { id: string }) {
  const contains = (other: string) => other.toLowerCase().includes(id.toLowerCase())
  const events = useMatches<ListedEvent>(can('read:events') ? '/v1/events' : null, id, (event) => contains(event.id))
  const failed = useMatches<Delivery>('/v1/dead-letters', id, ({ event_id }) => contains(event_id))
  const similar = events.reply?.body ?? []
  const failures = failed.reply?.body ?? []
  return (
    <>
      <Empty title={`There is no event with the id ${id}`}>
        <p>
          {similar.length + failures.length > 0
            ? 'These have it as a part of their ids.'
            : 'It may be older than the retention time, or the id may be a number inside the payload, which cannot be searched because payloads are stored sealed.'}
        </p>
        <p>
          Look for an event by its name and time among <a href={urlOf('/events')}>all events</a>, or among{' '}
          <a href={urlOf('/problems')}>what failed</a>.
        </p>
      </Empty>
      {failures.length > 0 && (
        <section class="stack">
          <h2>Failed deliveries with a similar id</h2>
          <DeliveriesTable deliveries={failures} label="Failed deliveries of events with a similar id" />
        </section>
      )}
      {similar.length > 0 && (
        <section class="stack">
          <h2>Events with a similar id</h2>
          <EventsTable events={similar} />
        </section>
      )}
    </>
  )
}
