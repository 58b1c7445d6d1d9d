import { expect } from 'chai'
import { createCommandStreams } from '../../src/commands/command-streams.ts'
import { createKeyDeletedManager, webhooksOfKey } from '../../src/dispatch/key-deleted.ts'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { KeyId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { webhookStream } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import { projectionWorld, type World } from '../projections/world.ts'

describe('the manager of deleted keys', () => {
  let world: World
  let tenant: TenantId
  before(async () => {
    world = await projectionWorld()
    tenant = await world.newTenant()
  })
  after(() => world.stop())

  const manager = () => {
    const { store, keyring, db } = world
    const waiter = createProjectionWaiter({ pool: db.pool, progress: createProjectionProgress() })
    return createKeyDeletedManager({
      streams: createCommandStreams(store, keyring),
      webhooksOf: webhooksOfKey({ store, waiter, pool: db.pool }),
      log: silentLog,
      now: () => new Date().toISOString(),
    })
  }
  /** Runs the manager over all events from the beginning, as after a crash before its first checkpoint. */
  const run = async () => {
    const { prepare, concerns, families } = manager()
    const head = await world.store.head(families)
    const stop = new AbortController()
    for await (const { events, checkpoint } of world.store.subscribe({ families, after: null, signal: stop.signal })) {
      await prepare?.(
        events.filter((event) => concerns?.(event)),
        { build: 1, is_live: true, applied_to: null },
      )
      if (checkpoint >= (head ?? '')) break
    }
    stop.abort()
  }
  const remove = (id: KeyId, webhooks: 'keep' | 'deactivate') => world.key(tenant, id, { type: 'DeleteKey', webhooks })
  const last = async (id: WebhookId): Promise<RecordedEvent | undefined> =>
    (await world.store.read(webhookStream(id), { backwards: true }))[0]
  const is_active = async (id: WebhookId) => (await last(id))?.type !== 'WebhookDeactivated'

  it('deactivates the webhooks that the key created, with the reason and the cause', async () => {
    const [key, other] = [await world.newKey(tenant), await world.newKey(tenant)]
    const ownWebhooks = [await world.newWebhook(tenant, { key_id: key.id }), await world.newWebhook(tenant, { key_id: key.id })]
    const otherWebhooks = [await world.newWebhook(tenant, { key_id: other.id }), await world.newWebhook(tenant)]
    const deleted = await remove(key.id, 'deactivate')
    await run()
    for (const { id } of ownWebhooks) {
      const event = await last(id)
      expect(event?.data).to.deep.equal({ id, reason: 'key_deleted' })
      expect(event?.metadata).to.include({ actor: 'system:key-manager', tenant, $correlationId: 'test' })
      expect(event?.metadata.$causationId).to.equal(await idAt(key.id, deleted.revision))
    }
    for (const { id } of otherWebhooks) expect(await is_active(id)).to.equal(true)
  })
  const idAt = async (key: KeyId, revision: number) => (await world.store.read(`key-${key}`, { from: revision, limit: 1 }))[0]?.id

  it('leaves the webhooks active if the key was deleted with webhooks=keep', async () => {
    const key = await world.newKey(tenant)
    const { id } = await world.newWebhook(tenant, { key_id: key.id })
    await remove(key.id, 'keep')
    await run()
    expect(await is_active(id)).to.equal(true)
  })
  it('also deactivates webhooks that the key creates after its deletion, by a process that does not know of it yet', async () => {
    const key = await world.newKey(tenant)
    await remove(key.id, 'deactivate')
    await run()
    const { id } = await world.newWebhook(tenant, { key_id: key.id })
    await run()
    expect((await last(id))?.data).to.deep.equal({ id, reason: 'key_deleted' })
  })
  it('deactivates a webhook once: if it is activated again, it stays active even when events are read again', async () => {
    const key = await world.newKey(tenant)
    const { id } = await world.newWebhook(tenant, { key_id: key.id })
    await remove(key.id, 'deactivate')
    await run()
    await world.webhook(tenant, id, { type: 'ChangeWebhook', is_active: true })
    await run()
    expect((await last(id))?.type).to.equal('WebhookActivated')
  })
  it('skips webhooks that are inactive or deleted already', async () => {
    const key = await world.newKey(tenant)
    const [inactive, deleted] = [await world.newWebhook(tenant, { key_id: key.id }), await world.newWebhook(tenant, { key_id: key.id })]
    await world.webhook(tenant, inactive.id, { type: 'ChangeWebhook', is_active: false })
    await world.webhook(tenant, deleted.id, { type: 'DeleteWebhook' })
    await remove(key.id, 'deactivate')
    await run()
    expect((await last(inactive.id))?.data).to.deep.equal({ id: inactive.id, reason: 'requested' })
    expect((await last(deleted.id))?.type).to.equal('WebhookDeleted')
  })
  it('waits for a read model that is behind', async () => {
    const { store, db } = world
    const owner = { tenant, key_id: (await world.newKey(tenant)).id }
    const webhooks = webhooksOfKey({ store, waiter: { waitFor: async () => false }, pool: db.pool })(owner)
    const error = await webhooks.then(
      () => null,
      (reason: unknown) => reason,
    )
    expect(error).to.include({ code: 'read_model_behind' })
  })
})
