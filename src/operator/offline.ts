import type { Pool } from 'pg'
import { ulid } from 'ulid'
import type { Config } from '../config/config.ts'
import { KolbakError } from '../lib/errors.ts'
import { createLeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import { compose } from '../service/compose.ts'
import { type EngineDeps, openDatabase } from '../service/engines.ts'

/** Works on the database and its engines while the service is stopped; what was opened is closed, in the opposite order. */
export async function onStopped<T>(config: Config, log: Log, work: (deps: EngineDeps, pool: Pool) => Promise<T>): Promise<T> {
  const patience = { log, signal: new AbortController().signal, waits: false }
  const database = await openDatabase(config, patience, { join: false })
  const opened: (() => Promise<unknown>)[] = [database.stop]
  try {
    const pool = database.pool('operator', 10)
    opened.push(() => pool.end())
    const onError = (error: unknown) => log.warn({ error }, 'leases.failed')
    const leases = createLeaseKeeper({ pool, owner: ulid(), leaseMs: config.KOLBAK_LEASE_MS, onError })
    opened.push(leases.close)
    const deps: EngineDeps = {
      ...{ config, patience, log, leases, consumers: () => 1 },
      pools: { reads: pool, writes: pool, projecting: pool, history: pool },
      opened: (_name, close) => opened.push(close),
    }
    return await work(deps, pool)
  } finally {
    for (const close of opened.reverse()) await close()
  }
}

/** Throws KolbakError `still_running` while a process works on the database. */
export async function checkStopped(pool: Pool): Promise<void> {
  const running = await sqlOn(pool)`select from live_processes where seen_at > clock_timestamp() - interval '10 s' limit 1`
  if (running.length > 0)
    throw new KolbakError('still_running', 'A process of Kolbak works on this database: stop all of them, wait ten seconds, and try again.')
}

/** Runs these roles of the service, unreachable from elsewhere, until nothing is left for them to read. */
export async function runUntilDrained(config: Config, roles: Config['KOLBAK_ROLES'], log: Log): Promise<void> {
  const service = await compose({ ...config, KOLBAK_ROLES: roles, PORT: 0, HOST: '127.0.0.1' }, log)
  try {
    for (let said = 0; ; ) {
      const { messages, projections } = await service.operator.backlog()
      if ((messages === 0 || !roles.includes('dispatcher')) && projections.length === 0) return
      if (performance.now() - said > 5_000) {
        said = performance.now()
        log.info({ messages, projections }, 'service.draining')
      }
      await pause(250)
    }
  } finally {
    await service.stop()
  }
}
