import type { Delivery } from '../../api/responses.ts'
import { resultText } from '../lib/reasons.ts'
import { urlOf } from '../lib/router.ts'
import { useUrls } from '../lib/webhooks.ts'
import { DeliveryState } from './status.tsx'
import { Table } from './table.tsx'
import { Breakable, Id, Time } from './text.tsx'

/** Shows the URL of a webhook, or its id when the webhook was deleted. */
export const WebhookName = ({ id, url }: { id: string; url: string | null }) =>
  url === null ? (
    <span class="soft">
      deleted webhook <Id id={id} />
    </span>
  ) : (
    <Breakable text={url.replace(/^https?:\/\//, '')} />
  )

/** A list of deliveries, each with a link to its screen. @param hides the column that says the same in every row */
export function DeliveriesTable({
  deliveries,
  label,
  hides,
}: {
  deliveries: readonly Delivery[]
  label: string
  hides?: 'webhook' | 'event'
}) {
  const urlOfWebhook = useUrls()
  return (
    <Table
      caption={label}
      columns={[
        'State',
        hides !== 'event' && 'Event',
        hides !== 'webhook' && (hides === 'event' ? 'Webhook' : ['Webhook', 'broad']),
        'Last result',
        ['Attempts', 'wide'],
        ['Next attempt', 'wide'],
        ['Accepted', 'broad'],
      ]}
    >
      {deliveries.map((delivery) => {
        const link = urlOf(`/deliveries/${delivery.id}`)
        return (
          <tr key={delivery.id}>
            <td>
              <DeliveryState status={delivery.status} />
              <span class="narrow faint">
                <br />
                <Time at={delivery.accepted_at} />
              </span>
            </td>
            {hides === 'event' ? null : (
              <td class="long">
                <a class="main" href={link}>
                  <Breakable text={delivery.event} />
                </a>
                <br />
                <Id id={delivery.event_id} />
                {hides === 'webhook' ? null : (
                  <span class="narrow">
                    <br />
                    <WebhookName id={delivery.webhook_id} url={urlOfWebhook(delivery.webhook_id)} />
                  </span>
                )}
              </td>
            )}
            {hides === 'webhook' ? null : (
              <td class={hides === 'event' ? 'long' : 'long broad'}>
                {hides === 'event' ? (
                  <a class="main" href={link}>
                    <WebhookName id={delivery.webhook_id} url={urlOfWebhook(delivery.webhook_id)} />
                  </a>
                ) : (
                  <WebhookName id={delivery.webhook_id} url={urlOfWebhook(delivery.webhook_id)} />
                )}
              </td>
            )}
            <td>{resultText(delivery.last_reason?.startsWith('http_') ? null : delivery.last_reason, delivery.last_response_code)}</td>
            <td class="wide">
              {delivery.attempt_count}
              {delivery.chain > 1 && (
                <>
                  <br />
                  <span class="faint">after {delivery.chain === 2 ? 'a replay' : `${delivery.chain - 1} replays`}</span>
                </>
              )}
            </td>
            <td class="wide nowrap">{delivery.next_attempt_at !== null && <Time at={delivery.next_attempt_at} />}</td>
            <td class="nowrap broad">
              <Time at={delivery.accepted_at} />
            </td>
          </tr>
        )
      })}
    </Table>
  )
}
