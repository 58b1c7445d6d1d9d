import { useState } from 'preact/hooks'
import type { Webhook } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction } from '../../lib/query.ts'
import { navigate } from '../../lib/router.ts'
import { onSubmit } from '../../parts/form.tsx'
import { Failed, Note } from '../../parts/messages.tsx'
import { Screen } from '../../parts/screen.tsx'
import { Code } from '../../parts/text.tsx'
import { bodyOf, WebhookFields } from '../../parts/webhook-fields.tsx'
import { SendTest } from '../webhook/test.tsx'

const above = { title: 'Webhooks', screen: '/webhooks' }

export function NewWebhook() {
  const [created, setCreated] = useState<Webhook | null>(null)
  const action = useAction(async (values: Record<string, string>) => {
    const { body } = await send<Webhook>('POST', '/v1/webhooks', { body: bodyOf(values) })
    setCreated(body)
  })
  if (created !== null)
    return (
      <Screen title="The webhook is ready" above={above}>
        <Note tone="warn">
          <p>
            Copy the secret now. Your receiver verifies signatures with it, and it is not shown again. If you lose it, rotate it in the
            settings of the webhook.
          </p>
        </Note>
        <Code text={created.secret ?? ''} label="the secret" />
        <SendTest webhook={created}>
          <button type="button" onClick={() => navigate(`/webhooks/${created.id}?tab=receiver`)}>
            Show code that verifies signatures
          </button>
        </SendTest>
      </Screen>
    )
  return (
    <Screen title="New webhook" above={above}>
      <form class="stack form" onSubmit={onSubmit(action.run)}>
        <WebhookFields failure={action.failure} />
        {action.failure !== null && <Failed failure={action.failure} />}
        <div class="row">
          <button type="submit" class="primary" disabled={action.isRunning}>
            {action.isRunning ? 'Creating …' : 'Create webhook'}
          </button>
          <button type="button" onClick={() => navigate('/webhooks')}>
            Cancel
          </button>
        </div>
      </form>
    </Screen>
  )
}
