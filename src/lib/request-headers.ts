/** Returns the headers that every request to a receiver has. Firewalls with the OWASP core rule set refuse requests without Accept. */
export const commonHeaders = (userAgent: string): Readonly<Record<string, string>> => ({
  'User-Agent': userAgent,
  Accept: '*/*',
  'Content-Type': 'application/json',
})
/** The User-Agent of a version of Kolbak. */
export const userAgentOf = (version: string): string => `Kolbak/${version}`
/** Returns the headers that tell which attempt a request is, and which replay. Both count from 1. */
export const attemptHeaders = ({
  chain,
  attempt,
}: {
  readonly chain: number
  readonly attempt: number
}): Readonly<Record<string, string>> => ({
  'kolbak-attempt': String(attempt),
  ...(chain > 1 ? { 'kolbak-replay': String(chain - 1) } : {}),
})
