import type { Registry } from 'prom-client'

/** What the supervisor gives each of its workers. */
export interface Assignment {
  /** URL of the embedded Postgres that the supervisor started; undefined when DATABASE_URL is configured. */
  readonly databaseUrl: string | undefined
  /** Unique to this start of the worker. */
  readonly processId: string
  /** Owner whose leases and claims are released at the start: 'all' at the first start, the id of the dead worker that is replaced, or null for none. */
  readonly dead: string | null
}

/** The supervisor as a worker sees it (`process/supervisor.ts`). */
export interface Supervised {
  /** Resolves when the database runs; rejects when the signal aborts. */
  assignment(signal: AbortSignal): Promise<Assignment>
  /** Tells the supervisor that the service is ready, and adds its registry to the metrics of all workers. */
  ready(facts: object, registry: Registry): void
  /** Returns the metrics of all workers in Prometheus' text format. Rejects when a worker does not reply within 10 s. */
  scrape(): Promise<string>
}
