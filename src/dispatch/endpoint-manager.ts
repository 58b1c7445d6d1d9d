import { projectionNames } from '../projections/names.ts'
import type { Projection } from '../projections/projection.ts'
import { isFailure } from '../projections/webhook-health.ts'
import { deactivateFailing, type FailingDeps } from './failing.ts'
import { deactivateGone } from './gone.ts'

/**
 * The process manager of endpoints that fail. It is one reader of the attempts for all that follows from failures, because every attempt
 * costs each reader. Successes are skipped without a commit.
 */
export const createEndpointManager = (deps: FailingDeps): Projection => ({
  name: projectionNames.endpointManager,
  version: 1,
  families: ['attempts'],
  concerns: isFailure,
  async prepare(events) {
    await deactivateGone(deps, events)
    await deactivateFailing(deps, events)
  },
  async apply() {
    // The commands were appended in `prepare`: only the checkpoint moves.
  },
})
