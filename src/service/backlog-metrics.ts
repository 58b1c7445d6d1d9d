import type { Pool } from 'pg'
import { Gauge, type Registry } from 'prom-client'
import type { ProjectionStatus } from '../projections/runner.ts'
import type { Backlog } from './backlog.ts'
import { version } from './version.ts'

interface BacklogMetricsOptions {
  readonly registry: Registry
  readonly backlog: Backlog
  readonly projections: () => readonly ProjectionStatus[]
  readonly pools: Readonly<Record<string, Pick<Pool, 'totalCount' | 'idleCount' | 'waitingCount'>>>
  readonly partitions: number
}

/** Sets the samples of a gauge: a number, or numbers by the values of its label. */
type Samples = number | Readonly<Record<string, number>>

/** Registers the metrics of the whole service, which every process measures, and those of this process's projections and connections. */
export function registerBacklogMetrics({ registry, backlog, projections, pools, partitions }: BacklogMetricsOptions): void {
  // These come first, because the other metrics use connections.
  poolConnections(registry, pools)
  const registers = [registry]
  /** Registers a gauge that every process of the service measures alike. */
  const shared = (name: string, help: string, read: () => Samples | Promise<Samples>, label?: string) =>
    new Gauge({
      name,
      help,
      registers,
      labelNames: label === undefined ? [] : [label],
      aggregator: 'max', // each worker of a machine reports the same number
      async collect() {
        this.reset()
        // An unavailable engine must not fail the other metrics.
        const samples = await Promise.resolve(read()).catch(() => (label === undefined ? Number.NaN : {}))
        if (typeof samples === 'number') this.set(samples)
        else for (const [value, sample] of Object.entries(samples)) this.set({ [label!]: value }, sample)
      },
    })
  shared('kolbak_records_unread', 'Records of the bus that are not done.', backlog.unread)
  shared('kolbak_oldest_record_seconds', 'Age of the oldest record of the bus that is not done, or 0.', backlog.oldestRecordSeconds)
  shared('kolbak_deliveries_retrying', 'Deliveries that wait for their next attempt.', async () => (await backlog.scheduled()).retrying)
  shared(
    'kolbak_oldest_due_seconds',
    'Time since the oldest retry became due, or 0.',
    async () => (await backlog.scheduled()).oldestDueSeconds,
  )
  shared(
    'kolbak_deliveries_parked',
    'Parked deliveries, by the reason why they wait.',
    async () => (await backlog.scheduled()).parked,
    'reason',
  )
  shared('kolbak_dead_letters', 'Deliveries that ended in failure and were not replayed.', backlog.deadLetters)
  shared('kolbak_webhooks_active', 'Active webhooks.', async () => (await backlog.webhooks()).active)
  shared('kolbak_webhooks_failing', 'Active webhooks whose last request failed.', async () => (await backlog.webhooks()).failing)
  shared('kolbak_webhooks_deactivated', 'Inactive webhooks, by reason.', async () => (await backlog.webhooks()).deactivated, 'reason')
  shared('kolbak_leases', 'Leases, by state: live, or expired and not taken again.', async () => ({ ...(await backlog.leases()) }), 'state')
  shared('kolbak_partitions', 'Partitions of the bus, as configured.', () => partitions)
  shared(
    'kolbak_quarantined_streams',
    'Quarantined streams, by projection.',
    async () => Object.fromEntries((await backlog.quarantined()).map(({ projection, count }) => [projection, count])),
    'projection',
  )
  shared('kolbak_replay_jobs_running', 'Replay jobs that have not ended.', backlog.runningJobs)
  shared('kolbak_live_processes', 'Live processes, by role.', backlog.processes, 'role')
  new Gauge({
    name: 'kolbak_build_info',
    help: 'Always 1. The labels name the version of Kolbak and of node.',
    registers,
    labelNames: ['version', 'node'],
    aggregator: 'first',
  }).set({ version, node: process.version }, 1)
  projectionLag(registry, projections)
}

function projectionLag(registry: Registry, projections: BacklogMetricsOptions['projections']): void {
  new Gauge({
    name: 'kolbak_projection_lag_seconds',
    help: 'Age of the first event that was read and is not committed, for the projections that this process runs.',
    labelNames: ['projection'],
    registers: [registry],
    aggregator: 'max',
    collect() {
      this.reset()
      for (const { name, lagSeconds } of projections()) if (lagSeconds !== null) this.set({ projection: name }, lagSeconds)
    },
  })
}

function poolConnections(registry: Registry, pools: BacklogMetricsOptions['pools']): void {
  new Gauge({
    name: 'kolbak_pool_connections',
    help: 'Connections of this process to Postgres, by pool and state. The state `waiting` counts work that waits for a connection.',
    labelNames: ['pool', 'state'],
    registers: [registry],
    collect() {
      for (const [pool, { totalCount, idleCount, waitingCount }] of Object.entries(pools)) {
        this.set({ pool, state: 'busy' }, totalCount - idleCount)
        this.set({ pool, state: 'idle' }, idleCount)
        this.set({ pool, state: 'waiting' }, waitingCount)
      }
    },
  })
}
