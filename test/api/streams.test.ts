import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { type LiveItem, messageItems } from '../../src/api/live/items.ts'
import { Listener } from '../../src/api/live/listener.ts'
import { createStreamIds } from '../../src/api/live/stream-ids.ts'
import type { Checkpoint, NewEvent } from '../../src/events/envelope.ts'
import type { EventId, MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import { eventTypes } from '../../src/events/schema.ts'
import { routingStream } from '../../src/events/streams.ts'
import { startApi, type TestApi } from '../support/api.ts'
import type { Credential } from '../support/api-client.ts'
import { deliveryEvents } from '../support/delivery-events.ts'
import { createLiveTail, type LiveTail } from '../support/live-tail.ts'
import { waitFor } from '../support/wait-for.ts'

describe('the live streams', () => {
  let api: TestApi
  const tails: LiveTail[] = []
  before(async () => {
    api = await startApi()
  })
  afterEach(async () => {
    for (const tail of tails.splice(0)) {
      tail.close()
      await tail.ended()
    }
  })
  after(() => api.stop())

  const headersOf = (as: Credential): Record<string, string> =>
    'token' in as ? { authorization: `Bearer ${as.token}` } : { 'x-api-key': as.key }
  const open = async (as: Credential, path = '/v1/deliveries/stream', tail = createLiveTail()) => {
    tails.push(tail)
    const response = await tail.connect(api.origin + path, headersOf(as))
    return { tail, response }
  }
  /** Returns a tenant with a webhook, and functions that append events about it. */
  const account = async () => {
    const owner = await api.tenant()
    const webhook = (await api.webhook(owner)) as WebhookId
    return { owner, webhook, events: deliveryEvents(api.deps.store, owner.tenant) }
  }
  const shown = (tail: LiveTail) => tail.items.map(({ data }) => `${data.event_id} ${data.status}`)
  const expectItems = async (tail: LiveTail, items: readonly string[]) => {
    await waitFor(() => tail.items.length >= items.length, { what: `${items.length} items` })
    expect(shown(tail)).to.deep.equal(items)
  }

  it('send each attempt when it is recorded, without payload and response', async () => {
    const { owner, webhook, events } = await account()
    const { tail, response } = await open(owner)
    expect(response.headers.get('content-type')).to.equal('text/event-stream')
    expect(response.headers.get('cache-control')).to.equal('no-store, no-transform')
    const [delivery] = events.routed([webhook])
    events.attempted(delivery!, 'DeliveryFailed', { response: 'sealed' })
    events.attempted(delivery!, 'DeliverySucceeded', { attempt: 2 })
    await events.flush()
    await expectItems(tail, ['m0 retrying', 'm0 success'])
    expect(tail.items[0]!.data).to.include({
      id: delivery!.delivery,
      webhook_id: webhook,
      attempt: 1,
      response_code: 500,
      delay_seconds: 300,
    })
    expect(tail.text).to.not.include('sealed')
  })
  it('send only what the filter asks for', async () => {
    const { owner, webhook, events } = await account()
    const other = (await api.webhook(owner)) as WebhookId
    const [failures, ofOther, byName, byAnotherName] = await Promise.all(
      ['?status=failed', `?webhook=${other}`, '?event=order.*', '?event=customer.*'].map(
        async (query) => (await open(owner, `/v1/deliveries/stream${query}`)).tail,
      ),
    )
    const deliveries = events.routed([webhook, other])
    events.attempted(deliveries[0]!, 'DeliveryDeadLettered')
    events.attempted(deliveries[1]!, 'DeliverySucceeded')
    await events.flush()
    await expectItems(byName!, ['m0 failed', 'm0 success'])
    await expectItems(failures!, ['m0 failed'])
    await expectItems(ofOther!, ['m0 success'])
    expect(byAnotherName!.items).to.deep.equal([])
    expect((await api.call('GET', `/v1/deliveries/stream?webhook=${ulid()}`, { as: owner })).status).to.equal(404)
  })
  it('go on after the last item, so that nothing is lost and nothing comes twice', async () => {
    const { owner, webhook, events } = await account()
    const { tail } = await open(owner)
    const expected: string[] = []
    for (let round = 0; round < 4; round++) {
      const deliveries = Array.from({ length: 30 }, () => events.routed([webhook])[0]!)
      for (const delivery of deliveries) {
        events.attempted(delivery, 'DeliverySucceeded')
        expected.push(`${delivery.message.message} success`)
      }
      await events.flush()
      if (round % 2 === 0) {
        // The connection breaks while items arrive, and further items come before it is open again.
        await waitFor(() => tail.items.length > round * 30)
        tail.close()
        await tail.ended()
      } else await open(owner, '/v1/deliveries/stream', tail)
    }
    await expectItems(tail, expected)
  })
  it('go on in the middle of an event with several messages', async () => {
    const owner = await api.tenant()
    const time = new Date().toISOString()
    const message = (id: string) => ({
      ...{ message: id as MessageId, place: 'test/0/1/0' as Place, fingerprint: 'f'.repeat(64), event: 'order.created' },
      ...{ accepted_at: time, correlation_id: 'test', webhooks: [] },
    })
    const metadata = {
      ...{ schema: eventTypes.MessagesRouted.schema, actor: 'system:test' as const, tenant: owner.tenant, time },
      ...{ $correlationId: 'test', $causationId: null },
    } as const
    const data = { messages: ['a', 'b', 'c'].map(message), matched_at: '0' }
    const { tail } = await open(owner, '/v1/events/stream')
    const event: NewEvent = { id: randomUUID() as EventId, type: 'MessagesRouted', data, metadata }
    await api.deps.store.append(routingStream(owner.tenant, time), [event], 'any')
    await waitFor(() => tail.items.length === 3)
    expect(tail.items.map(({ data: item }) => [item.id, item.status])).to.deep.equal([
      ['a', 'unmatched'],
      ['b', 'unmatched'],
      ['c', 'unmatched'],
    ])
    const { tail: later } = await open(owner, `/v1/events/stream?after=${tail.items[0]!.id}`)
    await waitFor(() => later.items.length === 2)
    expect(later.items).to.deep.equal(tail.items.slice(1))
  })
  it('say with a gap what a caller has missed for good', async () => {
    const { owner } = await account()
    const now = Date.now()
    const ofAnotherStore = createStreamIds('another store').write({ after: '0000000000000007' as Checkpoint, sent: 0, at: now - 60_000 })
    const { tail: moved } = await open(owner, `/v1/deliveries/stream?after=${ofAnotherStore}`)
    await waitFor(() => moved.items.length === 1)
    expect(moved.items[0]).to.deep.include({ type: 'gap' })
    expect(moved.items[0]!.data).to.include({ missed: null, since: new Date(now - 60_000).toISOString() })
    const expired = createStreamIds('test').write({ after: '' as Checkpoint, sent: 0, at: now - 40 * 86_400_000 })
    const { tail: old } = await open(owner, `/v1/deliveries/stream?after=${expired}`)
    await waitFor(() => old.items.length > 0)
    expect(old.items[0]).to.deep.include({ type: 'gap' })
    const wrong = await api.call('GET', '/v1/deliveries/stream', { as: owner, headers: { 'last-event-id': 'no id' } })
    expect([wrong.status, wrong.get('error.code')]).to.deep.equal([400, 'invalid_request'])
  })
  it('count what a slow reader misses, and keep at most 1,000 items for it', async () => {
    const ids = createStreamIds('test')
    const item = { tenant: 't' as TenantId, webhook: null, event: 'e', status: 'routed', json: '{"n":1}' } satisfies LiveItem
    const listener = new Listener({ ids, accepts: () => true, from: null })
    const push = (n: number) => listener.push({ before: null, position: String(n).padStart(16, '0') as Checkpoint, at: n, items: [item] })
    for (let n = 1; n <= 1_500; n++) push(n)
    const ended = new AbortController()
    let text = ''
    for await (const part of listener.texts(ended.signal, async () => undefined)) {
      text += part
      if (part.includes('event: gap')) push(1_501)
      if (part.includes('.0000000000001501')) ended.abort()
    }
    expect(text.match(/^data: \{"n":1\}$/gm)).to.have.length(1_001)
    const gap = /event: gap\ndata: (.*)\n/.exec(text)?.[1] ?? '{}'
    expect(JSON.parse(gap)).to.deep.equal({ missed: 500, since: '1970-01-01T00:00:01.001Z', until: '1970-01-01T00:00:01.500Z' })
  })
  it('show a key only the deliveries of its own webhooks, and nothing to another account', async () => {
    const { owner, webhook, events } = await account()
    const stranger = await api.tenant()
    const key = await api.key(owner)
    const otherKey = await api.key(owner)
    const ofKey = (await api.webhook(key)) as WebhookId
    const tailsOf = await Promise.all([key, otherKey, stranger, owner].map(async (as) => (await open(as)).tail))
    const deliveries = events.routed([webhook, ofKey])
    for (const delivery of deliveries) events.attempted(delivery, 'DeliverySucceeded')
    await events.flush()
    const [ownTail, othersTail, foreignTail, allTail] = tailsOf
    await waitFor(() => allTail!.items.length === 2)
    await waitFor(() => ownTail!.items.length === 1)
    expect(ownTail!.items[0]!.data.webhook_id).to.equal(ofKey)
    expect([othersTail!.items, foreignTail!.items]).to.deep.equal([[], []])
  })
  it('allow five at a time for each caller', async () => {
    const { owner } = await account()
    const streams = await Promise.all(Array.from({ length: 5 }, () => open(owner)))
    expect(streams.map(({ response }) => response.status)).to.deep.equal([200, 200, 200, 200, 200])
    const refused = await api.call('GET', '/v1/events/stream', { as: owner })
    expect([refused.status, refused.get('error.code')]).to.deep.equal([429, 'too_many_streams'])
    streams[0]!.tail.close()
    await waitFor(async () => (await open(owner)).response.status === 200, { what: 'a place to be free' })
  })
  it('end when the time that was asked for is over, and when the credential is no longer valid', async () => {
    const { owner } = await account()
    const { tail: short } = await open(owner, '/v1/deliveries/stream?seconds=1')
    await short.ended()
    const key = await api.key(owner)
    const { tail } = await open(key)
    expect((await api.call('DELETE', `/v1/keys/${key.id}`, { as: owner })).status).to.equal(204)
    await tail.ended()
    expect(tail.items.at(-1)).to.deep.include({ type: 'end' })
    expect(tail.items.at(-1)?.data.code).to.equal('unauthorized')
  })
  it('leave out an event of a message that has a further part', () => {
    const data = { webhooks: [], part: 1, parts: 2, tenant: ulid(), message: 'm', event: 'e', accepted_at: new Date().toISOString() }
    const metadata = { schema: eventTypes.MessageRouted.schema, time: data.accepted_at, tenant: data.tenant }
    expect(
      messageItems({ type: 'MessageRouted', data, metadata, stream: routingStream(data.tenant as TenantId, data.accepted_at) } as never),
    ).to.deep.equal([])
  })
})
