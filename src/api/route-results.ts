import type { Answer } from './route.ts'

/** In the envelope that all answers but those of single webhooks have. */
export const answer = (
  status: number,
  data: unknown,
  headers: Readonly<Record<string, string>> = {},
  pagination: object | null = null,
): Answer => ({
  status,
  headers,
  body: { data, error: null, pagination },
})
export const noContent = (headers: Readonly<Record<string, string>> = {}): Answer => ({ status: 204, headers })
/** Of answers that hold a secret. */
export const noStore = { 'cache-control': 'no-store' } as const
