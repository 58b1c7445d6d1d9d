import { Gauge, type Registry } from 'prom-client'
import type { HealthReport } from '../api/dependencies.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { ProjectionStatus } from '../projections/runner.ts'

/** What the parts that this process runs say of themselves; a part that failed turns it unready. */
export function healthReport(dispatcher: Pick<Dispatcher, 'problem'> | null, projections: readonly ProjectionStatus[]): HealthReport {
  const checks = projections.map(ofProjection)
  if (dispatcher !== null) checks.unshift({ name: 'dispatcher', ok: dispatcher.problem === null, message: dispatcher.problem ?? 'routes' })
  return { ready: checks.every((check) => check.ok), checks }
}

/** How far this process's projections are behind, and how many messages nobody has done yet. */
export function backlogMetrics(registry: Registry, unread: () => Promise<number>, projections: () => readonly ProjectionStatus[]): void {
  new Gauge({
    name: 'kolbak_records_unread',
    help: 'Records of the bus that are not done.',
    registers: [registry],
    aggregator: 'max', // each process of a machine counts those of all
    async collect() {
      // An engine that is away must not take the other figures with it.
      this.set(await unread().catch(() => Number.NaN))
    },
  })
  new Gauge({
    name: 'kolbak_projection_lag_seconds',
    help: 'Age of the first event that is in hand and not committed, for the projections that this process runs.',
    labelNames: ['projection'],
    registers: [registry],
    aggregator: 'max',
    collect() {
      this.reset()
      for (const { name, lagSeconds } of projections()) if (lagSeconds !== null) this.set({ projection: name }, lagSeconds)
    },
  })
}

function ofProjection({ name, state, error, quarantined, lagSeconds }: ProjectionStatus) {
  const facts = [
    error === null ? state : `${state}: ${error}`,
    ...(lagSeconds === null ? [] : [`${lagSeconds} s behind`]),
    `${quarantined} streams set aside`,
  ]
  // Where the database is newer, a newer process runs it; a stream that is set aside holds up no other.
  return { name: `projection ${name}`, ok: state !== 'failed' || error === 'newer_version', message: facts.join(', ') }
}
