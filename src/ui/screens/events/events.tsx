import type { ListedEvent, Page } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { refreshMs, useQuery } from '../../lib/query.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { isRange, sinceOf } from '../../lib/time.ts'
import { EventsTable } from '../../parts/events-table.tsx'
import { FilterChoice, FilterText, rangeOptions } from '../../parts/filters.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Curl, Pager, Screen } from '../../parts/screen.tsx'
import { Code, Foreign } from '../../parts/text.tsx'

export function Events() {
  const get = (name: string) => params.value.get(name)
  const range = get('range')
  const filter = { event: get('event'), status: get('status'), since: isRange(range) ? sinceOf(range) : null }
  const request = withQuery('/v1/events', { ...filter, cursor: get('cursor'), limit: 50 })
  const query = useQuery<Page<ListedEvent>>(request, { everyMs: get('cursor') === null ? refreshMs : undefined })
  const isFiltered = Object.values(filter).some((value) => value !== null)
  return (
    <Screen title="Events">
      <div class="filters">
        <FilterText label="Name" name="event" placeholder="order.created" />
        <FilterChoice label="Matched" name="status" options={{ '': 'All', routed: 'By a webhook', unmatched: 'By no webhook' }} />
        <FilterChoice label="Accepted" name="range" options={rangeOptions} />
      </div>
      <Loaded query={query}>
        {({ data, pagination }) =>
          data.length > 0 ? (
            <>
              <EventsTable events={data} />
              <Pager next={pagination?.next_cursor} />
            </>
          ) : isFiltered || get('cursor') !== null ? (
            <Empty title={pagination?.next_cursor === null ? 'No event matches' : 'No event matches so far'}>
              {filter.event !== null && <NameHint name={filter.event} />}
              {pagination?.next_cursor !== null && <p>Older events may match: the search goes on page by page.</p>}
              <div class="row">
                <button type="button" onClick={() => setParams({ event: null, status: null, range: null, cursor: null })}>
                  Clear the filters
                </button>
                <Pager next={pagination?.next_cursor} />
              </div>
            </Empty>
          ) : (
            <Empty title="No event has come yet">
              <p>Post one, and it appears here within a second. On the machine of Kolbak, in its folder:</p>
              <Code text={`npm run -s kolbak -- send order.created '{"order": 7}'`} label="the command" />
            </Empty>
          )
        }
      </Loaded>
      <Curl request={request} />
      <Curl
        method="POST"
        request="/v1/events"
        body={'{"event": "order.created", "payload": {"order": 7}}'}
        title="Post an event by the API"
      />
    </Screen>
  )
}

/** Says how the filter by name works to somebody who may have typed a part of a name, a pattern or an id. */
const NameHint = ({ name }: { name: string }) => (
  <p>
    The name must be exact, such as <code>order.created</code>: neither a part of it nor a pattern such as <code>order.*</code> finds
    anything. If it is an id,{' '}
    <a href={urlOf(`/events/${encodeURIComponent(name)}`)}>
      search for the id <Foreign text={name} />
    </a>
    .
  </p>
)
