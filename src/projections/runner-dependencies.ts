import type { Pool } from 'pg'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { ProjectionProgress } from './waiter.ts'

export interface RunnerDependencies {
  readonly store: Pick<EventStore, 'subscribe' | 'head'>
  readonly pool: Pool
  readonly leases: LeaseKeeper
  readonly progress: ProjectionProgress
  readonly log: Log
  /** The most events in one transaction. Default 500. */
  readonly batchSize?: number
  /** Milliseconds between two checks for free leases and new builds. Default 1,000. */
  readonly refreshMs?: number
}
