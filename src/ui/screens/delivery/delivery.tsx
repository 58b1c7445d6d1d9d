import { useEffect, useRef, useState } from 'preact/hooks'
import type { Attempt, Delivery as DeliveryData, Envelope, Timeline as TimelineData } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { refreshMs, useAction, useQuery } from '../../lib/query.ts'
import { reasonText, resultText } from '../../lib/reasons.ts'
import { params, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { durationText, relativeText } from '../../lib/time.ts'
import { useUrls } from '../../lib/webhooks.ts'
import { WebhookName } from '../../parts/deliveries-table.tsx'
import { Confirm } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Facts, Screen } from '../../parts/screen.tsx'
import { DeliveryState } from '../../parts/status.tsx'
import { Copy, Id, Time } from '../../parts/text.tsx'
import { RequestView } from './request-view.tsx'
import { ResponseView } from './response-view.tsx'

/** One delivery: its way from the event to its end, and the request and the response of each attempt. */
export function Delivery({ id }: { id: string }) {
  const path = `/v1/deliveries/${encodeURIComponent(id)}`
  const query = useQuery<Envelope<DeliveryData>>(path, { everyMs: refreshMs })
  const [isReplaying, setReplaying] = useState(false)
  const replay = useAction(async () => {
    await send('POST', `${path}/replay`, { body: {} })
    setReplaying(false)
    query.refresh()
  })
  const delivery = query.reply?.body.data
  return (
    <Screen
      title={delivery === undefined ? 'Delivery' : `Delivery of ${delivery.event}`}
      above={
        delivery === undefined
          ? { title: 'Events', screen: '/events' }
          : { title: delivery.event_id, screen: `/events/${encodeURIComponent(delivery.event_id)}` }
      }
      actions={
        can('write:webhooks') && (
          <button type="button" data-key="r" onClick={() => setReplaying(true)}>
            <Icon name="retry" />
            Replay
          </button>
        )
      }
    >
      <Loaded query={query}>{({ data }) => <Whole delivery={data} path={path} />}</Loaded>
      <Curl request={path} />
      {isReplaying && (
        <Confirm title="Send it again?" word="Replay" action={replay} confirm={() => replay.run()} close={() => setReplaying(false)}>
          <p>
            The webhook gets the event again, under the same event id, at its present URL and signed with its present secret. A new chain of
            attempts begins.
          </p>
          <Curl method="POST" request={`${path}/replay`} body={{}} />
        </Confirm>
      )}
    </Screen>
  )
}

const keyOf = ({ chain, number }: Pick<Attempt, 'chain' | 'number'>) => `${chain}.${number}`

/** The reasons of attempts that ended without a request. */
const withoutRequest = new Set(['expired', 'payload_expired', 'payload_erased', 'payload_unreadable'])

/** Reads the timeline of a delivery, again after each attempt. */
function useTimeline(path: string, { attempts }: DeliveryData): TimelineData | null {
  const { reply, refresh } = useQuery<Envelope<TimelineData>>(`${path}/timeline`)
  const shown = useRef(attempts.length)
  useEffect(() => {
    if (shown.current === attempts.length) return
    shown.current = attempts.length
    refresh()
  }, [attempts.length])
  return reply?.body.data ?? null
}

function Whole({ delivery, path }: { delivery: DeliveryData; path: string }) {
  const urlOfWebhook = useUrls()
  const last = delivery.attempts.at(-1)
  const attemptInUrl = params.value.get('attempt')
  const chosen = delivery.attempts.find((attempt) => keyOf(attempt) === attemptInUrl) ?? last
  const timeline = useTimeline(path, delivery)
  return (
    <>
      <Facts
        facts={[
          ['State', <DeliveryState status={delivery.status} />],
          [
            'Webhook',
            <a href={urlOf(`/webhooks/${delivery.webhook_id}`)}>
              <WebhookName id={delivery.webhook_id} url={urlOfWebhook(delivery.webhook_id)} />
            </a>,
          ],
          ['Event', <a href={urlOf(`/events/${encodeURIComponent(delivery.event_id)}`)}>{delivery.event_id}</a>],
          delivery.next_attempt_at === null ? null : ['Next attempt', <Time at={delivery.next_attempt_at} />],
          [
            'Delivery id',
            <>
              <Id id={delivery.id} /> <Copy text={delivery.id} what="the id" />
            </>,
          ],
          ['Can be replayed until', <Time at={delivery.expires_at} isExact />],
        ]}
      />
      {delivery.status === 'failed' && (
        <Note tone="warn">
          <p>
            Kolbak gave up. {reasonText(delivery.last_reason, delivery.last_response_code) ?? ''} When the cause is mended, replay the
            delivery.
          </p>
        </Note>
      )}
      <div class="split">
        <section class="stack">
          <h2>Timeline</h2>
          <Timeline delivery={delivery} chosen={chosen} timeline={timeline} />
        </section>
        {chosen === undefined ? (
          <Note>
            <p>No request was sent yet. The first attempt is sent as soon as there is a free slot.</p>
          </Note>
        ) : (
          <div class="stack">
            <h2>
              {chosen.chain > 1 ? `Replay${delivery.chain > 2 ? ` ${chosen.chain - 1}` : ''}, attempt` : 'Attempt'} {chosen.number}
            </h2>
            <ResponseView attempt={chosen} recorded={timeline?.attempts.find((each) => keyOf(each) === keyOf(chosen)) ?? null} />
            {can('read:events') && !withoutRequest.has(chosen.reason ?? '') && <RequestView path={path} attempt={chosen} />}
          </div>
        )}
      </div>
    </>
  )
}

