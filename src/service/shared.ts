import type { Pool } from 'pg'
import { ulid } from 'ulid'
import { type CommandStreams, createCommandStreams } from '../commands/command-streams.ts'
import type { Config, Role } from '../config/config.ts'
import { KolbakError } from '../lib/errors.ts'
import { type EventMacs, openEventMacs } from '../lib/event-macs.ts'
import { type KeyEraser, type Keyring, openKeyring, type ServiceSecrets } from '../lib/keyring.ts'
import { createLeaseKeeper, type LeaseKeeper } from '../lib/leases.ts'
import { joinLiveProcesses, type LiveProcesses } from '../lib/live-processes.ts'
import type { Log } from '../lib/log.ts'
import { type Notices, openNotices } from '../lib/notices.ts'
import { sqlOn } from '../lib/sql.ts'
import type { DeliveryLog } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import { lastLoggedRevision } from '../projections/audit.ts'
import { createProjectionProgress, createProjectionWaiter, type ProjectionProgress, type ProjectionWaiter } from '../projections/waiter.ts'
import { openDatabase, type PoolName, poolSizes } from './database.ts'
import { type OpenEngines, openEngines } from './engines/open.ts'
import { type Engines, eventsAreHistory } from './engines/table.ts'
import { readKeys } from './first-start.ts'
import type { Parts } from './parts.ts'
import type { Patience } from './patience.ts'
import { releaseDeadOwners } from './release-dead-owners.ts'
import type { Assignment } from './supervised.ts'
import { version } from './version.ts'

interface SharedOptions {
  readonly config: Config
  readonly log: Log
  readonly engines: Engines
  readonly patience: Patience
  /** Opened parts are added here, so that they are closed when the service stops. */
  readonly parts: Parts
  readonly roles: readonly Role[]
  /** The assignment from the supervisor, if there is one. */
  readonly assignment?: Assignment | undefined
  /**
   * Whether this is a command beside a running service. Such a command shares an embedded Postgres with the service, and releases nothing that
   * belongs to the service.
   */
  readonly besideService?: boolean
}
/** The parts that the other parts of the service need. */
export interface Shared {
  readonly config: Config
  readonly log: Log
  readonly patience: Patience
  readonly parts: Parts
  /** An id that is unique to this start of the process. */
  readonly processId: string
  readonly pools: Readonly<Record<PoolName, Pool>>
  readonly jwtSecret: Buffer
  readonly keyring: Keyring & KeyEraser & ServiceSecrets
  readonly macs: EventMacs
  readonly leases: LeaseKeeper
  readonly live: LiveProcesses
  readonly notices: Notices
  readonly engines: OpenEngines
  readonly store: EventStore
  readonly bus: MessageBus
  readonly deliveryLog: DeliveryLog
  readonly streams: CommandStreams
  readonly progress: ProjectionProgress
  readonly waiter: ProjectionWaiter
}

/**
 * Throws KolbakError `log_key_missing` if the audit log has heads and one of its keys is gone. A new key would make every event look forged, and
 * would begin another log.
 */
async function checkLogKeys(pool: Pool): Promise<void> {
  const [row] = await sqlOn(pool)<{ has_heads: boolean; keys: number }>`
    select exists (select from log_heads) as has_heads,
      (select count(*)::int from data_keys where owner = 'service' and purpose in ('event-mac', 'log-signing') and wrapped is not null) as keys`
  if (row?.has_heads && row.keys < 2)
    throw new KolbakError(
      'log_key_missing',
      'A key of the audit log is missing in the table data_keys (owner service, purposes event-mac and log-signing): put the table back from your newest backup.',
    )
}

/** Opens the database, the keyring and the engines, and announces this process. */
export async function openShared(options: SharedOptions): Promise<Shared> {
  const { config, log, engines, patience, parts, roles, assignment, besideService = false } = options
  const { databaseUrl = config.DATABASE_URL, processId = ulid(), dead = 'none' } = assignment ?? {}
  const database = await openDatabase({ ...config, DATABASE_URL: databaseUrl }, patience, { join: besideService })
  parts.add('postgres', database.stop)
  const pool = (name: PoolName) => {
    const opened = database.pool(name)
    parts.add(`pool ${name}`, () => opened.end())
    return opened
  }
  const pools = Object.fromEntries(Object.keys(poolSizes).map((name) => [name, pool(name as PoolName)])) as Record<PoolName, Pool>
  const hasData = async () => (await sqlOn(pools.reads)`select from data_keys limit 1`).length > 0
  const { masterKey, jwtSecret } = await readKeys(config, log, hasData)
  // No other service can use an embedded Postgres, so leases and claims of killed processes can be released.
  await releaseDeadOwners(pools.reads, database.isEmbedded && !besideService ? 'all' : dead)

  const onError = (what: string) => (error: unknown) => log.warn({ error }, what)
  const keyring = await openKeyring(pools.reads, masterKey)
  await checkLogKeys(pools.reads)
  const macs = await openEventMacs(keyring)
  const leases = createLeaseKeeper({
    ...{ pool: pools.leases, owner: processId, leaseMs: config.KOLBAK_LEASE_MS },
    onError: onError('leases.failed'),
  })
  parts.add('leases', leases.close)
  let isAlone = () => false
  const notices = openNotices({ pool: pools.leases, id: processId, log, isAlone: () => isAlone() })
  parts.add('notices', notices.close)
  notices.on('keys', keyring.forgetAll)
  const live = await joinLiveProcesses({ pool: pools.leases, id: processId, roles, notices, onError: onError('heartbeat.failed') })
  isAlone = () => live.isAlone
  parts.add('heartbeat', live.close)
  const opened = await openEngines(engines, {
    ...{ config, log, patience, parts, leases, notices, pools },
    // A command beside the service, such as `audit prove`, must see a forged event to name it.
    ...(besideService ? {} : { macs }),
    eventsAreHistory: eventsAreHistory(engines),
    consumers: () => live.count('dispatcher'),
  })
  const store = opened.events.adapter
  const progress = createProjectionProgress()
  return {
    ...{ config, log, patience, parts, processId, pools, jwtSecret, keyring, macs, leases, live, notices, progress, store },
    engines: opened,
    bus: opened.messages.adapter,
    deliveryLog: opened.history.adapter,
    streams: createCommandStreams(store, keyring, { app: version, macs, lastLogged: (stream) => lastLoggedRevision(pools.reads, stream) }),
    waiter: createProjectionWaiter({ pool: pools.reads, progress }),
  }
}
