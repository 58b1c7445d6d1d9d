import type { RouteResult } from './route.ts'

/** In the envelope that all answers but those of single webhooks have. */
export const envelopeResult = (
  status: number,
  data: unknown,
  headers: Readonly<Record<string, string>> = {},
  pagination: object | null = null,
): RouteResult => ({
  status,
  headers,
  body: { data, error: null, pagination },
})
export const noContent = (headers: Readonly<Record<string, string>> = {}): RouteResult => ({ status: 204, headers })
/** Of answers that hold a secret. */
export const noStore = { 'cache-control': 'no-store' } as const
