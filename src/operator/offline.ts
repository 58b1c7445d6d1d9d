import type { Pool } from 'pg'
import { ulid } from 'ulid'
import type { Config } from '../config/config.ts'
import { KolbakError } from '../lib/errors.ts'
import { openEventMacs } from '../lib/event-macs.ts'
import { openKeyring } from '../lib/keyring.ts'
import { createLeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { noNotices } from '../lib/notices.ts'
import { pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import type { EventStore } from '../ports/event-store.ts'
import { compose } from '../service/compose.ts'
import { openDatabase } from '../service/database.ts'
import type { OpenDeps } from '../service/engines/open.ts'
import { chooseEngines, type Engines } from '../service/engines/table.ts'
import { readKeys } from '../service/first-start.ts'
import { createParts } from '../service/parts.ts'

/** Runs `work` on the database and its engines while no process of the service runs. Closes them at the end. */
export async function workOffline<T>(config: Config, log: Log, work: (deps: OpenDeps, pool: Pool) => Promise<T>): Promise<T> {
  const patience = { log, signal: new AbortController().signal, waits: false }
  const database = await openDatabase(config, patience)
  const parts = createParts(log)
  parts.add('postgres', database.stop)
  try {
    const pool = database.operatorPool()
    parts.add('pool operator', () => pool.end())
    const onError = (error: unknown) => log.warn({ error }, 'leases.failed')
    const leases = createLeaseKeeper({ pool, owner: ulid(), leaseMs: config.KOLBAK_LEASE_MS, onError })
    parts.add('leases', leases.close)
    const pools = { reads: pool, writes: pool, projections: pool, history: pool }
    // Offline, the history gets a row for every first success, because it may later be used with another event store.
    const eventsAreHistory = false
    return await work({ config, patience, parts, log, leases, consumers: () => 1, notices: noNotices, pools, eventsAreHistory }, pool)
  } finally {
    await parts.stop()
  }
}

/** Opens what an offline command needs to record itself in the audit log, with the master key of the service. */
export async function openRecorder({ config, log }: OpenDeps, pool: Pool, store: EventStore) {
  const { masterKey } = await readKeys(config, log, async () => true)
  const keyring = await openKeyring(pool, masterKey)
  return { store, keyring, macs: await openEventMacs(keyring), log }
}

/** Throws KolbakError `still_running` while a process works on the database. @param own the id of this process, if it has announced itself */
export async function checkOffline(pool: Pool, own = ''): Promise<void> {
  const running = await sqlOn(pool)`select from live_processes where seen_at > clock_timestamp() - interval '10 s' and id <> ${own} limit 1`
  if (running.length > 0)
    throw new KolbakError('still_running', 'A process of Kolbak works on this database: stop all of them, wait ten seconds, and try again.')
}

/** Runs these roles of the service on a free local port until they have read all messages and events. */
export async function runUntilDrained(
  config: Config,
  roles: Config['KOLBAK_ROLES'],
  log: Log,
  engines: Engines = chooseEngines(config),
): Promise<void> {
  const service = await compose({ ...config, KOLBAK_ROLES: roles, PORT: 0, HOST: '127.0.0.1' }, log, { engines })
  try {
    for (let reportedAt = 0; ; ) {
      const { records, projections } = await service.operator.unfinished()
      if ((records === 0 || !roles.includes('dispatcher')) && projections.length === 0) return
      if (performance.now() - reportedAt > 5_000) {
        reportedAt = performance.now()
        log.info({ records, projections }, 'service.draining')
      }
      await pause(250)
    }
  } finally {
    await service.stop()
  }
}
