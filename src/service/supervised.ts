import type { Registry } from 'prom-client'
import type { DeadOwners } from './release-dead-owners.ts'

/** The values that the supervisor gives to each of its workers. */
export interface Assignment {
  /** URL of the embedded Postgres that the supervisor started. Undefined when DATABASE_URL is configured. */
  readonly databaseUrl: string | undefined
  /** An id that is unique to this start of the worker. */
  readonly processId: string
  /**
   * The dead processes whose leases and claims are released at the start: `all` at the first start, the id of the dead worker that is replaced, or
   * `none`.
   */
  readonly dead: DeadOwners
}

/** The supervisor as a worker sees it (`process/supervisor.ts`). */
export interface Supervised {
  /** Resolves when the database runs. Rejects when the signal aborts. */
  assignment(signal: AbortSignal): Promise<Assignment>
  /** Reports to the supervisor that the service is ready, and adds its registry to the metrics of all workers. */
  ready(facts: object, registry: Registry): void
  /** Returns the metrics of all workers in Prometheus' text format. Rejects when a worker does not reply within 10 s. */
  scrape(): Promise<string>
}
