import { Registry } from 'prom-client'
import { createHttpServer, type HttpServer } from '../api/http-server.ts'
import { createStartCodes } from '../api/ui/start-codes.ts'
import type { Config, Role } from '../config/config.ts'
import type { ClientId } from '../events/ids.ts'
import { createAddressPolicy } from '../lib/addresses.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { projectionNames } from '../projections/names.ts'
import { createBacklog } from './backlog.ts'
import { registerBacklogMetrics } from './backlog-metrics.ts'
import { destroyErasedKeys } from './destroy-erased-keys.ts'
import { startDispatching } from './dispatching.ts'
import { checkEngines } from './engine-checks.ts'
import { createEngineProbes } from './engine-probes.ts'
import { chooseEngines, type Engines } from './engines/table.ts'
import { type AdminClient, ensureAdmin } from './first-start.ts'
import { healthReport, withEngines } from './health.ts'
import { checkLog, startLogHeads } from './log-heads.ts'
import { startLogMessages } from './log-messages.ts'
import { startLog } from './log-start.ts'
import { startLogWitnesses } from './log-witnesses.ts'
import { createOperations } from './operations.ts'
import { createOperator, type Operator } from './operator.ts'
import { createParts, type Parts } from './parts.ts'
import { whenAvailable } from './patience.ts'
import { collectProcessMetrics } from './process-metrics.ts'
import { openProjections, startProjections } from './projections.ts'
import { watchVersions, whenBuilt } from './read-model-versions.ts'
import { serveApi } from './serving.ts'
import { openShared, type Shared } from './shared.ts'
import { startStreamLists } from './stream-lists.ts'
import type { Supervised } from './supervised.ts'
import { startSweeps } from './sweeps.ts'
import { version } from './version.ts'

interface Service {
  /** The URL on which the server listens. A process without the role `api` serves only its health and metrics there. */
  readonly url: string
  readonly operator: Operator
  /** Drains and stops the parts in this order: API, dispatcher, process managers, projections, stores. */
  stop(): Promise<void>
}
interface ComposeOptions {
  /** Ends the wait for engines. The parts that were started are then stopped, and the reason of the signal is thrown. */
  readonly signal?: AbortSignal
  /** The supervisor of this worker, if there is one. */
  readonly supervised?: Supervised | undefined
  /** Called once when a newer version has taken over the read models, so that this process must end. */
  onSuperseded?(error: KolbakError): void
  /** The engines of the ports. By default, those that the configuration chooses. */
  readonly engines?: Engines
}

/** Composes the service as configured and starts it. The service listens first, and then waits for engines that do not respond yet. */
export async function compose(config: Config, log: Log, options: ComposeOptions = {}): Promise<Service> {
  const server = createHttpServer(undefined, (error) => log.error({ error }, 'http.server_failed'))
  const parts = createParts(log)
  const stop = async () => {
    await server.close(config.KOLBAK_DRAIN_TIMEOUT_MS / 2) // the API stops first, because requests need all other parts
    await parts.stop()
  }
  try {
    return { ...(await start(config, log, options, server, parts)), stop }
  } catch (error) {
    await stop()
    throw options.signal?.aborted ? options.signal.reason : error
  }
}

