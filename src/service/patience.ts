import { describeError, KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'

/** Says how a start treats engines that do not respond yet. */
export interface Patience {
  readonly log: Log
  /** Ends the waiting. The last error is then thrown. */
  readonly signal: AbortSignal
  /** If false, the first failure is thrown. Commands that an operator runs need this. */
  readonly waits: boolean
}

/**
 * Repeats work that needs an engine until the engine responds. Logs each reason once, and then that the engine is available. A KolbakError is thrown
 * at once, because it is a fault of the configuration, for which waiting does not help.
 * @param unavailable codes of KolbakErrors that only say that the engine does not respond
 */
export async function whenAvailable<T>(
  engine: string,
  work: () => Promise<T>,
  { log, signal, waits }: Patience,
  unavailable: readonly string[] = [],
): Promise<T> {
  const reasons = new Set<string>()
  const result = await untilDone(work, {
    signal,
    onError(error) {
      const reason = describeError(error)
      if (reasons.has(reason)) return
      reasons.add(reason)
      log.warn({ engine, reason }, 'engine.unavailable') // the stack would only show where Kolbak connects
    },
    isFinal: (error) => !waits || (error instanceof KolbakError && !unavailable.includes(error.code)),
  })
  if (reasons.size > 0) log.info({ engine }, 'engine.available')
  return result
}
