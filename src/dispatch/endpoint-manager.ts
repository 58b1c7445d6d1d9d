import { projectionNames } from '../projections/names.ts'
import type { Projection } from '../projections/projection.ts'
import { isFailure } from '../projections/webhook-health.ts'
import { deactivateFailing, type FailingDeps } from './failing.ts'
import { deactivateGone } from './gone.ts'

/**
 * The process manager that deactivates webhooks whose receivers fail or are gone. One projection does both, because each reader of the attempts costs
 * time for every attempt. Successes are skipped without a commit.
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
    // `prepare` has appended the events, so only the checkpoint moves.
  },
})
