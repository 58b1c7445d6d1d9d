import { useState } from 'preact/hooks'
import { send } from '../../lib/api.ts'
import { useAction, useQuery } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import type { Delivery, Envelope, Page, Webhook } from '../../lib/types.ts'
import { Failed, Loaded, Note } from '../../parts/messages.tsx'
import { Curl } from '../../parts/screen.tsx'
import { DeliveryState } from '../../parts/status.tsx'
import { ResponseView } from '../delivery/response-view.tsx'

/** Sends a test event to the webhook alone, and shows what came of it. */
export function Test({ path, webhook }: { path: string; webhook: Webhook }) {
  const [sent, setSent] = useState<string | null>(null)
  const test = useAction(async () => {
    const { body } = await send<Envelope<{ id: string }>>('POST', `${path}/test`)
    setSent(body.data.id)
  })
  return (
    <section class="stack">
      <p>
        Kolbak sends the event <code>kolbak.test</code> to this webhook alone. It is signed and retried like any other event, and you see
        the response here.
      </p>
      <div class="row">
        <button type="button" class="primary" disabled={!webhook.is_active || test.isRunning} onClick={() => test.run()}>
          {test.isRunning ? 'Sending …' : sent === null ? 'Send a test event' : 'Send another one'}
        </button>
        {!webhook.is_active && <span class="soft">Activate the webhook first.</span>}
      </div>
      {test.failure !== null && <Failed failure={test.failure} />}
      {sent !== null && <Result key={sent} path={path} event={sent} />}
      <Curl method="POST" request={`${path}/test`} />
    </section>
  )
}

function Result({ path, event }: { path: string; event: string }) {
  const query = useQuery<Page<Delivery>>(`${path}/deliveries?limit=10`, { everyMs: 1_000 })
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