async function start(
  config: Config,
  log: Log,
  { signal = new AbortController().signal, supervised, onSuperseded, engines = chooseEngines(config) }: ComposeOptions,
  server: HttpServer,
  parts: Parts,
): Promise<Omit<Service, 'stop'>> {
  const roles = config.KOLBAK_ROLES
  const has = (role: Role) => roles.includes(role)
  const url = await listen(server, config)
  log.info({ url }, 'kolbak.listening')
  const patience = { log, signal, waits: true }
  const assignment = await supervised?.assignment(signal)
  const shared = await openShared({ config, log, engines, patience, parts, roles, assignment })
  const { store, bus, pools, waiter } = shared

  const projections = await openProjections(shared)
  const statuses = has('projector') ? startProjections(shared, projections) : () => []
  await whenAvailable('engines', () => checkEngines({ store, bus, pool: pools.reads }), patience)
  await startLog(shared)
  const admin = await whenAvailable('event store', () => ensureAdmin({ ...shared, now: () => new Date().toISOString() }), patience)
  await whenBuilt(pools.reads, projections, patience)
  if (has('projector')) await whenAvailable('event store', () => checkLog(shared), patience)
  await whenAvailable('event store', () => destroyErasedKeys(shared), patience)
  const logHeads = has('projector') ? startLogHeads(shared) : null
  if (logHeads !== null) {
    startLogWitnesses(shared, logHeads)
    startLogMessages(shared)
    startStreamLists(shared)
  }
  if (onSuperseded !== undefined) parts.add('versions', watchVersions({ ...shared, pool: pools.reads, projections, onSuperseded }))
  // The start waits until the read model has the admin client, so that the client can get a token as soon as the service is ready.
  if (admin.position !== null && has('projector')) await waiter.waitFor(projectionNames.tenants, admin.position, 10_000)

  const registry = new Registry()
  collectProcessMetrics(registry)
  const policy = createAddressPolicy({ allowedSubnets: config.KOLBAK_ALLOWED_SUBNETS, allowHttp: config.KOLBAK_ALLOW_HTTP })
  const dispatcher = has('dispatcher') ? startDispatching(shared, { policy, registry }) : null
  startSweeps(shared, projections)
  const backlog = createBacklog(shared)
  registerBacklogMetrics({ registry, backlog, projections: statuses, pools, partitions: config.KOLBAK_PARTITIONS })
  const probes = createEngineProbes(shared, engines)
  const health = () => withEngines(healthReport(store, dispatcher, statuses(), logHeads), probes)
  const operations = createOperations(shared, {
    ...{ backlog, health, projections: statuses, version },
    ...{ dataDir: config.KOLBAK_DATA_DIR, retentionDays: config.KOLBAK_RETENTION_DAYS },
  })
  serveApi(shared, {
    ...{ server, policy, registry, operationOnly: !has('api') },
    ...{ health, operations },
    scrape: () => supervised?.scrape() ?? registry.metrics(),
  })
  parts.add('shares of the work', async () => shared.live.withdraw()) // added last, so that it is called first when the service stops
  announce(shared, { url, dashboard: await startLink(shared, url, admin), admin, registry, supervised })
  return { url, operator: createOperator(shared, projections) }
}

/** Starts listening and returns the URL of the server. Throws KolbakError `cannot_listen`. */
async function listen(server: HttpServer, { HOST: host, PORT: port }: Config): Promise<string> {
  const listened = await server.listen(port, host).catch((cause: Error) => {
    throw new KolbakError('cannot_listen', `Kolbak cannot listen on ${host}:${port}: set PORT or HOST to another value.`, { cause })
  })
  return `http://${host.includes(':') ? `[${host}]` : host}:${listened}`
}

/**
 * Returns a link that signs the admin in to the dashboard once, for the person at the terminal. Returns null if the output is no terminal, because a
 * stored log must not hold a credential.
 */
async function startLink({ config, pools }: Shared, url: string, { clientId }: AdminClient): Promise<string | null> {
  const isForPeople = process.stdout.isTTY === true && config.KOLBAK_LOG_FORMAT !== 'json'
  if (!isForPeople || !config.KOLBAK_UI || !config.KOLBAK_ROLES.includes('api')) return null
  const local = url.replace(/\/\/(?:0\.0\.0\.0|\[::\])/, '//localhost') // a browser cannot sign in at an address that means all addresses
  return `${local}/ui/#start=${await createStartCodes(pools.reads).issue(clientId as ClientId)}`
}

/** Reports that the service is ready. */
function announce(
  { config, log }: Shared,
  {
    url,
    dashboard,
    admin,
    registry,
    supervised,
  }: { url: string; dashboard: string | null; admin: AdminClient; registry: Registry; supervised: Supervised | undefined },
): void {
  const facts = {
    url,
    ...(dashboard === null ? {} : { dashboard }),
    roles: config.KOLBAK_ROLES,
    adminClientId: admin.clientId,
    adminClientFile: admin.file,
    version,
  }
  if (supervised === undefined) log.info(facts, 'kolbak.ready')
  else supervised.ready(facts, registry)
}
