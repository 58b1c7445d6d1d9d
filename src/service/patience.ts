import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'

/** Says how a start treats engines that do not answer yet. */
export interface Patience {
  readonly log: Log
  /** Ends the waiting. The last error is then thrown. */
  readonly signal: AbortSignal
  /** If false, the first failure is thrown. Commands that an operator runs need this. */
  readonly waits: boolean
}

/**
 * Repeats work that needs an engine until the engine answers. A KolbakError is thrown at once, because it is a fault of the
 * configuration, which waiting does not mend.
 * @param unavailable codes of KolbakErrors that say only that the engine does not answer
 */
export const whenAvailable = <T>(
  engine: string,
  work: () => Promise<T>,
  { log, signal, waits }: Patience,
  unavailable: readonly string[] = [],
): Promise<T> =>
  untilDone(work, {
    signal,
    onError: (error, delayMs) => log.warn({ engine, error, delayMs }, 'engine.unavailable'),
    isFinal: (error) => !waits || (error instanceof KolbakError && !unavailable.includes(error.code)),
  })
