import { useState } from 'preact/hooks'
import { send, withQuery } from '../../lib/api.ts'
import { refreshMs, useAction, useQuery } from '../../lib/query.ts'
import { reasonText, resultText } from '../../lib/reasons.ts'
import { navigate, params, setParams, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { isRange, ranges, sinceOf } from '../../lib/time.ts'
import type { Delivery, Page, Webhook } from '../../lib/types.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { DeliveriesTable, WebhookName } from '../../parts/deliveries-table.tsx'
import { FilterChoice } from '../../parts/filters.tsx'
import { Confirm } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Empty, Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Pager, Screen } from '../../parts/screen.tsx'
import { Time } from '../../parts/text.tsx'
import { type Group, groupsOf } from './groups.ts'

const pageSize = 100

/** The deliveries that failed for good: first grouped by webhook and result, then one by one. */
export function Problems() {
  const get = (name: string) => params.value.get(name)
  const range = isRange(get('range')) ? get('range') : '7d'
  const filter = { webhook: get('webhook'), since: isRange(range) ? sinceOf(range) : null }
  const request = withQuery('/v1/dead-letters', { ...filter, cursor: get('cursor'), limit: pageSize })
  const query = useQuery<Page<Delivery>>(request, { everyMs: get('cursor') === null ? 2 * refreshMs : undefined })
  const webhooks = useWebhooks()
  const [group, setGroup] = useState<Group | null>(null)
  return (
    <Screen title="Problems">
      <div class="filters">
        <FilterChoice
          label="Ended"
          name="range"
          options={{ '': 'In 7 days', '1h': 'In the last hour', '24h': 'In 24 hours', '30d': 'In 30 days' }}
        />
        {filter.webhook !== null && (
          <button type="button" onClick={() => setParams({ webhook: null, cursor: null })}>
            Show all webhooks
          </button>
        )}
      </div>
      <Loaded query={query}>
        {({ data, pagination }) =>
          data.length === 0 ? (
            <Empty title="Nothing failed for good in this time">
              <p>
                A delivery ends here when its receiver refuses it, or when all attempts are used up. Deliveries that are still retried are
                on the screen of their webhook.
              </p>
              <a href={urlOf('/webhooks?state=failing')}>See the webhooks that fail now</a>
            </Empty>
          ) : (
            <>
              <section class="stack">
                <h2>What they have in common</h2>
                {pagination?.next_cursor !== null && (
                  <p class="faint">The groups count the {data.length} deliveries of this page. There are more, on the next pages.</p>
                )}
                <div class="cards">
                  {groupsOf(data).map((each) => (
                    <GroupCard
                      key={each.key}
                      group={each}
                      webhook={webhooks.reply?.body.find(({ id }) => id === each.webhook)}
                      replay={() => setGroup(each)}
                    />
                  ))}
                </div>
              </section>
              <section class="stack">
                <h2>One by one</h2>
                <DeliveriesTable deliveries={data} label="Deliveries that failed for good, the latest first" />
                <Pager next={pagination?.next_cursor} />
              </section>
            </>
          )
        }
      </Loaded>
      <Curl request={request} />
      {group !== null && <ReplayGroup group={group} hours={ranges[isRange(range) ? range : '7d']} close={() => setGroup(null)} />}
    </Screen>
  )
}

function GroupCard({ group, webhook, replay }: { group: Group; webhook: Webhook | undefined; replay: () => void }) {
  const { count, code, reason, events, first, last, example } = group
  return (
    <div class="panel">
      <p class="status bad">
        <Icon name="cross" />
        {count} {count === 1 ? 'delivery' : 'deliveries'}: {resultText(code === null ? reason : null, code)}
      </p>
      <p class="break">
        <a href={urlOf(`/webhooks/${group.webhook}`)}>
          <WebhookName id={group.webhook} url={webhook?.callback_url ?? null} />
        </a>
      </p>
      <p>{reasonText(reason, code)}</p>
      <p class="faint">
        {events.slice(0, 3).join(', ')}
        {events.length > 3 ? ` and ${events.length - 3} more` : ''}. Accepted <Time at={first} />
        {first === last ? '' : ' to '}
        {first !== last && <Time at={last} />}. <a href={urlOf(`/deliveries/${example}`)}>Open one of them</a>
      </p>
      {can('write:webhooks') && (
        <div class="row">
          <button type="button" disabled={webhook?.is_active !== true} onClick={replay}>
            <Icon name="retry" />
            Replay them
          </button>
          {webhook !== undefined && !webhook.is_active && <span class="soft">Activate the webhook first.</span>}
        </div>
      )}
    </div>
  )
}

/** Starts a job that replays the failed deliveries of a group's webhook. */
function ReplayGroup({ group, hours, close }: { group: Group; hours: number; close: () => void }) {
  const path = `/v1/webhooks/${group.webhook}/replay`
  // The range of a replay is compared with times of acceptance, and a delivery can have been retried for days before it failed.
  const earliest = Math.min(Date.parse(group.first), Date.now() - hours * 3_600_000)
  const body = { since: new Date(earliest).toISOString(), status: 'failed' }
  const replay = useAction(async () => {
    await send('POST', path, { body })
    navigate(`/replays?webhook=${group.webhook}`)
  })
  return (
    <Confirm title="Replay the failed deliveries?" word="Start the replay" action={replay} confirm={() => replay.run()} close={close}>
      <p>
        A job sends all failed deliveries of this webhook again, whatever their result was, if their event was accepted since{' '}
        <Time at={body.since} isExact />. The receiver gets the same event ids. You can watch and cancel the job.
      </p>
      <Note>
        <p>Mend the cause first: otherwise they fail again.</p>
      </Note>
      <Curl method="POST" request={path} body={body} />
    </Confirm>
  )
}
