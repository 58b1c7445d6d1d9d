import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId, WebhookId } from '../events/ids.ts'
import type { KeyEvents } from '../events/key.ts'
import { keyStream } from '../events/streams.ts'
import type { WebhookEvents } from '../events/webhook.ts'
import { KolbakError } from '../lib/errors.ts'
import type { EventStore } from '../ports/event-store.ts'
import { projectionNames } from '../projections/names.ts'
import type { Projection } from '../projections/projection.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import { activeWebhooksOfKey } from '../projections/webhooks.ts'
import { type DeactivationDeps, deactivate } from './deactivation.ts'

type KeyDeleted = RecordedEvent<'KeyDeleted', KeyEvents['KeyDeleted']>
type WebhookCreated = RecordedEvent<'WebhookCreated', WebhookEvents['WebhookCreated']>
const asksToDeactivate = (event: RecordedEvent): event is KeyDeleted =>
  event.type === 'KeyDeleted' && (event as KeyDeleted).data.webhooks === 'deactivate'
const isCreationByKey = (event: RecordedEvent): event is WebhookCreated =>
  event.type === 'WebhookCreated' && (event as WebhookCreated).data.key_id !== null

interface KeyDeletedDeps extends DeactivationDeps {
  /** Returns the active webhooks that the key created before this call. Throws if the read model is behind. */
  webhooksOf(owner: { tenant: TenantId; key_id: KeyId }): Promise<readonly WebhookId[]>
}

const catchUpMs = 5_000
/** Creates `webhooksOf`, which reads the read model once it contains every webhook that was created before the call. */
export const webhooksOfKey =
  (deps: { store: Pick<EventStore, 'head'>; waiter: ProjectionWaiter; pool: Pool }): KeyDeletedDeps['webhooksOf'] =>
  async (owner) => {
    const head = await deps.store.head(['webhook'])
    if (head !== null && !(await deps.waiter.waitFor(projectionNames.webhooks, head, catchUpMs)))
      throw new KolbakError('read_model_behind', 'The projection `webhooks` is behind, so the webhooks of the key are not known yet.')
    return activeWebhooksOfKey(deps.pool, owner)
  }

/**
 * The process manager of keys that are deleted with `webhooks=deactivate`. It deactivates the webhooks that the key created.
 *
 * It deactivates the webhooks that the read model contains at the deletion. For up to a second, a process that does not know of the deletion may let the
 * key create more webhooks. So the manager also deactivates a webhook that is created after the deletion of its key. Each webhook is deactivated only
 * once, because the id of the deactivation is derived from the deletion. So a webhook that a consumer activates again stays active.
 */
export function createKeyDeletedManager(deps: KeyDeletedDeps): Projection {
  const { streams, webhooksOf } = deps

  /** Returns the event that deleted the key, if it asks to deactivate the key's webhooks. */
  const deletionOf = async (key: KeyId): Promise<KeyDeleted | undefined> =>
    (await streams.read(keyStream(key))).events.find(asksToDeactivate)

  return {
    name: 'key_deleted_manager',
    version: 1,
    families: ['key', 'webhook'],
    concerns: (event) => asksToDeactivate(event) || isCreationByKey(event),
    async prepare(events) {
      for (const event of events)
        if (asksToDeactivate(event)) {
          const owner = { tenant: event.metadata.tenant as TenantId, key_id: event.data.id }
          for (const webhook of await webhooksOf(owner)) await deactivate(deps, event, 'key_deleted', webhook)
        } else if (isCreationByKey(event) && event.data.is_active && event.data.key_id !== null) {
          const deletion = await deletionOf(event.data.key_id)
          if (deletion !== undefined) await deactivate(deps, deletion, 'key_deleted', event.data.id)
        }
    },
    async apply() {
      // `prepare` has appended the events, so only the checkpoint moves.
    },
  }
}
