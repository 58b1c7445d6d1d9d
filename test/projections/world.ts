import { randomBytes } from 'node:crypto'
import { ulid } from 'ulid'
import { createPostgresEventStore, type PostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { createCommandStreams } from '../../src/commands/command-streams.ts'
import { type CommandContext, type Handled, handle } from '../../src/commands/handler.ts'
import { type KeyCommand, type KeyState, keyDecider } from '../../src/commands/key.ts'
import { type TenantCommand, type TenantState, tenantDecider } from '../../src/commands/tenant.ts'
import { type WebhookCommand, type WebhookState, webhookDecider } from '../../src/commands/webhook.ts'
import { defaultsOf } from '../../src/events/fields.ts'
import type { KeyId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { keyStream, type StreamName, tenantStream, webhookStream } from '../../src/events/streams.ts'
import { webhookFields } from '../../src/events/webhook.ts'
import { type Keyring, openKeyring } from '../../src/lib/keyring.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import { apiKeys } from '../../src/projections/api-keys.ts'
import { installProjections } from '../../src/projections/builds.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { startProjection } from '../../src/projections/runner.ts'
import { tenants } from '../../src/projections/tenants.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import { webhooks } from '../../src/projections/webhooks.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { wholeShare } from '../support/lease-shares.ts'

export interface World {
  readonly db: TestDatabase
  readonly store: PostgresEventStore
  readonly keyring: Keyring
  readonly leases: LeaseKeeper
  /** Carries out a command as the API does. Returns when every read model has the change. */
  tenant(id: TenantId, command: TenantCommand, more?: Partial<CommandContext>): Promise<Handled<TenantState>>
  key(tenant: TenantId, id: KeyId, command: KeyCommand, more?: Partial<CommandContext>): Promise<Handled<KeyState>>
  webhook(tenant: TenantId, id: WebhookId, command: WebhookCommand, more?: Partial<CommandContext>): Promise<Handled<WebhookState>>
  newTenant(): Promise<TenantId>
  newKey(tenant: TenantId, with_?: Partial<Extract<KeyCommand, { type: 'CreateKey' }>>, now?: string): Promise<KeyState>
  newWebhook(tenant: TenantId, with_?: Partial<Extract<WebhookCommand, { type: 'CreateWebhook' }>>, now?: string): Promise<WebhookState>
  stop(): Promise<void>
}

export const keyValue = (): string => {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
  return [...randomBytes(12)].map((byte) => letters[byte % letters.length]).join('')
}

/** Creates the read models, with the real store and commands, on a separate database. */
export async function projectionWorld(): Promise<World> {
  const db = await freshDatabase()
  const { pool } = db
  const store = createPostgresEventStore({ pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 })
  const keyring = await openKeyring(pool, randomBytes(32))
  const streams = createCommandStreams(store, keyring)
  const onError = (error: unknown) => {
    throw error
  }
  const leases = createLeaseKeeper({ pool, owner: 'world', leaseMs: 60_000, onError })
  const shares = wholeShare(pool, leases)
  const progress = createProjectionProgress()
  const waiter = createProjectionWaiter({ pool, progress })
  const projections: Projection[] = [tenants(keyring), apiKeys(keyring), webhooks]
  await installProjections(pool, projections)
  const running = projections.map((projection) =>
    startProjection({ store, pool, shares, progress, log: silentLog, refreshMs: 50 }, projection),
  )

  const context = (tenant: TenantId, fields: Partial<CommandContext>): CommandContext => ({
    caller: { tenant, actor: 'client:test', scopes: new Set(), key_id: null },
    correlation_id: 'test',
    now: new Date().toISOString(),
    ...fields,
  })
  const seen = async <S>(stream: StreamName, names: readonly string[], turn: Promise<Handled<S>>): Promise<Handled<S>> => {
    const handled = await turn
    for (const name of names)
      if (handled.position !== null && !(await waiter.waitFor(name, handled.position, 10_000, stream)))
        throw new Error(`${name} did not get ${stream} at ${handled.position}`)
    return handled
  }
  const self: World = {
    db,
    store,
    keyring,
    leases,
    tenant: (id, command, fields = {}) =>
      seen(tenantStream(id), ['tenants', 'webhooks'], handle(streams, tenantDecider, tenantStream(id), command, context(id, fields))),
    key: (tenant, id, command, fields = {}) =>
      seen(keyStream(id), ['api_keys'], handle(streams, keyDecider, keyStream(id), command, context(tenant, fields))),
    webhook: (tenant, id, command, fields = {}) =>
      seen(webhookStream(id), ['webhooks'], handle(streams, webhookDecider, webhookStream(id), command, context(tenant, fields))),
    async newTenant() {
      const id = ulid() as TenantId
      await self.tenant(id, { type: 'RegisterTenant', id, name: `Tenant ${id}` }, { create: true })
      return id
    },
    async newKey(tenant, with_ = {}, now = new Date().toISOString()) {
      const id = ulid() as KeyId
      const command: KeyCommand = {
        type: 'CreateKey',
        id,
        tenant,
        key: keyValue(),
        name: 'Key 1',
        description: 'This is Key',
        scopes: ['read:webhooks'],
        ...with_,
      }
      return (await self.key(tenant, id, command, { create: true, now })).state
    },
    async newWebhook(tenant, with_ = {}, now = new Date().toISOString()) {
      const id = with_.id ?? (ulid() as WebhookId)
      const command: WebhookCommand = {
        ...defaultsOf(webhookFields),
        type: 'CreateWebhook',
        id,
        tenant,
        key_id: null,
        callback_url: 'https://consumer.example.com/webhook-receiver',
        event: 'order.created',
        description: 'Webhook for processing order updates',
        secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
        ...with_,
      }
      return (await self.webhook(tenant, id, command, { create: true, now })).state
    },
    async stop() {
      for (const runner of running) await runner.stop()
      await leases.close()
      await store.close()
      await db.drop()
    },
  }
  return self
}
