import type { Delivery, ListedEvent, Webhook } from '../../../api/responses.ts'
import { useMatches } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { similarTo } from '../../lib/similar-id.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { DeliveriesTable } from '../../parts/deliveries-table.tsx'
import { EventsTable } from '../../parts/events-table.tsx'
import { Empty } from '../../parts/messages.tsx'
import { WebhookState } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Foreign } from '../../parts/text.tsx'
import { WebhookLink } from '../../parts/webhook-link.tsx'

/** The most webhooks that are shown. */
const maxWebhooks = 20

/** Shows what a text that is no id of an event is a part of: the URLs of webhooks, and the ids of the latest events. */
export function NotFound({ id }: { id: string }) {
  const isSimilar = similarTo(id)
  const webhooks = useWebhooks()
  const events = useMatches<ListedEvent>(can('read:events') ? '/v1/events' : null, id, (event) => isSimilar(event.id))
  const failed = useMatches<Delivery>('/v1/dead-letters', id, ({ event_id }) => isSimilar(event_id))
  const matching = (webhooks.reply?.body ?? []).filter(({ callback_url, description }) =>
    `${callback_url} ${description ?? ''}`.toLowerCase().includes(id.toLowerCase()),
  )
  const similar = events.reply?.body ?? []
  const failures = failed.reply?.body ?? []
  if (matching.length + similar.length + failures.length === 0)
    return (
      <Empty title={`No event has exactly the id ${id}`}>
        <p>
          {webhooks.isLoading || events.isLoading || failed.isLoading
            ? 'The webhooks and the latest events are being searched.'
            : 'No webhook has this text in its URL or description, and none of the latest events has a similar id. The event may be older than the retention time, or what you look for is only in its payload, which cannot be searched because payloads are stored sealed.'}
        </p>
        <Elsewhere />
      </Empty>
    )
  return (
    <>
      {matching.length > 0 && (
        <section class="stack">
          <h2>Webhooks</h2>
          <WebhooksTable webhooks={matching.slice(0, maxWebhooks)} />
          {matching.length > maxWebhooks && (
            <a href={urlOf(`/webhooks?text=${encodeURIComponent(id)}`)}>Show all {matching.length} webhooks that match</a>
          )}
        </section>
      )}
      {failures.length > 0 && (
        <section class="stack">
          <h2>Failed deliveries of events with a similar id</h2>
          <DeliveriesTable deliveries={failures} label="Failed deliveries of events with a similar id" />
        </section>
      )}
      {similar.length > 0 && (
        <section class="stack">
          <h2>Events with a similar id</h2>
          <EventsTable events={similar} />
        </section>
      )}
      <div class="soft break">
        <p>
          No event has exactly the id <Foreign text={id} />.
        </p>
        <Elsewhere />
      </div>
    </>
  )
}

const Elsewhere = () => (
  <p>
    Look for an event by its name and time among <a href={urlOf('/events')}>all events</a>, or among{' '}
    <a href={urlOf('/problems')}>what failed</a>.
  </p>
)

const WebhooksTable = ({ webhooks }: { webhooks: readonly Webhook[] }) => (
  <Table caption="Webhooks with this text in the URL or the description" columns={['URL', 'State', ['Events', 'broad']]}>
    {webhooks.map((webhook) => (
      <tr key={webhook.id}>
        <td class="long">
          <WebhookLink webhook={webhook} />
        </td>
        <td>
          <WebhookState webhook={webhook} />
        </td>
        <td class="broad">
          <code>{webhook.event}</code>
        </td>
      </tr>
    ))}
  </Table>
)
