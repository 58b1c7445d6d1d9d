import type { Webhook } from '../../api/responses.ts'
import { useAllPages } from './query.ts'

/** Reads all webhooks that the caller may see: at most 1,000 by default, which are filtered in the browser, because URLs are stored sealed. */
export const useWebhooks = (options: { everyMs?: number } = {}) => useAllPages<Webhook>('/v1/webhooks', options)

/** Returns a function that finds the URL of a webhook by its id. Deleted webhooks have none. */
export function useUrls(): (id: string) => string | null {
  const { reply } = useWebhooks()
  const urls = new Map(reply?.body.map(({ id, callback_url }) => [id, callback_url]))
  return (id) => urls.get(id) ?? null
}
