import { expect } from 'chai'
import { ulid } from 'ulid'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { type AppendRouted, createRoutedAppends } from '../../src/dispatch/route-events.ts'
import { routedMessagesOf } from '../../src/dispatch/routed.ts'
import { factsOf } from '../../src/events/delivery-facts.ts'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import { type Message, type MessageRecord, recordedRef } from '../../src/events/message-record.ts'
import { routingStream } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('the events of routing', () => {
  const accepted_at = new Date().toISOString()
  const webhook = ulid() as WebhookId
  let db: TestDatabase
  let store: ReturnType<typeof createPostgresEventStore>
  before(async () => {
    db = await freshDatabase()
    store = createPostgresEventStore({ pool: db.pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 })
  })
  after(async () => {
    await store.close()
    await db.drop()
  })
  const appends = (readsMessagesRouted = true): AppendRouted =>
    createRoutedAppends({ store, log: silentLog, now: Date.now, readsMessagesRouted: () => readsMessagesRouted })
  const routed = (tenant: TenantId, id: string, more: { webhooks?: WebhookId[]; matched_at?: string } = {}) => {
    const message: Message = {
      ...{ id: id as MessageId, event: 'a.b', event_time: null, source: id === 'm1' ? 'shop' : null },
      ...{ fingerprint: 'f', sealedBody: Buffer.of() },
    }
    const record: MessageRecord = { tenant, accepted_at, correlation_id: `c_${id}`, messages: [message] }
    const place = `bus/0/${id}/0` as Place
    const row = {
      ...recordedRef(record, message, place),
      webhooks: more.webhooks ?? [webhook],
      matched_at: (more.matched_at ?? '7') as Checkpoint,
    }
    return [{ record, message, place }, row] as const
  }
  const stored = (tenant: TenantId): Promise<RecordedEvent[]> => store.read(routingStream(tenant, accepted_at))

  it('are one for all messages of a tenant that come together, with everything that each message is owed', async () => {
    const [tenant, other] = [ulid() as TenantId, ulid() as TenantId]
    const append = appends()
    await Promise.all([
      ...['m1', 'm2', 'm3'].map((id) => append(...routed(tenant, id), false)),
      append(...routed(other, 'm4'), false),
      append(...routed(tenant, 'm5', { matched_at: '8' }), false),
    ])
    const events = await stored(tenant)
    expect(events.map(({ type }) => type)).to.have.members(['MessagesRouted', 'MessageRouted'])
    expect((await stored(other)).map(({ type }) => type)).to.deep.equal(['MessageRouted'])
    const messages = await routedMessagesOf(store, events)
    expect(messages.map(({ message, matched_at }) => `${message} ${matched_at}`)).to.have.members(['m1 7', 'm2 7', 'm3 7', 'm5 8'])
    for (const { message, deliveries } of messages) {
      const [, { matched_at, webhooks, ...ref }] = routed(tenant, message)
      expect(deliveries).to.have.length(1)
      expect(deliveries[0]).to.deep.include({ ...ref, webhook, correlation_id: `c_${message}`, chain: 1, attempt: 1 })
    }
    const facts = events.flatMap(factsOf)
    expect(facts.map(({ type, message, attempt }) => `${type} ${message} ${attempt}`)).to.have.members(
      ['m1', 'm2', 'm3', 'm5'].map((id) => `MessageRouted ${id} 0`),
    )
  })

  it('are one for each message that comes alone, is redelivered, or is read by a process of version 0.2', async () => {
    const tenant = ulid() as TenantId
    await appends()(...routed(tenant, 'alone'), false)
    const [append, appendForFormer] = [appends(), appends(false)]
    await Promise.all(['again1', 'again2', 'again1'].map((id) => append(...routed(tenant, id), true)))
    await Promise.all(['former1', 'former2'].map((id) => appendForFormer(...routed(tenant, id), false)))
    const events = await stored(tenant)
    expect(events.map(({ type, data }) => `${type} ${(data as { message: string }).message}`)).to.have.members(
      ['alone', 'again1', 'again2', 'former1', 'former2'].map((id) => `MessageRouted ${id}`),
    )
  })

  it('have parts when a message goes to more webhooks than fit into one, and groups end before they are too large', async () => {
    const tenant = ulid() as TenantId
    const append = appends()
    const many = Array.from({ length: 5_001 }, () => webhook)
    await Promise.all([
      append(...routed(tenant, 'parts', { webhooks: many }), false),
      ...Array.from({ length: 5 }, (_, i) => append(...routed(tenant, `wide${i}`, { webhooks: many.slice(1) }), false)),
    ])
    const events = await stored(tenant)
    expect(events.filter(({ data }) => (data as { message?: string }).message === 'parts')).to.have.length(2)
    expect((await routedMessagesOf(store, events)).map(({ message }) => message)).to.have.members([
      'parts',
      ...Array.from({ length: 5 }, (_, i) => `wide${i}`),
    ])
  })
})
