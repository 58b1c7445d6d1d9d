import type { Log } from '../../lib/log.ts'

/** Receives the results of one kind of call. */
export interface HealthSource {
  succeeded(): void
  failed(error: unknown): void
  /** Called when no more calls of this kind are made. */
  end(): void
}

/** Distinguishes a lasting failure from one that ends after a retry or the election of a leader. Each reason of a lasting failure is logged once. */
export interface StoreHealth {
  /** A sentence about why the store cannot be used, or null. */
  readonly problem: string | null
  /** @param options `explains`: while these calls fail, failures of other calls are a consequence and are not reported */
  source(options?: { explains?: boolean }): HealthSource
  /** Makes failures count from now on. Earlier failures are thrown to the caller that opens the store. */
  begin(): void
  close(): void
}

/**
 * Milliseconds of failures without a success after which the store counts as unavailable. A cluster elects another leader in about 2 s,
 * and a process that is not ready gets no requests, although it could accept messages meanwhile.
 */
const lastingMs = 3_000

interface Failure {
  readonly since: number
  readonly explains: boolean
  readonly timer: NodeJS.Timeout
  error: unknown
  isLasting: boolean
}

export function createStoreHealth(log: Log): StoreHealth {
  const failures = new Set<Failure>()
  const logged = new Set<string>()
  let unavailableSince = 0
  let hasBegun = false

  /** Returns the failures that an operator should be told. */
  const reported = () => {
    const explaining = [...failures].filter(({ explains }) => explains)
    return (explaining.length > 0 ? explaining : [...failures]).filter(({ isLasting }) => isLasting)
  }
  const report = () => {
    for (const { error, since } of reported()) {
      if (logged.size === 0) unavailableSince = since
      const reason = messageOf(error)
      if (logged.has(reason)) continue
      logged.add(reason)
      log.error({ error }, 'event_store.unavailable')
    }
  }
  const reportEnd = () => {
    if (!hasBegun || logged.size === 0 || [...failures].some(({ isLasting }) => isLasting)) return
    logged.clear()
    log.info({ seconds: Math.round((performance.now() - unavailableSince) / 1_000) }, 'event_store.available')
  }
  const begin = (error: unknown, explains: boolean): Failure => {
    const timer = setTimeout(() => {
      failure.isLasting = true
      report()
    }, lastingMs).unref()
    const failure: Failure = { since: performance.now(), explains, timer, error, isLasting: false }
    failures.add(failure)
    return failure
  }
  const end = (failure: Failure) => {
    clearTimeout(failure.timer)
    failures.delete(failure)
  }

  return {
    get problem() {
      const reasons = new Set(reported().map(({ error }) => messageOf(error)))
      return reasons.size === 0 ? null : [...reasons].join('; ')
    },
    source({ explains = false } = {}) {
      let failure: Failure | null = null
      const recover = () => {
        if (failure === null) return
        end(failure)
        failure = null
        reportEnd()
      }
      return {
        succeeded: recover,
        failed(error) {
          if (!hasBegun) return
          failure ??= begin(error, explains)
          failure.error = error
          report()
        },
        end: recover,
      }
    },
    begin() {
      hasBegun = true
    },
    close() {
      hasBegun = false
      for (const failure of [...failures]) end(failure)
    },
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
