import type { Config } from '../config/config.ts'
import { type DeliveryEvents, webhooksPerPart } from '../events/delivery.ts'
import { deliveryId } from '../events/delivery-id.ts'
import type { Metadata, RecordedEvent } from '../events/envelope.ts'
import { isUlid, type MessageId, type TenantId, type WebhookId } from '../events/ids.ts'
import { webhookStream } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { sqlOn } from '../lib/sql.ts'
import { type AuditedEvent, auditedStream } from '../projections/audit.ts'
import { createMessageIndex, type IndexedMessage } from '../projections/message-index.ts'
import type { Shared } from '../service/shared.ts'
import type { Proof } from './log-proofs.ts'
import { withShared } from './online.ts'
import { proofOf, type Sought, sealedEvents } from './prove.ts'

/**
 * Proves that a message was not routed to a webhook: the events of the routing name all webhooks of the message, and the webhook is not among them. The
 * events of the webhook show why. Throws the errors of `prove`, and `was_routed`.
 * @param options.heads heads that were kept elsewhere, as signed notes
 */
export const proveNot = (
  config: Config,
  log: Log,
  ids: { readonly message: string; readonly webhook: string },
  options: { readonly heads?: readonly string[] } = {},
): Promise<Proof> =>
  withShared(config, log, (shared) => proveNotIn(shared, ids.message as MessageId, ids.webhook as WebhookId, options), { needsData: true })

async function proveNotIn(
  shared: Shared,
  message: MessageId,
  webhook: WebhookId,
  options: { readonly heads?: readonly string[] },
): Promise<Proof> {
  const changes = isUlid(webhook) ? await auditedStream(sqlOn(shared.pools.reads), webhookStream(webhook), 2 ** 31 - 1) : []
  const first = changes.at(-1)
  if (first === undefined) throw new KolbakError('not_found', `There was never a webhook ${webhook}.`)
  const tenant = metadataOf(first).tenant as TenantId
  const indexed = await createMessageIndex(shared.pools.reads).find(tenant, message)
  if (indexed === null)
    throw new KolbakError(
      'not_found',
      `The account of the webhook has no routed message ${message}. Messages are kept for the retention time (${shared.config.KOLBAK_RETENTION_DAYS} days).`,
    )
  if (indexed.webhooks.includes(webhook)) {
    const delivery = deliveryId(tenant, message, indexed.place, webhook)
    throw new KolbakError('was_routed', `The message was routed to this webhook: prove its delivery ${delivery} instead.`)
  }
  const inBatches = await sealedEvents(shared, routingsOf(indexed))
  const routedAt = inBatches
    .map(({ entry }) => (JSON.parse(entry) as [string, string, string, string, object, Metadata])[5].time)
    .sort()
    .at(-1)!
  const inOrder = changes.toReversed()
  const next = inOrder.find((change) => metadataOf(change).time > routedAt)
  const shown = next === undefined ? inOrder : inOrder.slice(0, next.revision + 1)
  const inLog = new Map([...shown, ...inBatches.map(({ batch }) => batch)].map((row) => [row.index, row]))
  const proof = await proofOf(shared, { inLog: [...inLog.values()], inBatches }, options)
  return { ...proof, absent: { tenant, message, webhook } }
}
const metadataOf = ({ metadata }: AuditedEvent): Metadata => JSON.parse(metadata)

/** Returns the events that routed a message: one, or one for each 5,000 webhooks. */
function routingsOf({ tenant, message, place, accepted_at, webhooks }: IndexedMessage): Sought[] {
  const isThis = (other: { message: MessageId; place: string }) => other.message === message && other.place === place
  const routes = ({ type, data, metadata }: RecordedEvent, part: number): boolean => {
    if (metadata.tenant !== tenant) return false
    if (type === 'MessagesRouted') return part === 0 && (data as DeliveryEvents['MessagesRouted']).messages.some(isThis)
    return (
      type === 'MessageRouted' && isThis(data as DeliveryEvents['MessageRouted']) && (data as DeliveryEvents['MessageRouted']).part === part
    )
  }
  return Array.from({ length: Math.max(1, Math.ceil(webhooks.length / webhooksPerPart)) }, (_, part) => ({
    what: 'routing of the message',
    time: accepted_at,
    matches: (event) => routes(event, part),
  }))
}
