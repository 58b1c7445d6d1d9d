import type { StreamName } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import { rebuild } from '../projections/builds.ts'
import type { Projection } from '../projections/projection.ts'
import { type LiftResult, listQuarantined, type QuarantinedStream, retryQuarantined, skipQuarantined } from '../projections/quarantine.ts'
import { unfinished } from './engine-checks.ts'
import type { Shared } from './shared.ts'

/** The commands that an operator runs. */
export interface Operator {
  /** Returns the quarantined streams, oldest first. */
  quarantined(): Promise<QuarantinedStream[]>
  /**
   * Lifts a stream's quarantine. The projection continues at the faulty event, or with `skip` after it. Throws KolbakError
   * `not_quarantined` or `unknown_projection`.
   */
  lift(projection: string, stream: StreamName, skip: boolean): Promise<LiftResult>
  /**
   * Orders a new build of a projection beside the live one, and returns the number of the build. The process that runs the projection makes the
   * build.
   * Throws KolbakError `not_rebuildable` or `unknown_projection`.
   */
  rebuild(projection: string): Promise<number>
  /** Returns the number of unread records of the bus, and the projections whose live builds have not read all events. */
  unfinished(): Promise<{ records: number; projections: string[] }>
}

export function createOperator({ store, bus, pools, notices, macs, log }: Shared, projections: readonly Projection[]): Operator {
  const pool = pools.projections
  const projectionOf = (name: string): Projection => {
    const projection = projections.find((candidate) => candidate.name === name)
    if (projection !== undefined) return projection
    const names = projections.map((candidate) => candidate.name).join(', ')
    throw new KolbakError('unknown_projection', `There is no projection ${name}: ${names}.`)
  }
  return {
    quarantined: () => listQuarantined(pool),
    lift: async (name, stream, skip) => (skip ? skipQuarantined : retryQuarantined)({ pool, store, macs, log }, projectionOf(name), stream),
    async rebuild(name) {
      const build = await rebuild(pool, projectionOf(name))
      notices.tell('builds')
      return build
    },
    unfinished: () => unfinished({ store, bus, pool: pools.reads }, projections),
  }
}
