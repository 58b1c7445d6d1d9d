import type { HealthReport } from './api/dependencies.ts'
import type { Dispatcher } from './dispatch/dispatcher.ts'
import type { ProjectionStatus } from './projections/runner.ts'

/** What the parts that this process runs say of themselves; a part that failed turns it unready. */
export function healthReport(dispatcher: Pick<Dispatcher, 'isReady'> | null, projections: readonly ProjectionStatus[]): HealthReport {
  const checks = projections.map(ofProjection)
  if (dispatcher !== null)
    checks.unshift({
      name: 'dispatcher',
      ok: dispatcher.isReady,
      message: dispatcher.isReady ? 'routes' : 'waits for the read model of webhooks',
    })
  return { ready: checks.every((check) => check.ok), checks }
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
