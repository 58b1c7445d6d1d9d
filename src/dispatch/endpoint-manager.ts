import { projectionNames } from '../projections/names.ts'
import type { Projection } from '../projections/projection.ts'
import { isFailure } from '../projections/webhook-health.ts'
import { deactivateFailing, type FailingDeps } from './failing.ts'
import { deactivateGone } from './gone.ts'

/**
 * The process manager of endpoints that fail. It handles all consequences of failures, because each further reader of the
 * attempts would cost time for every attempt. Successes are skipped without a commit.
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
    // `prepare` has appended the commands, so only the checkpoint moves.
  },
})
