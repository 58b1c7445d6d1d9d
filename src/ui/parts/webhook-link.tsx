import type { ComponentChildren } from 'preact'
import type { Webhook } from '../../api/responses.ts'
import { urlOf } from '../lib/router.ts'
import { Breakable, Foreign } from './text.tsx'

/** Shows the URL of a webhook as a link to its screen, then `children`, and then its description. */
export const WebhookLink = ({ webhook, children }: { webhook: Webhook; children?: ComponentChildren }) => (
  <>
    <a class="main" href={urlOf(`/webhooks/${webhook.id}`)}>
      <Breakable text={webhook.callback_url} />
    </a>
    {children}
    {webhook.description !== null && (
      <>
        <br />
        <span class="faint">
          <Foreign text={webhook.description} />
        </span>
      </>
    )}
  </>
)
