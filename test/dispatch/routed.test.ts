import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { routedMessagesOf } from '../../src/dispatch/routed.ts'
import { deliveryId } from '../../src/events/delivery-id.ts'
import type { NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { routingStream } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('routed messages, read from events', () => {
  const tenant = ulid() as TenantId
  const accepted_at = new Date().toISOString()
  const stream = routingStream(tenant, accepted_at)
  const webhooks = Array.from({ length: 6 }, () => ulid() as WebhookId)
  let db: TestDatabase
  let store: EventStore
  before(async () => {
    db = await freshDatabase()
    store = createPostgresEventStore({ pool: db.pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 })
  })
  after(async () => {
    await store.close()
    await db.drop()
  })
  const routedEvent = (message: string, part: number, parts: number, webhooksOfPart = webhooks.slice(part * 2, part * 2 + 2)): NewEvent => {
    const routing = { source: null, event_time: null, webhooks: webhooksOfPart, part, parts, matched_at: '7' }
    const messageFields = { tenant, message, place: `bus/0/${message}/0`, fingerprint: 'f', event: 'a.b', accepted_at }
    const metadata = { schema: 1, actor: 'system:test', tenant, time: accepted_at, $correlationId: 'c', $causationId: null } as const
    return { id: randomUUID() as EventId, type: 'MessageRouted', data: { ...messageFields, ...routing }, metadata }
  }
  /** Appends the events one by one, and returns what a reader gets for the last one. */
  const appendAndReadLast = async (events: readonly NewEvent[]): Promise<RecordedEvent[]> => {
    for (const event of events) await store.append(stream, [event], 'any')
    return store.read(stream, { limit: 1, backwards: true })
  }

  it('have the webhooks of all their parts in order, even if many other events lie between the parts', async () => {
    const otherEvents = Array.from({ length: 50 }, (_, i) => routedEvent(`other${i}`, 0, 1))
    const [wholeMessage, ...furtherMessages] = await routedMessagesOf(
      store,
      await appendAndReadLast([routedEvent('1', 0, 3), ...otherEvents, routedEvent('1', 1, 3), routedEvent('1', 2, 3)]),
    )
    expect(furtherMessages).to.deep.equal([])
    expect(wholeMessage).to.deep.include({ message: '1', webhooks, matched_at: '7', accepted_at })
    expect(wholeMessage?.deliveries.map(({ delivery, webhook, chain, attempt }) => ({ delivery, webhook, chain, attempt }))).to.deep.equal(
      webhooks.map((webhook) => ({
        delivery: deliveryId(tenant, wholeMessage!.message, wholeMessage!.place, webhook),
        ...{ webhook, chain: 1, attempt: 1 },
      })),
    )
  })
  it('are left out while a part is missing: their record is not done yet, so the bus delivers it again', async () => {
    expect(await routedMessagesOf(store, await appendAndReadLast([routedEvent('2', 0, 3), routedEvent('2', 1, 3)]))).to.deep.equal([])
    expect(await routedMessagesOf(store, await appendAndReadLast([routedEvent('3', 1, 2)]))).to.deep.equal([])
  })
  it('are returned once, even without webhooks or with repeated events', async () => {
    const withoutWebhooks = routedEvent('4', 0, 1, [])
    const events = await appendAndReadLast([withoutWebhooks])
    expect(await routedMessagesOf(store, [...events, ...events])).to.have.length(1)
  })
})
