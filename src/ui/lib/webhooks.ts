import type { Webhook } from '../../api/responses.ts'
import { useAllPages } from './query.ts'
import { can } from './session.ts'

const webhooksPath = '/v1/webhooks'
/** Reads all webhooks that the caller may see: at most 1,000 by default, which are filtered in the browser, because URLs are stored sealed. */
export const useWebhooks = (options: { everyMs?: number } = {}) => useAllPages<Webhook>(webhooksPath, options)

/** Returns a function that finds the URL of a webhook by its id. Deleted webhooks have none, and none has one for a caller who may not read webhooks. */
export function useUrls(): (id: string) => string | null {
  const { reply } = useAllPages<Webhook>(can('read:webhooks') ? webhooksPath : null)
  const urls = new Map(reply?.body.map(({ id, callback_url }) => [id, callback_url]))
  return (id) => urls.get(id) ?? null
}
