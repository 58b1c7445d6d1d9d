import type { DeliveryCounts, ListedEvent } from '../../api/responses.ts'
import { urlOf } from '../lib/router.ts'
import { Icon } from './icon.tsx'
import { DeliveryState, Status } from './status.tsx'
import { Table } from './table.tsx'
import { Breakable, Id, Time } from './text.tsx'

const counted = ['failed', 'retrying', 'pending', 'discarded', 'success'] as const
/** Shows how many deliveries of an event are in each state, the worst first. */
export function Counts({ counts }: { counts: DeliveryCounts | null }) {
  if (counts === null) return <span class="soft">more than 100 deliveries</span>
  if (counts.total === 0) return <Status tone="calm" icon="skip" word="no webhook" />
  return (
    <span class="counts">
      {counted
        .filter((state) => counts[state] > 0)
        .map((state) => (
          <span key={state}>
            {counts.total > 1 && <span>{counts[state]}</span>}
            <DeliveryState status={state} />
          </span>
        ))}
    </span>
  )
}

export const EventsTable = ({ events }: { events: readonly ListedEvent[] }) => (
  <Table caption="Events, newest first" columns={['Event', 'Deliveries', ['Accepted', 'broad']]}>
    {events.map((event) => (
      <tr key={event.id}>
        <td class="long">
          <a class="main" href={urlOf(`/events/${encodeURIComponent(event.id)}`)}>
            <Breakable text={event.event} />
          </a>
          <br />
          <Id id={event.id} />
          <span class="narrow faint">
            <br />
            <Time at={event.accepted_at} />
          </span>
          {event.has_rejections && (
            <span class="status warn" title="Other content was posted under this id, and rejected">
              {' '}
              <Icon name="warn" /> rejected content
            </span>
          )}
        </td>
        <td>
          <Counts counts={event.deliveries} />
        </td>
        <td class="nowrap broad">
          <Time at={event.accepted_at} />
        </td>
      </tr>
    ))}
  </Table>
)
