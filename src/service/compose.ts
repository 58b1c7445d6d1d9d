import { readFileSync } from 'node:fs'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { ulid } from 'ulid'
import { createApi } from '../api/api.ts'
import { createHttpServer } from '../api/http-server.ts'
import { createIdempotencyKeys } from '../api/idempotency-keys.ts'
import { createCommandStreams } from '../commands/command-streams.ts'
import { createReplayJobs } from '../commands/replay-jobs.ts'
import type { Config } from '../config/config.ts'
import { startDispatcher } from '../dispatch/dispatcher.ts'
import { createEndpointManager } from '../dispatch/endpoint-manager.ts'
import { createKeyDeletedManager, webhooksOfKey } from '../dispatch/key-deleted.ts'
import { createOffsets, type Offsets } from '../dispatch/offsets.ts'
import { startReplaying } from '../dispatch/replaying.ts'
import { scheduleRetries } from '../dispatch/retries.ts'
import { families, type StreamName } from '../events/streams.ts'
import { createAddressPolicy } from '../lib/addresses.ts'
import { KolbakError } from '../lib/errors.ts'
import { openKeyring } from '../lib/keyring.ts'
import { createLeaseKeeper } from '../lib/leases.ts'
import { joinLiveProcesses } from '../lib/live-processes.ts'
import type { Log } from '../lib/log.ts'
import { createWake } from '../lib/wake.ts'
import { apiKeys } from '../projections/api-keys.ts'
import { audit } from '../projections/audit.ts'
import { installProjections, passedByAll, rebuild } from '../projections/builds.ts'
import { deliveries } from '../projections/deliveries.ts'
import { createKeyUsage } from '../projections/key-usage.ts'
import { keyVersions } from '../projections/key-versions.ts'
import { createLiveDeliveryLog } from '../projections/live-history.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import { type Lifted, listQuarantined, type QuarantinedStream, retryQuarantined, skipQuarantined } from '../projections/quarantine.ts'
import { runProjection } from '../projections/runner.ts'
import { tenants } from '../projections/tenants.ts'
import { createProjectionProgress, createProjectionWaiter } from '../projections/waiter.ts'
import { webhookVersions } from '../projections/webhook-versions.ts'
import { webhooks } from '../projections/webhooks.ts'
import { backlog, checkEngines, unread } from './engine-checks.ts'
import { type Database, openDatabase, openEngines, whenThere } from './engines.ts'
import { ensureAdmin, readKeys } from './first-start.ts'
import { backlogMetrics, healthReport } from './health.ts'
import { releaseDeadOwners } from './release-dead-owners.ts'
import { startRetention } from './retention.ts'
import type { Supervised } from './supervised.ts'

