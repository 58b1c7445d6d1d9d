import type { Pool } from 'pg'
import type { CommandStreams } from '../commands/command-streams.ts'
import { erasureDecider } from '../commands/erasure.ts'
import { handle } from '../commands/handler.ts'
import { tenantDecider } from '../commands/tenant.ts'
import { deliveryId } from '../events/delivery-id.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { ErasureEvents } from '../events/erasure.ts'
import type { TenantId } from '../events/ids.ts'
import { type MessageRef, messageRefOf } from '../events/refs.ts'
import { step } from '../events/steps.ts'
import type { TenantEvents } from '../events/tenant.ts'
import type { KeyEraser } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { sqlOn } from '../lib/sql.ts'
import type { BodyArchive } from '../ports/delivery-log.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import type { MessageIndex } from '../projections/message-index.ts'
import { projectionNames } from '../projections/names.ts'
import type { Projection } from '../projections/projection.ts'

interface ErasureDeps {
  readonly streams: CommandStreams
  readonly deliveryLog: Pick<BodyArchive, 'erase'>
  readonly bus: Pick<MessageBus, 'eraseBodies'>
  readonly index: Pick<MessageIndex, 'find' | 'rejections'>
  readonly keyring: Pick<KeyEraser, 'destroy'>
  readonly pool: Pool
  readonly log: Log
  /** The present time in RFC 3339. */
  now(): string
  /** Called when retries have become due. */
  onDue(): void
  /** Called when keys were destroyed, so that other processes forget them. */
  onKeysDestroyed(): void
}

type Asked = RecordedEvent<'PayloadErasureAsked', ErasureEvents['PayloadErasureAsked']>
const isAsked = (event: RecordedEvent): event is Asked => event.type === 'PayloadErasureAsked'
type TenantAsked = RecordedEvent<'TenantErasureAsked', TenantEvents['TenantErasureAsked']>
const isTenantAsked = (event: RecordedEvent): event is TenantAsked => event.type === 'TenantErasureAsked'

/**
 * The process manager that erases payloads and tenants. Each step can be repeated, so an erasure that a crash has interrupted is completed at the next start. After a
 * backup of Postgres was put back, the checkpoint is older too, so the erasures since then are carried out again.
 */
export const createErasureManager = (deps: ErasureDeps): Projection => ({
  name: projectionNames.erasureManager,
  version: 1,
  families: ['erasure', 'tenant'],
  concerns: (event) => isAsked(event) || isTenantAsked(event),
  async prepare(events) {
    for (const event of events)
      if (isAsked(event)) await erasePayload(deps, event)
      else if (isTenantAsked(event)) await eraseTenant(deps, event)
  },
  async apply() {
    // `prepare` has done the work, so only the checkpoint moves.
  },
})

/** Returns the context of the command that completes an erasure. Its event ids are derived from the request, so that it is stored once. */
const contextOf = ({ now }: ErasureDeps, { id, metadata }: RecordedEvent) =>
  ({
    caller: { tenant: metadata.tenant as TenantId, actor: 'system:erasure-manager', scopes: new Set<never>(), key_id: null },
    correlation_id: metadata.$correlationId,
    causationId: id,
    now: now(),
  }) as const

/** Destroys the data keys of a tenant. Nothing that was sealed under them can be opened any more, wherever it is. */
async function eraseTenant(deps: ErasureDeps, asked: TenantAsked): Promise<void> {
  const { streams, keyring, log, onKeysDestroyed } = deps
  const tenant = asked.data.id
  await step('erasure.keys', () => keyring.destroy(tenant, asked.id))
  onKeysDestroyed()
  const { changed } = await handle(streams, tenantDecider, asked.stream, { type: 'CompleteTenantErasure' }, contextOf(deps, asked))
  if (changed) log.info({ tenant, cause: asked.id }, 'tenant.erased')
}

async function erasePayload(deps: ErasureDeps, asked: Asked): Promise<void> {
  const { streams, deliveryLog, bus, index, pool, log, onDue } = deps
  const message = messageRefOf(asked.data)
  // The content of rejected messages with the same id is erased too.
  const rejections = await index.rejections(message.tenant, message.message)
  const copies = [message, ...rejections.map((rejection): MessageRef => ({ ...message, ...rejection }))]
  await step('erasure.bodies', async () => {
    await deliveryLog.erase(copies)
    await bus.eraseBodies?.(copies) // mutation: records-not-erased
  })
  if (await step('erasure.retries', () => makeRetriesDue(pool, index, message))) onDue()
  const { changed } = await handle(streams, erasureDecider, asked.stream, { type: 'CompletePayloadErasure' }, contextOf(deps, asked))
  if (changed) log.info({ tenant: message.tenant, message: message.message, cause: asked.id }, 'payload.erased')
}

/** Makes the retries of a message due now, so that they end at once and not in hours. Returns whether there are any. */
async function makeRetriesDue(pool: Pool, index: Pick<MessageIndex, 'find'>, { tenant, message, place }: MessageRef): Promise<boolean> {
  const row = await index.find(tenant, message)
  if (row === null || row.place !== place) return false
  const deliveries = row.webhooks.map((webhook) => deliveryId(tenant, message, place, webhook))
  // Each statement on this table locks its rows in the order of their ids, to avoid deadlocks.
  const due = await sqlOn(pool)`
    update scheduled_deliveries set due_at = clock_timestamp() where delivery in (
      select delivery from scheduled_deliveries where delivery = any (${deliveries}::uuid[]) and due_at > clock_timestamp()
      order by delivery for update
    ) returning delivery`
  return due.length > 0
}
