import type { Delivery, Page } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { refreshMs, useQuery } from '../../lib/query.ts'
import { resultFilter } from '../../lib/reasons.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { isRange, sinceOf } from '../../lib/time.ts'
import { DeliveriesTable } from '../../parts/deliveries-table.tsx'
import { FilterChoice, FilterText, WebhookFilter } from '../../parts/filters.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Curl, Pager, Screen } from '../../parts/screen.tsx'

const open = { '': 'Not delivered', retrying: 'Retrying', pending: 'Pending', failed: 'Failed', discarded: 'Discarded' }
const ranges = { '': 'In the last 24 hours', '1h': 'In the last hour', '7d': 'In the last 7 days', '30d': 'In the last 30 days' }
const ofWebhook = { ...open, '': 'All', success: 'Delivered' }

/** The deliveries that have not arrived, of all webhooks. For a chosen webhook, also the delivered ones. */
export function Deliveries() {
  const get = (name: string) => params.value.get(name)
  const range = get('range')
  const webhook = get('webhook')
  const status = webhook === null && get('status') === 'success' ? null : get('status')
  const filter = { webhook, status, event: get('event'), ...resultFilter(get('reason')), since: sinceOf(isRange(range) ? range : '24h') }
  const request = withQuery('/v1/deliveries', { ...filter, cursor: get('cursor'), limit: 50 })
  const query = useQuery<Page<Delivery>>(request, { everyMs: get('cursor') === null ? refreshMs : undefined })
  const isFiltered = ['webhook', 'status', 'event', 'reason', 'range'].some((name) => params.value.has(name))
  return (
    <Screen title="Deliveries">
      <div class="filters">
        <FilterChoice label="State" name="status" options={webhook === null ? open : ofWebhook} />
        <WebhookFilter />
        <FilterText label="Event" name="event" placeholder="order.created" />
        <FilterText label="Result" name="reason" placeholder="503 or timeout" />
        <FilterChoice label="Accepted" name="range" options={ranges} />
      </div>
      {webhook === null && (
        <p class="faint">
          Delivered ones are listed for one webhook at a time: choose it above, or open it under <a href={urlOf('/webhooks')}>Webhooks</a>.
        </p>
      )}
      <Loaded query={query}>
        {({ data, pagination }) =>
          data.length > 0 ? (
            <>
              <DeliveriesTable deliveries={data} label="Deliveries, newest first" />
              <Pager next={pagination?.next_cursor} />
            </>
          ) : isFiltered ? (
            <Empty title="No delivery matches">
              <button
                type="button"
                onClick={() => setParams({ webhook: null, status: null, event: null, reason: null, range: null, cursor: null })}
              >
                Clear the filters
              </button>
            </Empty>
          ) : (
            <Empty title="Everything has arrived">
              <p>
                Of the deliveries of the last 24 hours, none is retried, failed or discarded. An <a href={urlOf('/events')}>event</a> lists
                all of its deliveries.
              </p>
            </Empty>
          )
        }
      </Loaded>
      <Curl request={request} />
    </Screen>
  )
}
