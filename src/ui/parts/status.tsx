import type { DeliveryStatus, Webhook } from '../../api/responses.ts'
import { Icon, type IconName } from './icon.tsx'

type Tone = 'good' | 'bad' | 'warn' | 'calm'
/** Shows a state by an icon and a word, so that the colour is never needed. */
export const Status = ({ tone, icon, word }: { tone: Tone; icon: IconName; word: string }) => (
  <span class={`status ${tone}`}>
    <Icon name={icon} />
    {word}
  </span>
)

const deliveryStates: Readonly<Record<DeliveryStatus, { tone: Tone; icon: IconName; word: string }>> = {
  success: { tone: 'good', icon: 'check', word: 'delivered' },
  failed: { tone: 'bad', icon: 'cross', word: 'failed' },
  retrying: { tone: 'warn', icon: 'retry', word: 'retrying' },
  pending: { tone: 'calm', icon: 'clock', word: 'pending' },
  discarded: { tone: 'calm', icon: 'skip', word: 'discarded' },
}
export const DeliveryState = ({ status }: { status: DeliveryStatus }) => <Status {...deliveryStates[status]} />

const deactivations: Readonly<Record<string, string>> = {
  requested: 'inactive',
  gone: 'inactive: gone',
  failing: 'inactive: failing',
  key_deleted: 'inactive: key deleted',
}
/** The states by which webhooks can be filtered. */
const webhookStates = ['active', 'failing', 'inactive'] as const
export const webhookStateOf = ({ is_active, failing_since }: Webhook): (typeof webhookStates)[number] =>
  !is_active ? 'inactive' : failing_since === null ? 'active' : 'failing'
export function WebhookState({ webhook }: { webhook: Webhook }) {
  switch (webhookStateOf(webhook)) {
    case 'active':
      return <Status tone="good" icon="check" word="active" />
    case 'failing':
      return <Status tone="bad" icon="warn" word="failing" />
    default:
      return <Status tone="calm" icon="pause" word={deactivations[webhook.deactivation_reason ?? ''] ?? 'inactive'} />
  }
}
