import type { Webhook } from '../../../api/responses.ts'
import { refreshMs } from '../../lib/query.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { everySpan, type ShownSpan, statisticsPath, useStatistics } from '../../lib/statistics.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { SmallBars } from '../../parts/charts.tsx'
import { FilterChoice, FilterText } from '../../parts/filters.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { WebhookState, webhookStateOf } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Code, Id, Time } from '../../parts/text.tsx'
import { WebhookLink } from '../../parts/webhook-link.tsx'

const pageSize = 100

export function Webhooks() {
  const query = useWebhooks({ everyMs: 2 * refreshMs })
  const state = params.value.get('state') ?? ''
  const text = (params.value.get('text') ?? '').toLowerCase()
  const shownPages = Number(params.value.get('pages') ?? 1)
  const matches = (webhook: Webhook) =>
    (state === '' || webhookStateOf(webhook) === state) &&
    `${webhook.callback_url} ${webhook.event} ${webhook.description ?? ''} ${webhook.id} ${webhook.key_id ?? ''}`
      .toLowerCase()
      .includes(text)
  return (
    <Screen
      title="Webhooks"
      actions={
        can('write:webhooks') && (
          <a class="button" href={urlOf('/webhooks/new')}>
            <Icon name="plus" />
            New webhook
          </a>
        )
      }
    >
      <Loaded query={query}>
        {(webhooks) => {
          if (webhooks.length === 0)
            return (
              <Empty title="There is no webhook yet">
                <p>
                  A webhook is a URL, and the events that Kolbak posts to it. Create one, or start a receiver on the machine of Kolbak, in
                  its folder:
                </p>
                <Code text="npm run -s kolbak -- listen 'order.*'" label="the command" />
                {can('write:webhooks') && <a href={urlOf('/webhooks/new')}>Create a webhook</a>}
              </Empty>
            )
          const matching = webhooks.filter(matches)
          return (
            <>
              <div class="filters">
                <FilterText label="Search" name="text" placeholder="URL, event, description, id or key" />
                <FilterChoice
                  label="State"
                  name="state"
                  options={{ '': 'All', active: 'Active', failing: 'Failing', inactive: 'Inactive' }}
                />
                <span class="faint" role="status">
                  {matching.length} of {webhooks.length}
                </span>
              </div>
              {matching.length === 0 ? (
                <Empty title={`None of the ${webhooks.length} webhooks matches`}>
                  <button type="button" onClick={() => setParams({ text: null, state: null })}>
                    Clear the filters
                  </button>
                </Empty>
              ) : (
                <>
                  <WebhooksTable webhooks={matching.slice(0, shownPages * pageSize)} />
                  {matching.length > shownPages * pageSize && (
                    <button type="button" onClick={() => setParams({ pages: String(shownPages + 1) })}>
                      Show {Math.min(pageSize, matching.length - shownPages * pageSize)} more
                    </button>
                  )}
                </>
              )}
            </>
          )
        }}
      </Loaded>
      <Curl request="/v1/webhooks" />
    </Screen>
  )
}

/** The most webhooks whose attempts one response counts. */
const maxCounted = 100

function WebhooksTable({ webhooks }: { webhooks: readonly Webhook[] }) {
  const statistics = useStatistics(statisticsPath('24h', { by: 'webhook' })).reply?.body.data
  const spansOf = (id: string) => {
    if (statistics === undefined) return null
    const series = statistics.webhooks.find(({ webhook_id }) => webhook_id === id)
    // If the response has the most webhooks that it can have, the others may have attempts too.
    if (series === undefined && statistics.webhooks.length >= maxCounted) return null
    return everySpan({ ...statistics, spans: series?.spans ?? [] })
  }
  return (
    <Table
      caption="Webhooks, newest first"
      columns={[
        'URL',
        'State',
        ['Events', 'broad'],
        ['Attempts in the last 24 hours', 'wide'],
        ['Created by the key', 'wide'],
        ['Changed', 'wide'],
      ]}
    >
      {webhooks.map((webhook) => (
        <tr key={webhook.id}>
          <td class="long">
            <WebhookLink webhook={webhook}>
              <span class="narrow">
                <br />
                <code>{webhook.event}</code>
              </span>
            </WebhookLink>
          </td>
          <td>
            <WebhookState webhook={webhook} />
            {webhook.failing_since !== null && webhook.is_active && (
              <>
                <br />
                <span class="faint">
                  first failed <Time at={webhook.failing_since} />
                </span>
              </>
            )}
          </td>
          <td class="broad">
            <code>{webhook.event}</code>
          </td>
          <td class="wide">
            <Attempts spans={spansOf(webhook.id)} />
          </td>
          <td class="wide">{webhook.key_id === null ? <span class="soft">none</span> : <Id id={webhook.key_id} />}</td>
          <td class="wide nowrap">
            <Time at={webhook.updated_at} />
          </td>
        </tr>
      ))}
    </Table>
  )
}
const Attempts = ({ spans }: { spans: readonly ShownSpan[] | null }) => (spans === null ? null : <SmallBars spans={spans} />)
