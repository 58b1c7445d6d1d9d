import { randomBytes, randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { Registry } from 'prom-client'
import { ulid } from 'ulid'
import { createPostgresDeliveryLog } from '../../src/adapters/postgres/delivery-log.ts'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { createPostgresMessageBus } from '../../src/adapters/postgres/message-bus.ts'
import { type Api, createApi } from '../../src/api/api.ts'
import type { ApiDependencies, ApiSettings } from '../../src/api/dependencies.ts'
import type { Caller } from '../../src/commands/caller.ts'
import { createCommandStreams } from '../../src/commands/command-streams.ts'
import { handle } from '../../src/commands/handler.ts'
import { type TenantCommand, tenantDecider } from '../../src/commands/tenant.ts'
import { createEndpointManager } from '../../src/dispatch/endpoint-manager.ts'
import { createErasureManager } from '../../src/dispatch/erasure-manager.ts'
import { type ReplayingDeps, startReplaying } from '../../src/dispatch/replaying.ts'
import { scheduleRetries } from '../../src/dispatch/retries.ts'
import { type ClientId, defaultTenant, type Place, type TenantId } from '../../src/events/ids.ts'
import type { MessageRecord } from '../../src/events/message-record.ts'
import { tenantStream } from '../../src/events/streams.ts'
import { bearerScopes, type Scope, serviceScopes } from '../../src/events/tenant.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { openKeyring } from '../../src/lib/keyring.ts'
import { createLeaseKeeper } from '../../src/lib/leases.ts'
import { openLogSigner } from '../../src/lib/log-signer.ts'
import { noNotices } from '../../src/lib/notices.ts'
import { apiKeys } from '../../src/projections/api-keys.ts'
import { audit } from '../../src/projections/audit.ts'
import { installProjections } from '../../src/projections/builds.ts'
import { deliveries } from '../../src/projections/deliveries.ts'
import { createKeyUsage } from '../../src/projections/key-usage.ts'
import { keyVersions } from '../../src/projections/key-versions.ts'
import { createLiveDeliveryLog } from '../../src/projections/live-delivery-log.ts'
import { createMessageIndex } from '../../src/projections/message-index.ts'
import { startProjection } from '../../src/projections/runner.ts'
import { tenants } from '../../src/projections/tenants.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import { webhookVersions } from '../../src/projections/webhook-versions.ts'
import { webhooks } from '../../src/projections/webhooks.ts'
import { createBacklog } from '../../src/service/backlog.ts'
import { noteEnd } from '../../src/service/engine-checks.ts'
import { createOperations } from '../../src/service/operations.ts'
import { type Client, type Credential, client } from './api-client.ts'
import { conformance } from './api-conformance.ts'
import { type CapturingLog, capturingLog } from './capturing-log.ts'
import { freshDatabase, type TestDatabase } from './database.ts'
import { wholeShare } from './lease-shares.ts'
import { noMacs } from './no-macs.ts'
import { giveUpAfterMs } from './patience.ts'

export interface TestClient {
  readonly tenant: TenantId
  readonly clientId: ClientId
  readonly secret: string
  readonly token: string
  readonly scopes: readonly Scope[]
}
/** A record that the API produced, and its place on the bus. */
export interface Produced {
  readonly record: MessageRecord
  readonly place: Place
}
/** The admin of a tenant and a key of it, and the webhook that each of them owns. */
export interface Owners {
  readonly admin: TestClient
  readonly key: { readonly id: string; readonly key: string }
  readonly clientWebhook: string
  readonly keyWebhook: string
}
export interface TestApi {
  readonly api: Api
  readonly db: TestDatabase
  readonly deps: ApiDependencies
  readonly log: CapturingLog
  readonly origin: string
  readonly port: number
  readonly call: Client
  /** Every record that was produced. */
  readonly produced: readonly Produced[]
  /** Creates a tenant with a client of these scopes, and gets a token. By default the client has every scope of a tenant. */
  tenant(scopes?: readonly Scope[]): Promise<TestClient>
  /** Creates an admin, which is a client of the tenant `default`. */
  operator(): Promise<TestClient>
  /** Creates another client of the same tenant. */
  sibling(of: TestClient, scopes: readonly Scope[]): Promise<TestClient>
  /** Runs a command on the tenant's stream, and waits until the read models have it. */
  command(tenant: TenantId, command: TenantCommand): Promise<void>
  /** Creates a key over the API. */
  key(of: Credential, scopes?: readonly string[]): Promise<{ id: string; key: string }>
  /** Creates a webhook over the API. Returns its id. */
  webhook(of: Credential, body?: object): Promise<string>
  /** Creates a tenant with an admin and a key, each of which owns a webhook. */
  owners(): Promise<Owners>
  /** Carries out replay jobs until `stop`. `replace` replaces dependencies. */
  replaying(replace?: Partial<ReplayingDeps>): { stop(): Promise<void> }
  /** Returns the number of events in all command streams. A refused command adds none. */
  events(): Promise<number>
  /** Values that no log line may contain. The helpers add the secrets that they create. */
  readonly secrets: Set<string>
  /** Stops everything. Throws if the log contains a secret or a failure in the background. */
  stop(): Promise<void>
}
export interface TestApiOptions {
  readonly settings?: Partial<ApiSettings>
  /** Returns dependencies that replace the given ones, for example some that fail. */
  readonly replace?: (deps: ApiDependencies) => Partial<ApiDependencies>
}

export const localUrl = 'https://127.0.0.1:9999/hook?token=in-the-url'

/** Starts the API with a real Postgres, event store, bus, delivery log and projections. Only the dispatcher is missing. */
export async function startApi({ settings = {}, replace = () => ({}) }: TestApiOptions = {}): Promise<TestApi> {
  const db = await freshDatabase()
  const { pool } = db
  const log = capturingLog()
  const secrets = new Set<string>([localUrl, 'token=in-the-url'])
  const onError = (error: unknown) => log.error({ error }, 'test.background_failed')

  const keyring = await openKeyring(pool, randomBytes(32))
  const store = createPostgresEventStore({ pool, log, identity: 'test', keepsHistory: true, dayStreamMaxAgeSeconds: 30 * 86_400 })
  const leases = createLeaseKeeper({ pool, owner: randomUUID(), leaseMs: 60_000, onError })
  const bus = await createPostgresMessageBus({ pool, identity: 'test', partitions: 2, leases, consumers: () => 1, log })
  const deliveryLog = await createPostgresDeliveryLog({ pool, readers: db.readers, identity: 'test', bus, readsEvents: true, log })
  const shares = wholeShare(pool, leases)
  const progress = createProjectionProgress()
  const streams = createCommandStreams(store, keyring)
  const waiter = createProjectionWaiter({ pool, progress })
  const projections = [
    tenants(keyring),
    apiKeys(keyring),
    webhooks,
    keyVersions,
    webhookVersions,
    audit,
    deliveries(deliveryLog, scheduleRetries),
    createEndpointManager({ streams, pool, waiter, log, now: () => new Date().toISOString() }),
    createErasureManager({
      ...{ streams, deliveryLog, bus, keyring, pool, log, index: createMessageIndex(pool), onDue() {}, onKeysDestroyed() {} },
      now: () => new Date().toISOString(),
    }),
  ]
  await installProjections(pool, projections)
  const running: { stop(): Promise<void> }[] = projections.map((projection) =>
    startProjection({ store, pool, shares, progress, log }, projection),
  )
  const usage = createKeyUsage({ pool, everyMs: 20, onError })
  const produced: Produced[] = []
  const metrics = new Registry()
  const real: ApiDependencies = {
    streams,
    notices: noNotices,
    store,
    bus: {
      async produce(record) {
        const place = await bus.produce(record)
        produced.push({ record, place })
        return place
      },
      eraseBodies: bus.eraseBodies,
    },
    noteAccepted: () => noteEnd({ bus, pool }),
    // Tests use `record` to write the history of deliveries without a dispatcher.
    deliveryLog: {
      ...createLiveDeliveryLog({ log: deliveryLog, pool }),
      record: deliveryLog.historyOf(1).record,
    } as ApiDependencies['deliveryLog'],
    messages: createMessageIndex(pool),
    pool,
    keyring,
    macs: noMacs,
    logKey: async () => (await openLogSigner(keyring)).vkey,
    waiter,
    usage,
    addressPolicy: createAddressPolicy({ allowedSubnets: [parseSubnet('127.0.0.0/8')], allowHttp: false }),
    processes: () => 1,
    health: () => ({ ready: true, checks: [{ name: 'event_store', ok: true }] }),
    operations: createOperations(
      { bus, pools: { reads: pool } },
      {
        backlog: createBacklog({ bus, deliveryLog, pools: { reads: pool } }),
        health: () => ({ ready: true, checks: [] }),
        ...{ projections: () => [], dataDir: tmpdir(), retentionDays: 30, version: 'test' },
      },
    ),
    metrics,
    scrape: () => metrics.metrics(),
    log,
    now: Date.now,
    settings: {
      version: '0.0.0-test',
      jwtSecret: randomBytes(32),
      tokenTtlSeconds: 3_600,
      retentionDays: 30,
      requestTimeoutMs: 15_000,
      maxWebhooksPerTenant: 1_000,
      maxPayloadDepth: 128,
      // The limits are high, because tests send more requests than a client may. The tests of the limits set other values.
      eventsPerSecond: 1_000_000,
      requestsPerSecond: 1_000_000,
      failedCredentialsPerMinute: 10_000,
      projectionWaitMs: giveUpAfterMs,
      routingWaitMs: 50,
      ...settings,
    },
  }
  const deps = { ...real, ...replace(real) }
  const api = createApi(deps)
  const port = await api.listen(0, '127.0.0.1')
  const origin = `http://127.0.0.1:${port}`
  const document = await (await fetch(`${origin}/openapi.json`)).text()
  const call = client(origin, conformance(JSON.parse(document)))

  const command = async (tenant: TenantId, turn: TenantCommand): Promise<void> => {
    const caller: Caller = { tenant, actor: 'system:test', scopes: new Set(bearerScopes), key_id: null }
    const context = { caller, correlation_id: 'test', now: new Date().toISOString(), create: turn.type === 'RegisterTenant' }
    const { position } = await handle(streams, tenantDecider, tenantStream(tenant), turn, context)
    for (const projection of ['tenants', 'webhooks'])
      if (position !== null && !(await waiter.waitFor(projection, position, giveUpAfterMs))) throw new Error(`${projection} is behind`)
  }
  const sibling = async ({ tenant }: Pick<TestClient, 'tenant'>, scopes: readonly Scope[]): Promise<TestClient> => {
    const clientId = `client_${ulid()}` as ClientId
    const secret = randomBytes(32).toString('base64url')
    secrets.add(secret)
    const secret_hmac = keyring.lookup('client-secret', secret)
    await command(tenant, { type: 'IssueClient', client_id: clientId, name: 'test', scopes, secret_hmac })
    const response = await call('POST', '/v1/auth', {
      body: { grant_type: 'client_credentials', client_id: clientId, client_secret: secret },
    })
    const token = response.get('access_token')
    secrets.add(token)
    return { tenant, clientId, secret, token, scopes }
  }
  const testApi: TestApi = {
    api,
    db,
    deps,
    log,
    origin,
    port,
    call,
    produced,
    secrets,
    command,
    sibling,
    async tenant(scopes = bearerScopes.filter((scope) => !serviceScopes.includes(scope))) {
      const tenant = ulid() as TenantId
      await command(tenant, { type: 'RegisterTenant', id: tenant, name: 'A tenant of the test' })
      return sibling({ tenant }, scopes)
    },
    async operator() {
      await command(defaultTenant, { type: 'RegisterTenant', id: defaultTenant, name: 'default' })
      return sibling({ tenant: defaultTenant }, ['admin'])
    },
    async key(owner, scopes = ['read:webhooks', 'write:webhooks']) {
      const created = await call('POST', '/v1/keys', { as: owner, body: { name: 'Key of the test', scopes } })
      secrets.add(created.get('data.key'))
      return { id: created.get('data.id'), key: created.get('data.key') }
    },
    async webhook(owner, body = {}) {
      const created = await call('POST', '/v1/webhooks', { as: owner, body: { callback_url: localUrl, event: 'order.created', ...body } })
      secrets.add(created.get('secret'))
      return created.get('id')
    },
    async owners() {
      const admin = await testApi.tenant()
      const key = await testApi.key(admin)
      return { admin, key, keyWebhook: await testApi.webhook(key), clientWebhook: await testApi.webhook(admin) }
    },
    replaying(replace = {}) {
      const replaying = startReplaying({ ...deps, leases, notices: noNotices, registry: new Registry(), ...replace })
      running.push(replaying)
      return replaying
    },
    async events() {
      const { rows } = await pool.query<{ n: bigint }>('select count(*) as n from command_events')
      return Number(rows[0]?.n)
    },
    async stop() {
      await api.close(5_000)
      await Promise.all(running.map((part) => part.stop()))
      await usage.close()
      await bus.close()
      await deliveryLog.close()
      await store.close()
      await leases.close()
      await db.drop()
      const text = log.lines.join('\n')
      for (const secret of secrets) if (text.includes(secret)) throw new Error(`a secret is in the log: ${secret}`)
      if (text.includes('test.background_failed')) throw new Error(`something in the background failed: ${text}`)
    },
  }
  return testApi
}
