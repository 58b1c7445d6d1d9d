import { useState } from 'preact/hooks'
import type { Delivery, Envelope, Page, Problem, Problems as ProblemsData, Webhook } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { refreshMs, useQuery } from '../../lib/query.ts'
import { reasonText, resultFilter, resultWords } from '../../lib/reasons.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { isRange, relativeText, sinceOf } from '../../lib/time.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { DeliveriesTable, WebhookName } from '../../parts/deliveries-table.tsx'
import { FilterChoice, FilterText, WebhookFilter } from '../../parts/filters.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Curl, Pager, Screen } from '../../parts/screen.tsx'
import { Time } from '../../parts/text.tsx'
import { ReplayDialog, type ReplayFilter } from './replay-dialog.tsx'

const pageSize = 50
const filterNames = ['webhook', 'event', 'reason'] as const

/** The deliveries that failed for good: first grouped by what they have in common, then one by one. */
export function Problems() {
  const get = (name: string) => params.value.get(name)
  const range = get('range')
  const narrowing = { webhook: get('webhook'), event: get('event'), ...resultFilter(get('reason')) }
  const filter = { ...narrowing, since: sinceOf(isRange(range) ? range : '7d') }
  const cursor = get('cursor')
  const everyMs = cursor === null ? 2 * refreshMs : undefined
  const groups = useQuery<Envelope<ProblemsData>>(withQuery('/v1/problems', filter), { everyMs })
  const listRequest = withQuery('/v1/dead-letters', { ...filter, cursor, limit: pageSize })
  const rows = useQuery<Page<Delivery>>(listRequest, { everyMs })
  const [replay, setReplay] = useState<ReplayFilter | null>(null)
  const isNarrowed = filterNames.some((name) => get(name) !== null)
  const clear = () => setParams({ webhook: null, event: null, reason: null, cursor: null })
  return (
    <Screen title="Problems">
      <div class="filters">
        <FilterChoice
          label="Ended"
          name="range"
          options={{ '': 'In the last 7 days', '1h': 'In the last hour', '24h': 'In the last 24 hours', '30d': 'In the last 30 days' }}
        />
        <WebhookFilter />
        <FilterText label="Event" name="event" placeholder="order.created" />
        <FilterText label="Result" name="reason" placeholder="503 or timeout" />
        {isNarrowed && (
          <button type="button" onClick={clear}>
            Show all problems
          </button>
        )}
      </div>
      <Loaded query={groups}>
        {({ data }) =>
          data.count === 0 ? (
            isNarrowed ? (
              <Empty title="No failed delivery matches">
                <button type="button" onClick={clear}>
                  Clear the filters
                </button>
              </Empty>
            ) : (
              <Empty title="Nothing failed for good in this time">
                <p>
                  A delivery ends here when its receiver refuses it, or when all attempts are used up. Deliveries that are still retried are{' '}
                  <a href={urlOf('/deliveries?status=retrying')}>in the list of deliveries</a>.
                </p>
                <a href={urlOf('/webhooks?state=failing')}>See the webhooks that fail now</a>
              </Empty>
            )
          ) : (
            <Groups data={data} isNarrowed={isNarrowed} replay={setReplay} />
          )
        }
      </Loaded>
      {groups.reply?.body.data.count !== 0 && (
        <section class="stack">
          <h2>One by one</h2>
          <Loaded query={rows}>
            {({ data, pagination }) => (
              <>
                <DeliveriesTable deliveries={data} label="Deliveries that failed for good, the latest first" />
                <Pager next={pagination?.next_cursor} />
              </>
            )}
          </Loaded>
        </section>
      )}
      <Curl request={withQuery('/v1/problems', filter)} title="The groups by the API" />
      <Curl request={listRequest} title="The list by the API" />
      {replay !== null && <ReplayDialog filter={replay} close={() => setReplay(null)} />}
    </Screen>
  )
}

const deliveriesText = (count: number) => `${count.toLocaleString('en')} ${count === 1 ? 'delivery' : 'deliveries'}`

function Groups({ data, isNarrowed, replay }: { data: ProblemsData; isNarrowed: boolean; replay: (filter: ReplayFilter) => void }) {
  const webhooks = useWebhooks()
  const { count, is_complete: isComplete, groups } = data
  const first = groups.map((group) => group.first_accepted_at).sort()[0]
  const get = (name: string) => params.value.get(name)
  const all: ReplayFilter = {
    since: first ?? '',
    ...(get('webhook') === null ? {} : { webhooks: [get('webhook') ?? ''] }),
    ...(get('event') === null ? {} : { event: get('event') ?? '' }),
    ...resultFilter(get('reason')),
  }
  return (
    <section class="stack">
      <div class="row between">
        <h2>
          {isComplete ? '' : 'More than '}
          {deliveriesText(count)} failed for good
        </h2>
        {can('write:webhooks') && (
          <button type="button" onClick={() => replay(all)} data-key="r">
            <Icon name="retry" />
            {isNarrowed ? 'Replay all that match' : 'Replay all'}
          </button>
        )}
      </div>
      {!isComplete && <p class="faint">The groups count the {deliveriesText(count)} that ended last.</p>}
      <div class="cards">
        {groups.map((group) => (
          <GroupCard
            key={`${group.webhook_id} ${group.event} ${group.reason}`}
            group={group}
            webhook={webhooks.reply?.body.find(({ id }) => id === group.webhook_id)}
            isOnly={isNarrowed && groups.length === 1}
            replay={replay}
          />
        ))}
      </div>
    </section>
  )
}

function GroupCard({
  group,
  webhook,
  isOnly,
  replay,
}: {
  group: Problem
  webhook: Webhook | undefined
  /** Whether the list below shows this group alone. */
  isOnly: boolean
  replay: (filter: ReplayFilter) => void
}) {
  const { webhook_id: id, count, code, reason, event, first_at: first, last_at: last } = group
  const narrow = { webhook: id, event, reason }
  return (
    <div class="panel">
      <p class="status bad">
        <Icon name="cross" />
        {deliveriesText(count)}: {resultWords(reason, code)}
      </p>
      <p class="break">
        {event} to{' '}
        <a href={urlOf(`/webhooks/${id}`)}>
          <WebhookName id={id} url={webhook?.callback_url ?? null} />
        </a>
      </p>
      <p>{reasonText(reason, code)}</p>
      <p class="faint">
        Ended <Time at={first} />
        {relativeText(first) !== relativeText(last) && (
          <>
            {' '}
            to <Time at={last} />
          </>
        )}
        . <a href={urlOf(`/deliveries/${group.sample}`)}>{count === 1 ? 'Open it' : 'Open the latest'}</a>
      </p>
      <div class="row">
        {can('write:webhooks') && (
          <button
            type="button"
            disabled={webhook?.is_active !== true}
            onClick={() => replay({ webhooks: [id], event, ...(reason === null ? {} : { reason }), since: group.first_accepted_at })}
          >
            <Icon name="retry" />
            {count === 1 ? 'Replay it' : 'Replay them'}
          </button>
        )}
        {!isOnly && (
          <button type="button" class="quiet" onClick={() => setParams({ ...narrow, cursor: null }, { replace: false })}>
            {count === 1 ? 'List it' : 'List them'}
          </button>
        )}
        {webhook !== undefined && !webhook.is_active && <span class="soft">Activate the webhook first.</span>}
      </div>
    </div>
  )
}