/** Returns when an event was routed. The first attempt need not wait until that is recorded. */
function routedText(routedAt: string, { accepted_at, attempts: [first] }: DeliveryData): string {
  if (first !== undefined && first.at < routedAt) return 'before the first attempt'
  return `${durationText(Math.max(0, Date.parse(routedAt) - Date.parse(accepted_at)))} later`
}

const waitReasons = {
  slot: 'because too many requests to this webhook were under way',
  suspended: 'because the account was suspended',
} as const

/** The way of a delivery from top to bottom: acceptance, each attempt, the waits between them, and what comes next. */
function Timeline({
  delivery,
  chosen,
  timeline,
}: {
  delivery: DeliveryData
  chosen: Attempt | undefined
  /** Null until it is read. */
  timeline: TimelineData | null
}) {
  const { attempts } = delivery
  const isOver = delivery.next_attempt_at === null
  return (
    <ol class="timeline">
      <li class="waits">
        <Icon name="event" />
        <div>
          Accepted{' '}
          <span class="soft">
            <Time at={delivery.accepted_at} isExact withMs />
          </span>
        </div>
      </li>
      {timeline !== null && timeline.routed_at !== null && (
        <li class="waits">
          <Icon name="webhook" />
          <div>
            Routed <span class="soft">{routedText(timeline.routed_at, delivery)}</span>
          </div>
        </li>
      )}
      {attempts.map((attempt, i) => {
        const before = attempts[i - 1]
        const waited = Date.parse(attempt.at) - Date.parse(before?.at ?? delivery.accepted_at)
        const isReplay = before !== undefined && before.chain !== attempt.chain
        const isSuccess = attempt.status === 'success'
        const wait = timeline?.attempts.find((each) => keyOf(each) === keyOf(attempt))?.waited ?? null
        return (
          <li key={keyOf(attempt)} class={isSuccess ? 'good waits' : 'bad waits'}>
            <Icon name={isSuccess ? 'check' : 'cross'} />
            <div>
              <a
                class="attempt"
                href={urlOf(`/deliveries/${delivery.id}?attempt=${keyOf(attempt)}`)}
                aria-current={attempt === chosen ? 'true' : undefined}
              >
                <strong>
                  {isReplay ? 'Replay, attempt' : 'Attempt'} {attempt.number}: {isSuccess ? 'delivered' : 'failed'}
                </strong>{' '}
                {resultText(attempt.reason?.startsWith('http_') ? null : attempt.reason, attempt.response_code)}
                {attempt.duration_ms !== null && <span class="soft"> in {durationText(attempt.duration_ms)}</span>}
                <br />
                <span class="faint">
                  <Time at={attempt.at} isExact withMs />, {durationText(Math.max(0, waited))} after{' '}
                  {before === undefined ? 'acceptance' : 'the one before'}
                  {wait !== null && (
                    <>
                      , of which it waited {durationText(wait.ms)} {waitReasons[wait.reason]}
                    </>
                  )}
                </span>
              </a>
            </div>
          </li>
        )
      })}
      {!isOver && (
        <li class="warn">
          <Icon name="clock" />
          <div>
            Next attempt <strong>{relativeText(delivery.next_attempt_at ?? '')}</strong>
            <br />
            <span class="faint">
              <Time at={delivery.next_attempt_at ?? ''} isExact />
            </span>
          </div>
        </li>
      )}
      {isOver && delivery.status !== 'success' && (
        <li>
          <Icon name={delivery.status === 'pending' ? 'clock' : 'dot'} />
          <div>
            <DeliveryState status={delivery.status} />
          </div>
        </li>
      )}
    </ol>
  )
}
