import type { Delivery, Page, Webhook } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { refreshMs, useQuery } from '../../lib/query.ts'
import { params, setParams } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { isRange, sinceOf } from '../../lib/time.ts'
import { DeliveriesTable } from '../../parts/deliveries-table.tsx'
import { FilterChoice, rangeOptions } from '../../parts/filters.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Curl, Pager } from '../../parts/screen.tsx'
import { Code } from '../../parts/text.tsx'
import { Attempts } from './attempts.tsx'
import { SendTest } from './test.tsx'

const statuses = { '': 'All', success: 'Delivered', failed: 'Failed', retrying: 'Retrying', pending: 'Pending', discarded: 'Discarded' }

export function WebhookDeliveries({ path, webhook }: { path: string; webhook: Webhook }) {
  const get = (name: string) => params.value.get(name)
  const range = get('range')
  const filter = { status: get('status'), since: isRange(range) ? sinceOf(range) : null }
  const request = withQuery(`${path}/deliveries`, { ...filter, cursor: get('cursor'), limit: 50 })
  const query = useQuery<Page<Delivery>>(request, { everyMs: get('cursor') === null ? refreshMs : undefined })
  const isFiltered = filter.status !== null || filter.since !== null
  const example = webhook.event === '*' ? 'order.created' : webhook.event.replace(/\*$/, 'created')
  return (
    <>
      <div class="filters">
        <FilterChoice label="State" name="status" options={statuses} />
        <FilterChoice label="Accepted" name="range" options={rangeOptions} />
      </div>
      <Attempts webhook={webhook.id} />
      <Loaded query={query}>
        {({ data, pagination }) =>
          data.length > 0 ? (
            <>
              <DeliveriesTable deliveries={data} label="Deliveries of this webhook, newest first" hides="webhook" />
              <Pager next={pagination?.next_cursor} />
            </>
          ) : isFiltered ? (
            <Empty title="No delivery matches">
              <button type="button" onClick={() => setParams({ status: null, range: null, cursor: null })}>
                Clear the filters
              </button>
            </Empty>
          ) : (
            <Empty title="Nothing was sent to this webhook yet">
              {can('write:webhooks') && <SendTest webhook={webhook} />}
              <p>Post an event that its pattern matches, on the machine of Kolbak, in its folder:</p>
              <Code text={`npm run -s kolbak -- send ${example} '{"order": 7}'`} label="the command" />
            </Empty>
          )
        }
      </Loaded>
      <Curl request={request} title="This list by the API" />
    </>
  )
}
