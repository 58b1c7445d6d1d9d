import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId, WebhookId } from '../events/ids.ts'
import type { KeyEvents } from '../events/key.ts'
import { keyStream } from '../events/streams.ts'
import type { WebhookEvents } from '../events/webhook.ts'
import { KolbakError } from '../lib/errors.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { Projection } from '../projections/projection.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import { activeWebhooksOfKey } from '../projections/webhooks.ts'
import { type DeactivationDeps, deactivate } from './deactivation.ts'

type KeyDeleted = RecordedEvent<'KeyDeleted', KeyEvents['KeyDeleted']>
type WebhookCreated = RecordedEvent<'WebhookCreated', WebhookEvents['WebhookCreated']>
const isOrder = (event: RecordedEvent): event is KeyDeleted =>
  event.type === 'KeyDeleted' && (event as KeyDeleted).data.webhooks === 'deactivate'
const isCreation = (event: RecordedEvent): event is WebhookCreated =>
  event.type === 'WebhookCreated' && (event as WebhookCreated).data.key_id !== null

export interface KeyDeletedDeps extends DeactivationDeps {
  /** Active webhooks that the key created: all that were created before this call. Throws when they cannot be known yet. */
  webhooksOf(owner: { tenant: TenantId; key_id: KeyId }): Promise<readonly WebhookId[]>
}

const catchUpMs = 5_000
/** `webhooksOf` from the read model, once that has every webhook that was created before the call. */
export const webhooksOfKey =
  (deps: { store: Pick<EventStore, 'head'>; waiter: ProjectionWaiter; pool: Pool }): KeyDeletedDeps['webhooksOf'] =>
  async (owner) => {
    const head = await deps.store.head(['webhook'])
    if (head !== null && !(await deps.waiter.waitFor('webhooks', head, catchUpMs)))
      throw new KolbakError('read_model_behind', 'The projection `webhooks` is behind, so that nobody knows which webhooks the key has.')
    return activeWebhooksOfKey(deps.pool, owner)
  }

/**
 * The process manager of keys that are deleted with `webhooks=deactivate`: deactivates the webhooks that the key created.
 *
 * Those created before the deletion are found in the read model. A process that has not heard of the deletion yet may let
 * the key create further ones for up to a second: so each webhook that a key has created is looked at too. Both ways
 * cause the same event (its id follows from the deletion's), whichever comes first, so a webhook that somebody activates
 * again stays active.
 */
export function createKeyDeletedManager(deps: KeyDeletedDeps): Projection {
  const { streams, webhooksOf } = deps

  /** The event by which the key was deleted, if its webhooks are to be deactivated. */
  const orderOf = async (key: KeyId): Promise<KeyDeleted | undefined> => (await streams.read(keyStream(key))).events.find(isOrder)

  return {
    name: 'key_deleted_manager',
    version: 1,
    families: ['key', 'webhook'],
    concerns: (event) => isOrder(event) || isCreation(event),
    async prepare(events) {
      for (const event of events)
        if (isOrder(event)) {
          const owner = { tenant: event.metadata.tenant as TenantId, key_id: event.data.id }
          for (const webhook of await webhooksOf(owner)) await deactivate(deps, event, 'key_deleted', webhook)
        } else if (isCreation(event) && event.data.is_active && event.data.key_id !== null) {
          const order = await orderOf(event.data.key_id)
          if (order !== undefined) await deactivate(deps, order, 'key_deleted', event.data.id)
        }
    },
    async apply() {
      // Its commands are appended above; only the checkpoint moves here.
    },
  }
}
