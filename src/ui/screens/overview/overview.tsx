import type { Delivery, Job, ListedEvent, Page, Webhook } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { refreshMs, useQuery } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { curlOf } from '../../lib/shell-text.ts'
import { sinceOf } from '../../lib/time.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { WebhookName } from '../../parts/deliveries-table.tsx'
import { EventsTable } from '../../parts/events-table.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Screen } from '../../parts/screen.tsx'
import { webhookStateOf } from '../../parts/status.tsx'
import { Code, Time } from '../../parts/text.tsx'
import { Numbers } from './numbers.tsx'

const shownFailures = 100
const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`

/** The first screen: what needs a person, and what happened last. */
export function Overview() {
  const webhooks = useWebhooks({ everyMs: 2 * refreshMs })
  const failed = useQuery<Page<Delivery>>(withQuery('/v1/dead-letters', { since: sinceOf('24h'), limit: shownFailures }), {
    everyMs: 2 * refreshMs,
  })
  const running = useQuery<Page<Job>>('/v1/jobs?status=running', { everyMs: 2 * refreshMs })
  const events = useQuery<Page<ListedEvent>>(can('read:events') ? '/v1/events?limit=10' : null, { everyMs: refreshMs })
  const isNew = webhooks.reply?.body.length === 0
  return (
    <Screen title="Overview">
      <Loaded query={webhooks}>
        {(list) => (
          <>
            {isNew ? <FirstSteps hasEvents={(events.reply?.body.data.length ?? 0) > 0} /> : null}
            {!isNew && (
              <>
                <Numbers />
                <Attention webhooks={list} failures={failed.reply?.body.data ?? []} jobs={running.reply?.body.data ?? []} />
              </>
            )}
          </>
        )}
      </Loaded>
      {can('read:events') && !isNew && (
        <section class="stack">
          <div class="row between">
            <h2>Latest events</h2>
            <a href={urlOf('/events')}>All events</a>
          </div>
          <Loaded query={events}>
            {({ data }) =>
              data.length === 0 ? (
                <Empty title="No event has come yet">
                  <p>Post one, and it appears here within a second. On the machine of Kolbak, in its folder:</p>
                  <Code text={`npm run -s kolbak -- send order.created '{"order": 7}'`} label="the command" />
                </Empty>
              ) : (
                <EventsTable events={data} />
              )
            }
          </Loaded>
        </section>
      )}
    </Screen>
  )
}

/** Lists what a person should look at, the worst first. */
function Attention({ webhooks, failures, jobs }: { webhooks: readonly Webhook[]; failures: readonly Delivery[]; jobs: readonly Job[] }) {
  const failing = webhooks.filter((webhook) => webhookStateOf(webhook) === 'failing')
  const stopped = webhooks.filter(({ is_active, deactivation_reason: reason }) => !is_active && reason !== 'requested')
  const byWebhook = new Map<string, Delivery[]>()
  for (const failure of failures) byWebhook.set(failure.webhook_id, [...(byWebhook.get(failure.webhook_id) ?? []), failure])
  const urlOfWebhook = (id: string) => webhooks.find((webhook) => webhook.id === id)?.callback_url ?? null
  const isQuiet = failing.length + stopped.length + byWebhook.size + jobs.length === 0
  return (
    <section class="panel">
      <h2>Needs you</h2>
      {isQuiet ? (
        <p class="status good">
          <Icon name="check" />
          Nothing. Every webhook delivers, and nothing failed for good in the last 24 hours.
        </p>
      ) : (
        <ul class="list">
          {failing.map((webhook) => (
            <li key={webhook.id} class="status bad">
              <Icon name="warn" />
              <a class="break" href={urlOf(`/webhooks/${webhook.id}`)}>
                <WebhookName id={webhook.id} url={webhook.callback_url} />
              </a>
              <span class="push">first failed {webhook.failing_since !== null && <Time at={webhook.failing_since} />}</span>
            </li>
          ))}
          {stopped.map((webhook) => (
            <li key={webhook.id} class="status warn">
              <Icon name="pause" />
              <a class="break" href={urlOf(`/webhooks/${webhook.id}`)}>
                <WebhookName id={webhook.id} url={webhook.callback_url} />
              </a>
              <span class="push">
                deactivated by Kolbak <Time at={webhook.updated_at} />: {webhook.deactivation_reason?.replaceAll('_', ' ')}
              </span>
            </li>
          ))}
          {[...byWebhook].slice(0, 10).map(([id, given]) => (
            <li key={`failed ${id}`} class="status bad">
              <Icon name="cross" />
              <a class="break" href={urlOf(`/problems?range=24h&webhook=${id}`)}>
                {failures.length < shownFailures ? '' : 'At least '}
                {plural(given.length, 'delivery').replace('deliverys', 'deliveries')} failed for good
              </a>
              <span class="push break">
                to <WebhookName id={id} url={urlOfWebhook(id)} />
              </span>
            </li>
          ))}
          {jobs.map((job) => (
            <li key={job.id} class="status calm">
              <Icon name="retry" />
              <a href={urlOf(`/replays`)}>A replay runs</a>
              <span class="push">{plural(job.replayed, 'delivery').replace('deliverys', 'deliveries')} so far</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}

/** Shows the first steps of a person, with commands that work as they stand. */
const FirstSteps = ({ hasEvents }: { hasEvents: boolean }) => (
  <Empty title="Three steps to the first delivery">
    <ol class="steps">
      <li>
        <p>
          <strong>Start a receiver</strong> on the machine of Kolbak, in its folder. It creates a webhook for every <code>order.</code>{' '}
          event and prints what it gets. It needs a service that was started with <code>npm run dev</code>.
        </p>
        <Code text="npm run -s kolbak -- listen 'order.*'" label="the command that starts a receiver" />
        <p>
          Or <a href={urlOf('/webhooks/new')}>create a webhook</a> for a receiver that you have.
        </p>
      </li>
      <li>
        <p>
          <strong>Post an event</strong>
          {hasEvents ? ' (there are events already)' : ''}, by the command line or by the API.
        </p>
        <Code text={`npm run -s kolbak -- send order.created '{"order": 7}'`} label="the command that posts an event" />
        <Code text={curlOf('POST', '/v1/events', '{"event": "order.created", "payload": {"order": 7}}')} label="the curl command" />
      </li>
      <li>
        <p>
          <strong>Look at its delivery</strong> under <a href={urlOf('/events')}>Events</a>: the request, the response, and each further
          attempt.
        </p>
      </li>
    </ol>
  </Empty>
)
