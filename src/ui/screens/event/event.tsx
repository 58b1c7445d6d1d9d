import { useState } from 'preact/hooks'
import type { Delivery, Envelope, EventDetail, Explanation, Page, Webhook } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { memberText } from '../../lib/json-text.ts'
import { type Query, refreshMs, useAction, useQuery } from '../../lib/query.ts'
import { params, setParams } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { DeliveriesTable } from '../../parts/deliveries-table.tsx'
import { Counts } from '../../parts/events-table.tsx'
import { Choice, Confirm } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { JsonView } from '../../parts/json-view.tsx'
import { Empty, Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Facts, Pager, Screen } from '../../parts/screen.tsx'
import { Copy, Foreign, Id, Time } from '../../parts/text.tsx'
import { NotFound } from './not-found.tsx'

/** One event: what was posted, where it went, and why it did not go elsewhere. */
export function Event({ id }: { id: string }) {
  const path = `/v1/events/${encodeURIComponent(id)}`
  const query = useQuery<Envelope<EventDetail>>(path, { everyMs: 2 * refreshMs })
  const cursor = params.value.get('cursor')
  const deliveries = useQuery<Page<Delivery>>(
    `${path}/deliveries?limit=50${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    {
      everyMs: refreshMs,
    },
  )
  const [isReplaying, setReplaying] = useState(false)
  const replay = useAction(async () => {
    await send('POST', `${path}/replay`, { body: {} })
    setReplaying(false)
    deliveries.refresh()
    query.refresh()
  })
  const event = query.reply?.body.data
  if (query.failure?.status === 404)
    return (
      <Screen title={`Search for ${id}`} above={{ title: 'Events', screen: '/events' }}>
        <NotFound id={id} />
      </Screen>
    )
  return (
    <Screen
      title={event?.event ?? id}
      above={{ title: 'Events', screen: '/events' }}
      actions={
        can('write:events') &&
        event?.status === 'routed' && (
          <button type="button" data-key="r" onClick={() => setReplaying(true)}>
            <Icon name="retry" />
            Replay to all
          </button>
        )
      }
    >
      <Loaded query={query}>
        {({ data }) => (
          <>
            <Facts
              facts={[
                [
                  'Id',
                  <>
                    <Id id={data.id} /> <Copy text={data.id} what="the id" />
                  </>,
                ],
                ['Accepted', <Time at={data.accepted_at} isExact withMs />],
                data.event_time === null ? null : ['Event time, as posted', <Foreign text={data.event_time} />],
                data.source === null ? null : ['Source', <Foreign text={data.source} />],
                ['Deliveries', <Counts counts={data.deliveries} />],
                ['Kept until', <Time at={data.expires_at} isExact />],
              ]}
            />
            {data.has_rejections && (
              <Note tone="warn">
                <p>
                  Other content was posted under this id {data.rejections.length === 1 ? 'once' : `${data.rejections.length} times`}, and
                  rejected. The first content stays. If the other content is a new event, post it under an id of its own.
                </p>
              </Note>
            )}
            <section class="stack">
              <h2>Payload</h2>
              <Payload text={query.reply?.text ?? ''} />
            </section>
          </>
        )}
      </Loaded>
      <section class="stack">
        <h2>Deliveries</h2>
        <Deliveries query={deliveries} />
      </section>
      {can('read:audit') && <Explain path={path} />}
      <Curl request={path} />
      {isReplaying && (
        <Confirm title="Replay this event?" word="Replay" action={replay} confirm={() => replay.run()} close={() => setReplaying(false)}>
          <p>
            Every webhook that it was routed to gets it again, under the same id, at its present URL and signed with its present secret.
            Inactive and deleted webhooks are left out.
          </p>
          <Curl method="POST" request={`${path}/replay`} body={{}} />
        </Confirm>
      )}
    </Screen>
  )
}

const Deliveries = ({ query }: { query: Query<Page<Delivery>> }) => (
  <Loaded query={query}>
    {({ data, pagination }) =>
      data.length === 0 ? (
        <Empty title="No webhook matched this event">
          <p>
            When it was routed, no active webhook had a pattern that matches its name. Choose a webhook below to see why it did not get the
            event.
          </p>
        </Empty>
      ) : (
        <>
          <DeliveriesTable deliveries={data} label="Deliveries of this event" hides="event" />
          <Pager next={pagination?.next_cursor} />
        </>
      )
    }
  </Loaded>
)

function Payload({ text }: { text: string }) {
  const payload = memberText(text, 'data', 'payload')
  if (payload === null || payload === 'null')
    return (
      <Empty title="The payload has expired">
        <p>Payloads are kept for the retention time of the service. The history of the deliveries stays a little longer.</p>
      </Empty>
    )
  return <JsonView text={payload} label="the payload" />
}

/** Explains why a chosen webhook did or did not get the event. */
function Explain({ path }: { path: string }) {
  const webhooks = useWebhooks()
  const chosen = params.value.get('webhook') ?? ''
  const query = useQuery<Envelope<Explanation>>(chosen === '' ? null : `${path}/explain?webhook=${encodeURIComponent(chosen)}`)
  const webhookNow = webhooks.reply?.body.find((webhook) => webhook.id === chosen)
  return (
    <section class="panel">
      <h2>Why did a webhook get the event, or not?</h2>
      <div class="form">
        <Choice
          label="Webhook"
          name="webhook"
          value={chosen}
          onChange={(change) => setParams({ webhook: change.currentTarget.value })}
          options={Object.fromEntries([
            ['', 'Choose a webhook'],
            ...(webhooks.reply?.body ?? []).map(({ id: webhook, callback_url, event }) => [
              webhook,
              `${callback_url.replace(/^https?:\/\//, '')} (${event})`,
            ]),
          ])}
        />
      </div>
      {chosen !== '' && <Loaded query={query}>{({ data }) => <MatchingSteps explanation={data} webhookNow={webhookNow} />}</Loaded>}
    </section>
  )
}

