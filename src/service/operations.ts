import { decodeTime } from 'ulid'
import type { HealthReport } from '../api/dependencies.ts'
import type { OperationsReport } from '../api/responses.ts'
import { createOffsets } from '../dispatch/offsets.ts'
import { sqlOn } from '../lib/sql.ts'
import type { ProjectionStatus } from '../projections/runner.ts'
import { type Backlog, liveMs, maxCounted } from './backlog.ts'
import type { Shared } from './shared.ts'
import { readStorage } from './storage.ts'

/** The most webhooks with parked deliveries, and the most quarantined streams, that are reported. */
const maxListed = 20

interface OperationsOptions {
  readonly backlog: Backlog
  readonly health: () => HealthReport | Promise<HealthReport>
  readonly projections: () => readonly ProjectionStatus[]
  readonly dataDir: string
  readonly retentionDays: number
  readonly version: string
}

/** Makes the function that reports the state of the whole service, for the people who operate it. It reads only when it is called. */
export function createOperations(
  { bus, pools: { reads: pool } }: Pick<Shared, 'bus'> & { readonly pools: Pick<Shared['pools'], 'reads'> },
  { backlog, health, projections, dataDir, retentionDays, version }: OperationsOptions,
): () => Promise<OperationsReport> {
  const sql = sqlOn(pool)
  const offsets = createOffsets(pool, bus.identity)
  const busState = async (): Promise<OperationsReport['bus']> => {
    const saved = await offsets.saved()
    const [lag, ends, oldest_record_seconds] = await Promise.all([bus.lag(saved), bus.ends(), backlog.oldestRecordSeconds()])
    const sum = (values: Iterable<bigint>) => Number([...values].reduce((total, value) => total + value, 0n))
    const partitions = [...lag].sort(([a], [b]) => a - b).map(([partition, unread]) => ({ partition, unread }))
    return {
      unread: partitions.reduce((total, { unread }) => total + unread, 0),
      oldest_record_seconds: Math.round(oldest_record_seconds * 10) / 10,
      produced: sum(ends.values()),
      done: sum(saved.values()),
      partitions,
    }
  }
  const scheduleState = async (): Promise<OperationsReport['schedule']> => {
    const [{ retrying, oldestDueSeconds, parked }, mostParked] = await Promise.all([
      backlog.scheduled(),
      sql<OperationsReport['schedule']['most_parked'][number]>`
        select tenant as tenant_id, webhook as webhook_id, count(*)::int as count
        from (select tenant, webhook from scheduled_deliveries where due_at is null order by webhook limit ${maxCounted}) as row
        group by tenant, webhook order by count desc, webhook limit ${maxListed}`,
    ])
    return { retrying, oldest_due_seconds: Math.round(oldestDueSeconds * 10) / 10, parked, most_parked: mostParked }
  }
  const projectionStates = async (): Promise<OperationsReport['projections']> => {
    const ownStatuses = new Map(projections().map((status) => [status.name, status]))
    const builds = await sql<{ name: string; build: number; version: number; is_live: boolean; quarantined: number; updated_at: string }>`
      select name, build, version, is_live, updated_at,
        (select count(*)::int from quarantined_streams q where q.projection = p.name and q.build = p.build) as quarantined
      from projections p order by name, build`
    return builds.map((build) => {
      const status = build.is_live ? ownStatuses.get(build.name) : undefined
      return { ...build, state: status?.state ?? null, error: status?.error ?? null, lag_seconds: status?.lagSeconds ?? null }
    })
  }
  return async () => {
    const [checks, processes, engines, busReport, schedule, dead_letters, webhooks, projectionReport, quarantined, leases, jobs, storage] =
      await Promise.all([
        health(),
        sql<Omit<OperationsReport['processes'][number], 'started_at'>>`
          select id, roles, seen_at from live_processes where seen_at > clock_timestamp() - ${liveMs} * interval '1 ms' order by id`,
        sql<OperationsReport['engines'][number]>`select port, identity, since from engines order by port`,
        busState(),
        scheduleState(),
        backlog.deadLetters(),
        backlog.webhooks(),
        projectionStates(),
        sql<OperationsReport['quarantined_streams'][number]>`
          select projection, stream, revision, error, since from quarantined_streams order by since limit ${maxListed}`,
        sql<OperationsReport['leases'][number]>`select name, owner, until from leases order by name`,
        backlog.runningJobs(),
        readStorage(pool, dataDir),
      ])
    return {
      ...{ version, checks: checks.checks, engines, bus: busReport, schedule, dead_letters, webhooks, ...storage },
      // The id of a process is a ULID of the moment at which it started.
      processes: processes.map((process) => ({ ...process, started_at: new Date(decodeTime(process.id)).toISOString() })),
      ...{ projections: projectionReport, quarantined_streams: quarantined, leases, running_jobs: jobs },
      retention_days: retentionDays,
    }
  }
}
