import type { RouteResult } from './route.ts'

export const jsonType = 'application/json; charset=utf-8'

/** Returns a result in the envelope `{data, error, pagination}`. All responses have it, except those with a single webhook. */
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
/** Returns the same envelope around data that is JSON text already. */
export const envelopeTextResult = (status: number, data: string): RouteResult => ({
  status,
  text: { type: jsonType, content: `{"data":${data},"error":null,"pagination":null}` },
})
export const noContent = (headers: Readonly<Record<string, string>> = {}): RouteResult => ({ status: 204, headers })
/** The headers of responses that contain a secret. */
export const noStore = { 'cache-control': 'no-store' } as const