export interface Service {
  /** Where it listens; a process without the role `api` answers for its health and metrics alone. */
  readonly url: string
  readonly operator: Operator
  /** Drains, in the order api, dispatcher, process managers, projections, stores. */
  stop(): Promise<void>
}
/** What an operator does to projections by hand. */
export interface Operator {
  /** Streams that are set aside, oldest first. */
  quarantined(): Promise<QuarantinedStream[]>
  /** Takes such a stream again from the event that failed; with `skip` without that event. Throws KolbakError `not_quarantined`, `unknown_projection`. */
  lift(projection: string, stream: StreamName, skip: boolean): Promise<Lifted>
  /** Has a projection built anew beside the live one, by the process that runs it. Throws KolbakError `not_rebuildable`, `unknown_projection`. */
  rebuild(projection: string): Promise<number>
  /** What is left to do: messages that are not done, and projections (builds that readers see) that have not read all events. */
  backlog(): Promise<{ messages: number; projections: string[] }>
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

/**
 * Puts the service together as configured. It listens first, and then waits for whatever engine does not answer yet.
 * @param guest beside a service that runs: takes no role, does not listen or wait, and leaves a Postgres that runs running
 * @param supervised of a worker: what its supervisor does for it
 * @param signal ends the waiting: what was started is stopped, and the signal's reason is thrown
 */
export async function compose(
  config: Config,
  log: Log,
  {
    guest = false,
    signal = new AbortController().signal,
    supervised,
  }: { guest?: boolean; signal?: AbortSignal; supervised?: Supervised | undefined } = {},
): Promise<Service> {
  const door = createHttpServer(undefined, (error) => log.error({ error }, 'http.server_failed'))
  let url = ''
  /** What has been started, to be stopped in the opposite order, also when the start fails half way. */
  const started: { name: string; stop(): Promise<void> }[] = []
  const stop = async () => {
    await door.close(config.KOLBAK_DRAIN_TIMEOUT_MS / 2) // first: what comes in needs all the others
    for (const part of started.splice(0).reverse()) {
      log.debug({ part: part.name }, 'part.stopping')
      try {
        await part.stop()
      } catch (error) {
        log.error({ error, part: part.name }, 'part.stop_failed') // the rest is stopped all the same, Postgres last
      }
    }
  }
  try {
    return await start()
  } catch (error) {
    await stop()
    throw signal.aborted ? signal.reason : error
  }

  async function start(): Promise<Service> {
    const onError = (what: string) => (error: unknown) => log.warn({ error }, what)
    const roles = guest ? [] : config.KOLBAK_ROLES
    const has = (role: (typeof config.KOLBAK_ROLES)[number]) => roles.includes(role)
    const dataDir = config.KOLBAK_DATA_DIR
    if (!guest) {
      const { HOST: host, PORT: port } = config
      const listened = await door.listen(port, host).catch((cause: Error) => {
        throw new KolbakError('cannot_listen', `${host}:${port} cannot be listened on: set PORT or HOST to another.`, { cause })
      })
      url = `http://${host.includes(':') ? `[${host}]` : host}:${listened}`
      log.info({ url }, 'kolbak.listening')
    }
    const keys = await readKeys(
      dataDir,
      {
        ...(config.KOLBAK_MASTER_KEY === undefined ? {} : { masterKey: config.KOLBAK_MASTER_KEY }),
        ...(config.KOLBAK_JWT_SECRET === undefined ? {} : { jwtSecret: config.KOLBAK_JWT_SECRET }),
      },
      log,
    )

    const patience = { log, signal, waits: !guest }
    const {
      databaseUrl = config.DATABASE_URL,
      processId,
      dead,
    } = (await supervised?.assignment(signal)) ?? { processId: ulid(), dead: null }
    const database = await openDatabase({ ...config, DATABASE_URL: databaseUrl }, patience, { join: guest })
    started.push({ name: 'postgres', stop: database.stop })
    const pool = (...of: Parameters<Database['pool']>) => {
      const [name] = of
      const made = database.pool(...of)
      started.push({ name: `pool ${name}`, stop: () => made.end() })
      return made
    }
    // Writers, schedulers and readers do not wait for one another's connections.
    const [reads, writes, dispatch, projecting] = [pool('reads', 10), pool('writes', 6), pool('dispatch', 10), pool('projections', 8)]
    const historyReads = pool('history', 6, { plansOnce: true })
    // On a Postgres of our own nobody else can hold anything: what a killed process left is free at once.
    if (database.isEmbedded && !guest) await releaseDeadOwners(reads, 'all')
    else if (dead !== null) await releaseDeadOwners(reads, dead)

    // What all parts share
    const keyring = await openKeyring(reads, keys.masterKey)
    const leases = createLeaseKeeper({ pool: reads, owner: processId, leaseMs: config.KOLBAK_LEASE_MS, onError: onError('leases.failed') })
    started.push({ name: 'leases', stop: leases.close })
    const live = await joinLiveProcesses({ pool: reads, id: processId, roles, onError: onError('heartbeat.failed') })
    started.push({ name: 'heartbeat', stop: live.close })
    const registry = new Registry()
    collectDefaultMetrics({ register: registry })

    const { store, bus, deliveryLog, retention, committed } = await openEngines({
      config,
      patience,
      log,
      leases,
      consumers: () => live.count('dispatcher'),
      pools: { reads, writes, projecting, history: historyReads },
      opened: (name, close) => started.push({ name, stop: close }),
    })

    // Projections and process managers
    const streams = createCommandStreams(store, keyring)
    const progress = createProjectionProgress()
    const waiter = createProjectionWaiter({ pool: reads, progress })
    const dueWake = createWake()
    let dueSoon = false
    progress.onReport('deliveries', () => {
      // Once it is committed.
      if (dueSoon) dueWake.notify()
      dueSoon = false
    })
    const timestamp = () => new Date().toISOString()
    const projections = [
      tenants,
      apiKeys(keyring),
      webhooks,
      keyVersions,
      webhookVersions,
      audit,
      deliveries(deliveryLog, async (sql, events) => {
        if (await scheduleRetries(sql, events)) dueSoon = true
      }),
      createEndpointManager({ streams, pool: projecting, waiter, log, now: timestamp }),
      createKeyDeletedManager({ streams, webhooksOf: webhooksOfKey({ store, waiter, pool: reads }), log, now: timestamp }),
    ]
    await whenThere('postgres', () => installProjections(projecting, projections), patience)
    const running = has('projector')
      ? projections.map((projection) => runProjection({ store, pool: projecting, leases, progress, log }, projection))
      : []
    for (const [i, runner] of running.entries()) started.push({ name: `projection ${projections[i]?.name}`, stop: runner.stop })
    const named = (name: string) => {
      const projection = projections.find((known) => known.name === name)
      if (projection !== undefined) return projection
      throw new KolbakError('unknown_projection', `There is no projection ${name}: ${projections.map((known) => known.name).join(', ')}.`)
    }
    const operator: Operator = {
      quarantined: () => listQuarantined(projecting),
      lift: async (name, stream, skip) =>
        (skip ? skipQuarantined : retryQuarantined)({ pool: projecting, store, log }, named(name), stream),
      rebuild: async (name) => rebuild(projecting, named(name)),
      backlog: () => backlog({ store, bus, pool: reads }, projections),
    }
    await whenThere('engines', () => checkEngines({ store, bus, pool: reads }), patience)
    if (guest) return { url, operator, stop }

    const makeAdmin = () =>
      ensureAdmin({
        streams,
        keyring,
        dataDir,
        given:
          config.KOLBAK_ADMIN_CLIENT_ID === undefined || config.KOLBAK_ADMIN_CLIENT_SECRET === undefined
            ? null
            : { clientId: config.KOLBAK_ADMIN_CLIENT_ID, clientSecret: config.KOLBAK_ADMIN_CLIENT_SECRET },
        log,
        now: timestamp,
      })
    const admin = await whenThere('event store', makeAdmin, patience)
    // Whoever reads `ready` can get a token.
    if (admin.position !== null && has('projector')) await waiter.waitFor('tenants', admin.position, 10_000)

    // The dispatcher
    const policy = createAddressPolicy({ allowedSubnets: config.KOLBAK_ALLOWED_SUBNETS, allowHttp: config.KOLBAK_ALLOW_HTTP })
    const index = createMessageIndex(reads)
    const saved = createOffsets(dispatch, bus.identity)
    const savedAndTold: Offsets = {
      ...saved,
      async save(next) {
        await saved.save(next)
        committed(next)
      },
    }
    const dispatcher = has('dispatcher')
      ? startDispatcher({
          bus,
          store,
          deliveryLog: createLiveDeliveryLog({ log: deliveryLog, pool: dispatch }),
          index: createMessageIndex(dispatch),
          offsets: savedAndTold,
          pool: dispatch,
          keyring,
          live,
          policy,
          registry,
          log,
          processId,
          dueWake,
          retryDelays: config.KOLBAK_RETRY_DELAYS,
          maxInFlight: config.KOLBAK_MAX_IN_FLIGHT,
          maxInFlightPerWebhook: config.KOLBAK_MAX_IN_FLIGHT_PER_WEBHOOK,
          maxInFlightPerHighThroughputWebhook: config.KOLBAK_MAX_IN_FLIGHT_PER_QUICK_WEBHOOK,
          connectTimeoutMs: config.KOLBAK_CONNECT_TIMEOUT_MS,
          requestTimeoutMs: config.KOLBAK_REQUEST_TIMEOUT_MS,
          claimMs: config.KOLBAK_CLAIM_MS,
          userAgent: `Kolbak/${version}`,
        })
      : null
    if (dispatcher !== null) started.push({ name: 'dispatcher', stop: dispatcher.stop })
    const history = createLiveDeliveryLog({ log: deliveryLog, pool: reads })
    if (has('dispatcher')) {
      const replaying = startReplaying({ store, deliveryLog: history, pool: reads, keyring, waiter, leases, registry, log, now: Date.now })
      started.push({ name: 'replay jobs', stop: replaying.stop })
    }

    const sweeping = startRetention({
      leases,
      log,
      retentionDays: config.KOLBAK_RETENTION_DAYS,
      now: Date.now,
      sweeps: [
        { name: 'idempotency keys', run: () => createIdempotencyKeys({ pool: reads, now: Date.now }).expire() },
        { name: 'message index', run: (day) => index.expire(`${day}T00:00:00.000Z`) },
        { name: 'messages', run: async (day) => retention.messages(day, await saved.saved()) },
        {
          name: 'events of days',
          async run(day) {
            const passed = await passedByAll(
              reads,
              projections.filter(({ families: read }) => read.some((family) => families[family] === 'day')),
            )
            return passed === null ? 0 : retention.events(day, passed)
          },
        },
        { name: 'delivery log', run: retention.history },
        { name: 'replay jobs', run: (day) => createReplayJobs(reads).expire(day) },
      ],
    })
    started.push({ name: 'retention', stop: sweeping.stop })

    const statuses = () => running.map((runner) => runner.status())
    backlogMetrics(registry, () => unread({ bus, pool: reads }), statuses)
    const usage = createKeyUsage({ pool: reads, onError: onError('key_usage.failed') })
    started.push({ name: 'key usage', stop: usage.close })
    createApi(
      {
        streams,
        store,
        bus,
        deliveryLog: history,
        messages: index,
        pool: reads,
        keyring,
        waiter,
        usage,
        addressPolicy: policy,
        processes: () => live.count('api'),
        health: () => healthReport(dispatcher, statuses()),
        metrics: registry,
        scrape: () => supervised?.scrape() ?? registry.metrics(),
        log,
        now: Date.now,
        settings: {
          version,
          jwtSecret: keys.jwtSecret,
          tokenTtlSeconds: config.KOLBAK_TOKEN_TTL_SECONDS,
          metricsToken: config.KOLBAK_METRICS_TOKEN,
          trustProxy: config.KOLBAK_TRUST_PROXY,
          retentionDays: config.KOLBAK_RETENTION_DAYS,
          requestTimeoutMs: config.KOLBAK_REQUEST_TIMEOUT_MS,
          maxWebhooksPerTenant: config.KOLBAK_MAX_WEBHOOKS_PER_TENANT,
          eventsPerSecond: config.KOLBAK_EVENTS_PER_SECOND,
          requestsPerSecond: config.KOLBAK_REQUESTS_PER_SECOND,
        },
      },
      { server: door, operationOnly: !has('api') },
    )
    const facts = { url, roles: config.KOLBAK_ROLES, adminClientId: admin.clientId, adminClientFile: admin.file, version }
    if (supervised === undefined) log.info(facts, 'kolbak.ready')
    else supervised.ready(facts, registry)
    if (process.stdout.isTTY && admin.newSecret !== null)
      process.stdout.write(`\n  client_id      ${admin.clientId}\n  client_secret  ${admin.newSecret}\n  (kept in ${admin.file})\n\n`)
    return { url, operator, stop }
  }
}
