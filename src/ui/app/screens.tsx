import type { JSX } from 'preact'
import { urlOf } from '../lib/router.ts'
import { Empty } from '../parts/messages.tsx'
import { Screen } from '../parts/screen.tsx'
import { Audit } from '../screens/audit/audit.tsx'
import { Deliveries } from '../screens/deliveries/deliveries.tsx'
import { Delivery } from '../screens/delivery/delivery.tsx'
import { Event } from '../screens/event/event.tsx'
import { Events } from '../screens/events/events.tsx'
import { Keys } from '../screens/keys/keys.tsx'
import { LiveScreen } from '../screens/live/live.tsx'
import { Operations } from '../screens/operations/operations.tsx'
import { Overview } from '../screens/overview/overview.tsx'
import { Problems } from '../screens/problems/problems.tsx'
import { Replays } from '../screens/replays/replays.tsx'
import { Tenant } from '../screens/tenant/tenant.tsx'
import { Tenants } from '../screens/tenants/tenants.tsx'
import { Webhook } from '../screens/webhook/webhook.tsx'
import { NewWebhook } from '../screens/webhooks/new-webhook.tsx'
import { Webhooks } from '../screens/webhooks/webhooks.tsx'

/** The screens by their paths. `:id` stands for an id, which the screen gets. */
const screens: readonly (readonly [string, (id: string) => JSX.Element])[] = [
  ['/', () => <Overview />],
  ['/webhooks', () => <Webhooks />],
  ['/webhooks/new', () => <NewWebhook />],
  ['/webhooks/:id', (id) => <Webhook key={id} id={id} />],
  ['/events', () => <Events />],
  ['/events/:id', (id) => <Event key={id} id={id} />],
  ['/deliveries', () => <Deliveries />],
  ['/deliveries/:id', (id) => <Delivery key={id} id={id} />],
  ['/problems', () => <Problems />],
  ['/live', () => <LiveScreen />],
  ['/replays', () => <Replays />],
  ['/keys', () => <Keys />],
  ['/audit', () => <Audit />],
  ['/tenants', () => <Tenants />],
  ['/tenants/:id', (id) => <Tenant key={id} id={id} />],
  ['/operations', () => <Operations />],
]
const patterns = screens.map(([path, show]) => ({ pattern: new RegExp(`^${path.replace(':id', '([^/]+)')}/?$`), show }))

/** Returns the screen at a path. */
export function screenAt(path: string): JSX.Element {
  for (const { pattern, show } of patterns) {
    const match = pattern.exec(path)
    if (match !== null) return show(decodeURIComponent(match[1] ?? ''))
  }
  return (
    <Screen title="There is no such screen">
      <Empty title="The address leads nowhere">
        <p>
          Perhaps the link is from another version. <a href={urlOf('/')}>Begin at the overview</a>
        </p>
      </Empty>
    </Screen>
  )
}
