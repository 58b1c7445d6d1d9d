import { deliveryFilterOf, endedInFailure, type ReplayRequest } from '../commands/replay-jobs.ts'
import type { DeliveryId, WebhookId } from '../events/ids.ts'
import { type MessageRef, messageRefOf } from '../events/refs.ts'
import { mapBounded } from '../lib/bounded.ts'
import { byText, type HistoryCursor } from '../ports/delivery-log.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { ReplayPreview } from './responses.ts'

type Deps = Pick<ApiDependencies, 'deliveryLog'>
/** The deliveries that a replay is about, apart from their webhooks. */
export type ReplayFilter = Pick<
  ReplayRequest,
  'tenant' | 'since' | 'until' | 'delivery_status' | 'delivery_event' | 'delivery_reason' | 'delivery_code'
>

/** The most deliveries that are counted. */
const maxCounted = 10_000
const pageSize = 500
const webhooksAtOnce = 8

const statusesOf = ({ delivery_status }: ReplayFilter) => (delivery_status === null ? endedInFailure : [delivery_status])
const queryOf = (filter: ReplayFilter) => {
  const { tenant, since, until } = filter
  return { tenant, since, until, ...deliveryFilterOf(filter) }
}

/** Returns the messages of the deliveries that a replay of the webhook would send again. There are at most `atMost`, newest first for each status. */
async function matchesOf({ deliveryLog }: Deps, webhook: WebhookId, filter: ReplayFilter, atMost: number): Promise<MessageRef[]> {
  const matches = new Map<DeliveryId, MessageRef>()
  for (const status of statusesOf(filter)) {
    let after: HistoryCursor | undefined
    while (matches.size < atMost) {
      const limit = Math.min(pageSize, atMost - matches.size)
      const page = await deliveryLog.history(webhook, { ...queryOf(filter), status, limit, ...(after === undefined ? {} : { after }) })
      for (const row of page) matches.set(row.delivery, messageRefOf(row))
      const last = page.at(-1)
      if (last === undefined || page.length < limit) break
      after = { at: last.accepted_at, delivery: last.delivery }
    }
  }
  return [...matches.values()]
}

/** Returns how many deliveries a replay of the webhook would send again, or null if they are too many to count. */
export async function countMatches(deps: Deps, webhook: WebhookId, filter: ReplayFilter): Promise<number | null> {
  const { length } = await matchesOf(deps, webhook, filter, maxCounted)
  return length < maxCounted ? length : null
}

/** Returns the webhooks for which a replay would send something. */
export async function webhooksWithMatches(
  { deliveryLog }: Deps,
  webhooks: readonly WebhookId[],
  filter: ReplayFilter,
): Promise<WebhookId[]> {
  const haveMatches = await mapBounded(webhooks, webhooksAtOnce, async (webhook) => {
    for (const status of statusesOf(filter))
      if ((await deliveryLog.history(webhook, { ...queryOf(filter), status, limit: 1 })).length > 0) return true
    return false
  })
  return webhooks.filter((_, i) => haveMatches[i])
}

export async function previewReplay(deps: Deps, webhooks: readonly WebhookId[], filter: ReplayFilter): Promise<ReplayPreview> {
  const matches: MessageRef[] = []
  let webhookCount = 0
  for (const webhook of await webhooksWithMatches(deps, webhooks, filter)) {
    if (matches.length >= maxCounted) break
    matches.push(...(await matchesOf(deps, webhook, filter, maxCounted - matches.length)))
    webhookCount++
  }
  matches.sort((a, b) => byText(a.accepted_at, b.accepted_at))
  return {
    ...{ count: matches.length, is_complete: matches.length < maxCounted, without_payload: await countExpired(deps, matches) },
    ...{ oldest: matches[0]?.accepted_at ?? null, newest: matches.at(-1)?.accepted_at ?? null, webhooks: webhookCount },
  }
}

/** Counts the messages whose body has expired. Bodies expire in the order of acceptance, so a binary search finds the first body that is left. @param messages oldest first */
async function countExpired({ deliveryLog }: Deps, messages: readonly MessageRef[]): Promise<number> {
  let low = 0
  let high = messages.length
  while (low < high) {
    const middle = (low + high) >> 1
    const [body] = await deliveryLog.bodies([messages[middle]!])
    if (body === null || body === undefined) low = middle + 1
    else high = middle
  }
  return low
}
