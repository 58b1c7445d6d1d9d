import type { ComponentChildren } from 'preact'
import type { Delivery, Envelope, Page, Webhook } from '../../../api/responses.ts'
import { send, withQuery } from '../../lib/api.ts'
import { useAction, useQuery } from '../../lib/query.ts'
import { navigate, params, urlOf } from '../../lib/router.ts'
import { Failed, Loaded, Note } from '../../parts/messages.tsx'
import { Curl } from '../../parts/screen.tsx'
import { DeliveryState } from '../../parts/status.tsx'
import { ResponseView } from '../delivery/response-view.tsx'

const pathOf = (webhook: Webhook) => `/v1/webhooks/${webhook.id}/test`

/** A button that sends a test event to a webhook, and opens the screen that shows what comes of it. Its children stand beside the button. */
export function SendTest({
  webhook,
  word = 'Send a test event',
  children,
}: {
  webhook: Webhook
  word?: string
  children?: ComponentChildren
}) {
  const test = useAction(async () => {
    const { body } = await send<Envelope<{ id: string }>>('POST', pathOf(webhook))
    navigate(`/webhooks/${webhook.id}?tab=test&sent=${encodeURIComponent(body.data.id)}`)
  })
  return (
    <>
      <div class="row">
        <button type="button" class="primary" disabled={!webhook.is_active || test.isRunning} onClick={() => test.run()}>
          {test.isRunning ? 'Sending …' : word}
        </button>
        {!webhook.is_active && <span class="soft">Activate the webhook first.</span>}
        {children}
      </div>
      {test.failure !== null && <Failed failure={test.failure} />}
    </>
  )
}

/** Sends a test event to the webhook alone, and shows what came of it. */
export function Test({ webhook }: { webhook: Webhook }) {
  const sent = params.value.get('sent')
  return (
    <section class="stack">
      <p>
        Kolbak sends the event <code>kolbak.test</code> to this webhook alone. It is signed and retried like any other event, and you see
        the response here.
      </p>
      <SendTest webhook={webhook} {...(sent === null ? {} : { word: 'Send another one' })} />
      {sent !== null && <Result key={sent} webhook={webhook} event={sent} />}
      <Curl method="POST" request={pathOf(webhook)} title="Send a test event by the API" />
    </section>
  )
}

/** Shows the delivery of a test event. It is read every second until there is a response. */
function Result({ webhook, event }: { webhook: Webhook; event: string }) {
  const query = useQuery<Page<Delivery>>(withQuery('/v1/deliveries', { webhook: webhook.id, event: 'kolbak.test', limit: 100 }), {
    everyMs: 1_000,
  })
  return (
    <Loaded query={query}>
      {({ data }) => {
        const delivery = data.find(({ event_id }) => event_id === event)
        const attempt = delivery?.attempts.at(-1)
        if (delivery === undefined || attempt === undefined)
          return (
            <Note>
              <p>The event is accepted. Waiting for the response of the receiver …</p>
            </Note>
          )
        return (
          <>
            <p class="row">
              <DeliveryState status={delivery.status} /> <a href={urlOf(`/deliveries/${delivery.id}`)}>Open the delivery</a>
            </p>
            <ResponseView attempt={attempt} />
          </>
        )
      }}
    </Loaded>
  )
}
