import { longestChain } from '../events/retry-chain.ts'
import { secondsPerDay } from '../lib/days.ts'
import { KolbakError } from '../lib/errors.ts'
import { checkCallbackUrl } from './callback-url.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { Detail } from './errors.ts'

/**
 * Returns the checks of a webhook that no schema can express. They check whether requests to its URL are allowed, and whether its retries end before
 * payloads expire.
 */
export function createWebhookChecks({ addressPolicy, settings }: Pick<ApiDependencies, 'addressPolicy' | 'settings'>) {
  const retentionSeconds = settings.retentionDays * secondsPerDay
  return async (body: Readonly<Record<string, unknown>>, faultyPaths: ReadonlySet<string>): Promise<Detail[]> => {
    const details: Detail[] = []
    const { callback_url: url, retry_delays: delays } = body
    if (typeof url === 'string' && !faultyPaths.has('callback_url'))
      try {
        await checkCallbackUrl(url, addressPolicy)
      } catch (error) {
        if (!(error instanceof KolbakError)) throw error
        details.push({ path: 'callback_url', message: error.message })
      }
    const numbers = Array.isArray(delays) ? delays.filter((delay) => typeof delay === 'number') : []
    if (numbers.length <= 20 && longestChain(numbers, settings.requestTimeoutMs / 1_000) >= retentionSeconds)
      details.push({
        path: 'retry_delays',
        message: `must end before the payload expires, but together they take longer than ${settings.retentionDays} days`,
      })
    return details
  }
}