/** Shows the checks that an event passes on its way to a webhook, in order, with the result that each had when the event was matched. */
function MatchingSteps({ explanation, webhookNow }: { explanation: Explanation; webhookNow: Webhook | undefined }) {
  const { webhook_then: webhookThen, matched, reason, delivery } = explanation
  const isTest = reason === 'test' || reason === 'test_of_another'
  const existed = webhookThen !== null && reason !== 'deleted'
  const isChangeMissed = reason === 'not_known_yet'
  const wasActive = existed && !isChangeMissed && webhookThen.is_active
  const isDeleted = webhookThen !== null && !existed
  const steps: { check: string; ok: boolean | null; remark: string }[] = [
    {
      check: 'The webhook existed',
      ok: existed,
      remark:
        webhookThen === null ? 'It was created later.' : isDeleted ? 'It had been deleted.' : `It was at revision ${webhookThen.revision}.`,
    },
    ...(isChangeMissed ? [{ check: 'The dispatcher had seen its last change', ok: false, remark: '' }] : []),
    { check: 'It was active', ok: existed && !isChangeMissed ? wasActive : null, remark: '' },
    {
      check: isTest ? 'The test was for it' : 'Its pattern matched the name of the event',
      ok: wasActive ? matched : null,
      remark: webhookThen === null ? '' : `The pattern was ${webhookThen.event}.`,
    },
    {
      check: 'It was delivered',
      ok: delivery === null ? null : delivery.status === 'success',
      remark: delivery === null ? '' : explanation.next,
    },
  ]
  return (
    <>
      <p>
        <strong>{explanation.explanation}</strong> {delivery === null ? explanation.next : ''}
      </p>
      <ol class="timeline">
        {steps.map(({ check, ok, remark }) => (
          <li key={check} class={ok === null ? '' : ok ? 'good' : 'bad'}>
            <Icon name={ok === null ? 'skip' : ok ? 'check' : 'cross'} />
            <div>
              {check}: <strong>{ok === null ? 'not reached' : ok ? 'yes' : 'no'}</strong>. <span class="soft">{remark}</span>
            </div>
          </li>
        ))}
      </ol>
      {webhookNow !== undefined &&
        webhookThen !== null &&
        (webhookNow.event !== webhookThen.event || webhookNow.is_active !== webhookThen.is_active) && (
          <Note>
            <p>
              Today the webhook is different: its pattern is <code>{webhookNow.event}</code>, and it is{' '}
              {webhookNow.is_active ? 'active' : 'inactive'}.
            </p>
          </Note>
        )}
    </>
  )
}
