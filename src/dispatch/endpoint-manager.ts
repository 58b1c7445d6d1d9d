import type { Projection } from '../projections/projection.ts'
import { isFailure } from '../projections/webhook-health.ts'
import { deactivateFailing, type FailingDeps } from './failing.ts'
import { deactivateGone } from './gone.ts'

/**
 * The process manager of endpoints that fail: one reader of the attempts for all that follows from them, since each reader
 * more is paid for by every attempt. Successes are passed over without a commit.
 */
export const createEndpointManager = (deps: FailingDeps): Projection => ({
  name: 'endpoint_manager',
  version: 1,
  families: ['attempts'],
  concerns: isFailure,
  async prepare(events) {
    await deactivateGone(deps, events)
    await deactivateFailing(deps, events)
  },
  async apply() {
    // Its commands are appended above; only the checkpoint moves here.
  },
})
