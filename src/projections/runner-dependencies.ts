import type { Pool } from 'pg'
import type { EventMacs } from '../lib/event-macs.ts'
import type { LeaseShares } from '../lib/lease-shares.ts'
import type { Log } from '../lib/log.ts'
import type { Notices } from '../lib/notices.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { ProjectionProgress } from './waiter.ts'

export interface RunnerDependencies {
  readonly store: Pick<EventStore, 'subscribe' | 'head'>
  readonly pool: Pool
  /** Divides the builds among the processes that run projections. */
  readonly shares: LeaseShares
  readonly progress: ProjectionProgress
  readonly log: Log
  /** Finds forged events. Without it, no event is checked. */
  readonly macs?: Pick<EventMacs, 'faultOf'> | undefined
  /** The most events in one transaction. Default 500. */
  readonly batchSize?: number
  /** Default: none. The notice `builds` announces a new build, and a build that has become the live build. */
  readonly notices?: Notices
  /** Milliseconds between two checks for builds that no notice has announced. Default 30,000. */
  readonly refreshMs?: number
}
