import type { Log } from '../../lib/log.ts'

/** Takes the outcomes of one kind of call. */
export interface HealthSource {
  succeeded(): void
  failed(error: unknown): void
  /** Calls of this kind are made no more. */
  end(): void
}

/** Tells a failure that lasts from one that a retry or the next leader mends. Each lasting reason is logged once. */
export interface StoreHealth {
  /** A sentence about why the store cannot be used, or null. */
  readonly problem: string | null
  /** @param options `explains`: while these calls fail, the failures of others follow from them, and are not reported */
  source(options?: { explains?: boolean }): HealthSource
  /** Failures count from now on. Those of the opening are thrown to its caller. */
  begin(): void
  close(): void
}

/**
 * Milliseconds of failures without a success after which the store counts as unavailable. A cluster elects another leader in about 2 s,
 * and a process that is not ready gets no requests, although it could take messages in the meantime.
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

  /** Returns the failures that an operator should hear of. */
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
