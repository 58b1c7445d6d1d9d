import type { Config } from '../config/config.ts'
import { type DeliveryEvents, webhooksPerPart } from '../events/delivery.ts'
import { deliveryId } from '../events/delivery-id.ts'
import type { Metadata, RecordedEvent } from '../events/envelope.ts'
import { isUlid, type MessageId, type TenantId, type WebhookId } from '../events/ids.ts'
import type { LogEvents } from '../events/log.ts'
import { routingStream, webhookStream } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { inSnapshot, sqlOn } from '../lib/sql.ts'
import { type AuditedEvent, auditedStream } from '../projections/audit.ts'
import { listHeads } from '../projections/log-heads.ts'
import { createMessageIndex, type IndexedMessage } from '../projections/message-index.ts'
import { lastStreamList, listStreams, placeOfStream, placeOfTenant } from '../projections/stream-lists.ts'
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
  const listed = next === undefined ? await listAfter(shared, { tenant, last: first, batches: inBatches.map(({ batch }) => batch) }) : null
  const lists = listed === null ? [] : [listed.list]
  const inLog = new Map([...shown, ...inBatches.map(({ batch }) => batch), ...lists].map((row) => [row.index, row]))
  const entries = [...inLog.values()]
  const proof = await proofOf(shared, { inLog: entries, inBatches }, options)
  const absent = { tenant, message, webhook }
  if (listed === null) return { ...proof, absent }
  const { list, ...places } = listed
  return { ...proof, absent: { ...absent, listed: { entry: entries.indexOf(list), ...places } } }
}

/**
 * Returns the last StreamsListed that a head contains, with the places of the webhook in it. Returns null if it was made before the message was routed, or
 * if it is not the list of the events that the log has now.
 * @param change.last the last change of the webhook
 */
function listAfter(
  { pools }: Shared,
  { tenant, last, batches }: { readonly tenant: TenantId; readonly last: AuditedEvent; readonly batches: readonly AuditedEvent[] },
) {
  return inSnapshot(pools.reads, async (sql) => {
    const [head] = await listHeads(sql, 1)
    const list = await lastStreamList(sql, head?.size ?? 0)
    if (list === null) return null
    const { size, root } = JSON.parse(list.data) as LogEvents['StreamsListed']
    if (batches.some(({ index }) => Number(index) >= size) || Number(last.index) >= size) return null
    if ((await listStreams(sql, size)).root !== root) return null
    const stream = await placeOfStream(sql, size, { tenant, stream: last.stream })
    const place = await placeOfTenant(sql, size, tenant)
    return stream === null || place === null ? null : { list, streams: stream.streams, stream: stream.place, tenant: place }
  })
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
    stream: routingStream(tenant, accepted_at),
    time: accepted_at,
    matches: (event) => routes(event, part),
  }))
}
