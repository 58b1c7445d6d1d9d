import { useState } from 'preact/hooks'
import type { Page, Version, Webhook as WebhookData } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { refreshMs, useAction, useQuery } from '../../lib/query.ts'
import { params } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { Confirm } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Facts, Screen, Tabs } from '../../parts/screen.tsx'
import { WebhookState } from '../../parts/status.tsx'
import { Copy, Foreign, Id, Time } from '../../parts/text.tsx'
import { actorText } from '../../parts/value-text.tsx'
import { History } from './history.tsx'
import { Receiver } from './receiver.tsx'
import { ReplayMissed } from './replay-missed.tsx'
import { Settings } from './settings.tsx'
import { Test } from './test.tsx'
import { WebhookDeliveries } from './webhook-deliveries.tsx'

const deactivations: Readonly<Record<string, string>> = {
  requested: 'It was deactivated on request.',
  gone: 'Kolbak deactivated it, because the receiver responded with 410 Gone.',
  failing: 'Kolbak deactivated it, because it failed for days.',
  key_deleted: 'Kolbak deactivated it, because the key that created it was deleted.',
}

/** One webhook: its deliveries, its past, its settings, a test, and code for its receiver. */
export function Webhook({ id }: { id: string }) {
  const path = `/v1/webhooks/${encodeURIComponent(id)}`
  const query = useQuery<WebhookData>(path, { everyMs: 2 * refreshMs })
  const tabs = {
    deliveries: 'Deliveries',
    ...(can('read:audit') ? { history: 'History' } : {}),
    ...(can('write:webhooks') ? { settings: 'Settings', test: 'Test' } : {}),
    receiver: 'Code for the receiver',
  }
  const tabInUrl = params.value.get('tab') ?? ''
  const tab = tabInUrl in tabs ? tabInUrl : 'deliveries'
  const webhook = query.reply?.body
  return (
    <Screen
      title={webhook?.callback_url.replace(/^https?:\/\//, '') ?? 'Webhook'}
      above={{ title: 'Webhooks', screen: '/webhooks' }}
      actions={
        webhook !== undefined &&
        can('write:webhooks') && <Actions webhook={webhook} path={path} etag={query.reply?.etag ?? null} onChanged={query.refresh} />
      }
    >
      {query.failure?.status === 404 && can('read:audit') ? (
        <>
          <Note>
            <p>This webhook does not exist any more, or it is not yours. If it was deleted, its history is below.</p>
          </Note>
          <History path={path} webhook={null} etag={null} onChanged={query.refresh} />
        </>
      ) : (
        <Loaded query={query}>
          {(data) => (
            <>
              <Facts
                facts={[
                  ['State', <WebhookState webhook={data} />],
                  ['Events', <code>{data.event}</code>],
                  data.failing_since === null ? null : ['Failing since', <Time at={data.failing_since} />],
                  data.description === null ? null : ['Description', <Foreign text={data.description} />],
                  [
                    'Id',
                    <>
                      <Id id={data.id} /> <Copy text={data.id} what="the id" />
                    </>,
                  ],
                  ['Created', <Time at={data.created_at} isExact />],
                  ['Created by', <Creator path={path} keyId={data.key_id} />],
                ]}
              />
              {!data.is_active && (
                <Note tone="warn">
                  <p>
                    {deactivations[data.deactivation_reason ?? ''] ?? 'It is inactive.'} It matches no new events, and what it was owed is
                    discarded. After you activate it, replay what it missed.
                  </p>
                </Note>
              )}
              <Tabs tabs={tabs} chosen={tab} screen={`/webhooks/${id}`} />
              {tab === 'deliveries' && <WebhookDeliveries path={path} webhook={data} />}
              {tab === 'history' && <History path={path} webhook={data} etag={query.reply?.etag ?? null} onChanged={query.refresh} />}
              {tab === 'settings' && (
                <Settings key={data.id} path={path} webhook={data} etag={query.reply?.etag ?? null} onChanged={query.refresh} />
              )}
              {tab === 'test' && <Test webhook={data} />}
              {tab === 'receiver' && <Receiver />}
            </>
          )}
        </Loaded>
      )}
      {tab !== 'deliveries' && tab !== 'test' && <Curl request={path} />}
    </Screen>
  )
}

function Actions({ webhook, path, etag, onChanged }: { webhook: WebhookData; path: string; etag: string | null; onChanged: () => void }) {
  const [open, setOpen] = useState<'activation' | 'replay' | null>(null)
  const target = !webhook.is_active
  const activation = useAction(async () => {
    await send('PATCH', path, { body: { is_active: target }, ifMatch: etag })
    setOpen(null)
    onChanged()
  })
  return (
    <>
      <button type="button" onClick={() => setOpen('activation')}>
        <Icon name={webhook.is_active ? 'pause' : 'play'} />
        {webhook.is_active ? 'Deactivate' : 'Activate'}
      </button>
      <button type="button" data-key="r" disabled={!webhook.is_active} onClick={() => setOpen('replay')}>
        <Icon name="retry" />
        Replay what it missed
      </button>
      {open === 'replay' && <ReplayMissed path={path} webhook={webhook} close={() => setOpen(null)} />}
      {open === 'activation' && (
        <Confirm
          title={webhook.is_active ? 'Deactivate this webhook?' : 'Activate this webhook?'}
          word={webhook.is_active ? 'Deactivate' : 'Activate'}
          isDangerous={webhook.is_active}
          action={activation}
          confirm={() => activation.run()}
          close={() => setOpen(null)}
        >
          <p>
            {webhook.is_active
              ? 'It matches no new events from now on, and the deliveries that it is owed are discarded. They can be replayed later.'
              : 'It gets new events from now on. What it missed is not sent by itself: replay it afterwards.'}
          </p>
          <Curl method="PATCH" request={path} body={{ is_active: target }} />
        </Confirm>
      )}
    </>
  )
}

/** Names the client or the key that created a webhook, which its first revision knows. */
function Creator({ path, keyId }: { path: string; keyId: string | null }) {
  const { reply } = useQuery<Page<Version>>(can('read:audit') ? `${path}/history?limit=1` : null)
  const [first] = reply?.body.data ?? []
  return (
    <>
      {first !== undefined ? <Foreign text={actorText(first.actor)} /> : keyId === null ? 'a client' : 'the key'}
      {keyId !== null && (
        <>
          {' '}
          <Id id={keyId} />
        </>
      )}
    </>
  )
}
