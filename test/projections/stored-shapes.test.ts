import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { createPostgresDeliveryLog } from '../../src/adapters/postgres/delivery-log.ts'
import { createPostgresEventStore, type PostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { createCommandStreams } from '../../src/commands/command-streams.ts'
import { handle } from '../../src/commands/handler.ts'
import { webhookDecider } from '../../src/commands/webhook.ts'
import { scheduleRetries } from '../../src/dispatch/retries.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import type { EventId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { type EventType, eventTypes, upcast } from '../../src/events/schema.ts'
import { openEvent } from '../../src/events/sealed-fields.ts'
import { type StreamName, tenantStream, webhookStream } from '../../src/events/streams.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { createLeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import { apiKeys } from '../../src/projections/api-keys.ts'
import { audit } from '../../src/projections/audit.ts'
import { installProjections, listBuilds } from '../../src/projections/builds.ts'
import { deliveries } from '../../src/projections/deliveries.ts'
import { keyVersions, listKeysAsOf } from '../../src/projections/key-versions.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { listQuarantined } from '../../src/projections/quarantine.ts'
import { startProjection } from '../../src/projections/runner.ts'
import { findTenant, tenants } from '../../src/projections/tenants.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { listWebhooksAsOf, webhookVersions } from '../../src/projections/webhook-versions.ts'
import { webhooks } from '../../src/projections/webhooks.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { fixtureKeyring, fixturesUpTo, fixtureVault } from '../support/event-fixtures.ts'
import { wholeShare } from '../support/lease-shares.ts'
import { sampleData, sampleEvent, sampleTypes, streamOf } from '../support/sample-events.ts'
import { waitFor } from '../support/wait-for.ts'

const highest = Math.max(...sampleTypes.map((type) => eventTypes[type].schema))
const timeOf = (type: EventType) => sampleEvent(type).metadata.time

/** Runs all read models over a store with these events. */
async function withReadModels(work: (world: { db: TestDatabase; store: PostgresEventStore; caughtUp(): Promise<void> }) => Promise<void>) {
  const db = await freshDatabase()
  const { pool } = db
  const store = createPostgresEventStore({ pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 36_500 * 86_400 })
  const deliveryLog = await createPostgresDeliveryLog({ pool, readers: db.readers, identity: 'test', bus: {}, log: silentLog })
  const leases = createLeaseKeeper({ pool, owner: 'test', leaseMs: 5_000, onError() {} })
  const projections: Projection[] = [
    tenants(fixtureKeyring),
    apiKeys(fixtureKeyring),
    keyVersions,
    webhooks,
    webhookVersions,
    audit,
    deliveries(deliveryLog, scheduleRetries),
  ]
  await installProjections(pool, projections)
  const deps = { store, pool, shares: wholeShare(pool, leases), progress: createProjectionProgress(), log: silentLog, refreshMs: 50 }
  const running = projections.map((projection) => startProjection(deps, projection))
  try {
    await work({
      db,
      store,
      async caughtUp() {
        for (const { name, families } of projections) {
          const head = await store.head(families)
          await waitFor(async () => ((await listBuilds(pool, name)).find(({ is_live }) => is_live)?.checkpoint ?? '') >= (head ?? ''), {
            what: name,
          })
        }
      },
    })
  } finally {
    await Promise.all(running.map((runner) => runner.stop()))
    await leases.close()
    await store.close()
    await db.drop()
  }
}

describe('the read models of stored events', () => {
  for (let level = 1; level <= highest; level++)
    it(`read every shape that was ever stored, up to schema ${level}`, () =>
      withReadModels(async ({ db, store, caughtUp }) => {
        const fixtures = fixturesUpTo(level)
        for (const { stream, ...event } of fixtures) await store.append(stream, [event], 'any')
        await caughtUp()
        expect(await listQuarantined(db.pool)).to.deep.equal([])
        const { tenant, key_id } = sampleData.WebhookCreated
        expect(await findTenant(db.pool, tenant)).to.deep.include({
          name: 'Tenant of samples',
          limits: sampleData.TenantSettingsChanged.limits,
        })
        const deps = { pool: db.pool, keyring: fixtureKeyring, log: silentLog }
        const page = { tenant, limit: 10, offset: 0 }
        const webhooksAt = async (type: EventType) => (await listWebhooksAsOf(deps, { ...page, asOf: timeOf(type) })).rows
        /** Returns the data of the fixture as the present code reads it. A field that was added later has the value that its upcaster sets. */
        const dataOf = (type: EventType) => {
          const fixture = fixtures.find((event) => event.type === type)!
          return openEvent(fixtureVault, fixture.stream, upcast(fixture)).data
        }
        const { secret, ...created } = { secret: null, ...dataOf('WebhookCreated') }
        expect((await webhooksAt('WebhookCreated'))[0]).to.deep.include(created)
        expect((await webhooksAt('WebhookSecretRotated'))[0]).to.deep.include({ ...dataOf('WebhookChanged'), key_id })
        expect((await webhooksAt('WebhookDeactivated'))[0]).to.include({ is_active: false, deactivation_reason: 'failing' })
        expect(await webhooksAt('WebhookDeleted')).to.deep.equal([])
        const keysAt = async (type: EventType) => (await listKeysAsOf(deps, { ...page, asOf: timeOf(type) })).rows
        expect((await keysAt('KeyCreated'))[0]).to.deep.include(dataOf('KeyCreated'))
        expect((await keysAt('KeyRotated'))[0]).to.deep.include({ ...dataOf('KeyChanged'), key: sampleData.KeyRotated.key })
        const { rows } = await db.pool.query('select type, schema from audit_events order by index')
        expect(rows).to.deep.equal(
          sampleTypes
            .filter((type) => !/^(Message|Delivery|Audit|Access|Token)/.test(type))
            .map((type) => ({ type, schema: Math.min(level, eventTypes[type].schema) })),
        )
        const history = await db.pool.query('select delivery::text, status from deliveries order by status')
        expect(history.rows).to.deep.include({ delivery: sampleData.DeliverySucceeded.delivery, status: 'success' })
      }))

  describe('of a newer version', () => {
    const tenant = ulid() as TenantId
    const stored = (type: EventType, over: { type?: string; newer?: boolean } = {}): NewEvent => {
      const { metadata, ...event } = sampleEvent(type)
      const schema = eventTypes[type].schema + (over.newer ? 1 : 0)
      return { ...event, id: randomUUID() as EventId, type: over.type ?? type, metadata: { ...metadata, tenant, schema } }
    }
    const quarantined = async (db: TestDatabase, stream: StreamName) =>
      (await listQuarantined(db.pool))
        .filter((row) => row.stream === stream)
        .map(({ projection, revision, error }) => {
          expect(error).to.match(/^event_not_readable: /)
          return `${projection} ${revision}`
        })
        .sort()

    it('quarantine streams whose events they need, and skip the others', () =>
      withReadModels(async ({ db, store, caughtUp }) => {
        const [newShape, newType] = [webhookStream(ulid() as WebhookId), webhookStream(ulid() as WebhookId)]
        const clients = tenantStream(ulid() as TenantId)
        await store.append(newShape, [stored('WebhookDeleted'), stored('WebhookDeleted', { newer: true })], 'any')
        await store.append(newType, [stored('WebhookDeleted'), stored('WebhookDeleted', { type: 'WebhookPainted' })], 'any')
        await store.append(clients, [stored('TenantSuspended'), stored('ClientIssued', { newer: true })], 'any')
        await store.append(streamOf('DeliverySucceeded'), [stored('DeliverySucceeded', { newer: true })], 'any')
        await caughtUp()
        expect(await quarantined(db, newShape)).to.deep.equal(['webhook_versions 1', 'webhooks 1'])
        expect(await quarantined(db, newType)).to.deep.equal(['webhook_versions 1', 'webhooks 1'])
        expect(await quarantined(db, clients), 'webhooks reads no clients').to.deep.equal(['tenants 1'])
        expect(await quarantined(db, streamOf('DeliverySucceeded'))).to.deep.equal(['deliveries 0'])
      }))
    it('make every command fail if its stream cannot be read completely', () =>
      withReadModels(async ({ store }) => {
        const id = ulid() as WebhookId
        await store.append(webhookStream(id), [stored('WebhookActivated', { newer: true })], 'any')
        const caller = { tenant, actor: 'client:test', scopes: new Set<never>(), key_id: null } as const
        const context = { caller, correlation_id: 'test', now: new Date().toISOString() }
        const streams = createCommandStreams(store, fixtureKeyring)
        const deleting = handle(streams, webhookDecider, webhookStream(id), { type: 'DeleteWebhook' }, context)
        expect(await deleting.then(() => 'no error', codeOf)).to.equal('event_not_readable')
        expect(await store.read(webhookStream(id))).to.have.length(1)
      }))
  })
})
