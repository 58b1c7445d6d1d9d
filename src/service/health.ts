import type { HealthReport } from '../api/dependencies.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { ProjectionStatus } from '../projections/runner.ts'
import type { Probe } from './engine-probes.ts'
import type { LogHeads } from './log-heads.ts'

/** Reports the states of the event store and of the parts that this process runs. The process is not ready if one of them has failed. */
export function healthReport(
  store: Pick<EventStore, 'problem'>,
  dispatcher: Pick<Dispatcher, 'problem'> | null,
  projections: readonly ProjectionStatus[],
  logHeads: Pick<LogHeads, 'problem'> | null = null,
): HealthReport {
  const checks = [
    { name: 'event store', ok: store.problem === null, message: store.problem ?? 'takes commands' },
    ...(dispatcher === null ? [] : [{ name: 'dispatcher', ok: dispatcher.problem === null, message: dispatcher.problem ?? 'routes' }]),
    ...projections.map(ofProjection),
    ...(logHeads === null ? [] : [{ name: 'audit log', ok: logHeads.problem === null, message: logHeads.problem ?? 'signs heads' }]),
  ]
  return { ready: checks.every((check) => check.ok), checks }
}

/** Adds the states of the engines to a report. Names the engine that makes the process not ready. */
export async function withEngines(report: HealthReport, probes: readonly Probe[]): Promise<HealthReport> {
  const checks = await Promise.all(
    probes.map(async (probe) => {
      const problem = await probe.problem()
      return { name: probe.name, ok: problem === null, message: problem ?? 'responds' }
    }),
  )
  return { ready: report.ready && checks.every((check) => check.ok), checks: [...report.checks, ...checks] }
}

function ofProjection({ name, state, error, quarantined, lagSeconds }: ProjectionStatus) {
  const facts = [
    error === null ? state : `${state}: ${error}`,
    ...(lagSeconds === null ? [] : [`${lagSeconds} s behind`]),
    `${quarantined} streams quarantined`,
  ]
  // With `newer_version`, a process with newer code runs the projection, so the check passes. It also passes with quarantined streams, because they
  // delay no other stream.
  return { name: `projection ${name}`, ok: state !== 'failed' || error === 'newer_version', message: facts.join(', ') }
}
