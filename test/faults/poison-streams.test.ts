import { binaryEvent, EventStoreDBClient, jsonEvent } from '@eventstore/db-client'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { defaultTenant, type KeyId, type TenantId, type WebhookId } from '../../src/events/ids.ts'
import { attemptsStream, keyStream, routingStream, type StreamName, tenantStream, webhookStream } from '../../src/events/streams.ts'
import type { Appended } from '../../src/ports/event-store.ts'
import { expectDelivery } from '../support/expectations.ts'
import type { WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withPoison } from './poison.ts'

describe('poison events', () => {
  const running = withPoison()
  const { append, subscribe, post, ids, checks, quarantined, expectGoingOn } = running

  it('of an unknown type quarantine their stream, and commands on it are refused; other streams are not affected', async () => {
    const { service, api } = running
    const webhook = await subscribe('/future', 'future.*')
    const id = webhook.id as WebhookId
    const now = new Date().toISOString()
    await append(webhookStream(id), 'WebhookFromTheFuture', { id, callback_url: 7, event: null })
    await append(tenantStream(ulid() as TenantId), 'TenantFromTheFuture', {})
    await append(routingStream(defaultTenant, now), 'MessageFromTheFuture', { webhooks: 5 })
    await append(attemptsStream('01JZ0000000000000000000001' as WebhookId, now), 'DeliveryFromTheFuture', { delivery: 5 })
    await waitFor(async () => {
      const rows = (await quarantined()).filter(({ stream }) => stream === webhookStream(id))
      return ['webhooks', 'webhook_versions'].every((name) => rows.some(({ projection }) => projection === name))
    })
    for (const { error } of await quarantined()) expect(error).to.match(/^event_not_readable: /)
    // The webhook works as it was before the event that this version cannot read.
    const first = await post('future.now')
    await waitFor(() => ids('/future').includes(first))
    expect(await api.get<{ callback_url: string }>(`/v1/webhooks/${id}`)).to.include({ callback_url: webhook.callback_url })
    const refused = [
      await api.call<{ error: { code: string } }>('PATCH', `/v1/webhooks/${id}`, { description: 'changed after it' }),
      await api.call<{ error: { code: string } }>('GET', `/v1/webhooks/${id}/history`),
    ]
    expect(refused.map(({ status, body }) => `${status} ${body.error.code}`)).to.deep.equal(Array(2).fill('503 event_not_readable'))
    const audit = await fetch(`${service.url}/v1/audit`, { headers: { authorization: `Bearer ${api.token}` } })
    // The audit log shows the event as it is stored, and says that this version cannot read it.
    expect(await audit.text()).to.match(/"type":"WebhookFromTheFuture".*"fault":"not_readable"/)
    const other = await subscribe('/present', 'present.*')
    await api.patch(`/v1/webhooks/${other.id}`, { description: 'changed' })
    await expectGoingOn()
  })

  it('without readable data or metadata quarantine their stream, and delay no projection', async () => {
    const { pool, eventStoreDbUrl } = running
    const now = new Date().toISOString()
    const streamsOf = (id: string) => [
      tenantStream(id as TenantId),
      keyStream(id as KeyId),
      webhookStream(id as WebhookId),
      routingStream(id as TenantId, now),
      attemptsStream(id as WebhookId, now),
    ]
    const types = ['TenantSuspended', 'KeyDeleted', 'WebhookDeleted', 'MessageRouted', 'DeliveryFailed']
    /** Runs `make` on a new stream of each family. Returns the streams' names. */
    const everywhere = async (make: (stream: StreamName, type: string) => Promise<unknown>): Promise<StreamName[]> => {
      const streams = streamsOf(ulid())
      for (const [i, stream] of streams.entries()) await make(stream, types[i]!)
      return streams
    }
    const strange: StreamName[] = []
    for (const odd of [null, 5, 'text', [], {}]) {
      await everywhere((stream, type) => append(stream, type, odd))
      strange.push(...(await everywhere((stream, type) => append(stream, type, {}, odd))))
    }
    if (eventStoreDbUrl !== undefined) {
      const client = EventStoreDBClient.connectionString(eventStoreDbUrl)
      const data = Buffer.from('\0\xff{"half', 'latin1')
      for (const make of [
        (type: string) => binaryEvent({ type, data, metadata: data }),
        (type: string) => binaryEvent({ type, data }),
        (type: string) => jsonEvent({ type, data: {} }),
      ])
        strange.push(...(await everywhere((stream, type) => client.appendToStream(stream, make(type)))))
      // Another application may write to the same EventStoreDB.
      for (const name of ['webhook-', 'attempts-\0', 'routing-of-another-application', `tenant-${'x'.repeat(4_000)}`])
        await client.appendToStream(name, jsonEvent({ type: 'WebhookDeleted', data: {} }))
      await client.dispose()
    }
    // An event of every family follows, so that each projection has something to read.
    const behind: Appended[] = []
    for (const stream of streamsOf(ulid())) behind.push(await append(stream, 'MarkFromTheFuture', { id: stream, webhooks: [] }))
    await waitFor(
      async () => {
        const { rows } = await pool.query('select name from projections where checkpoint is null or checkpoint < $1', [behind[0]?.position])
        return rows.length === 0
      },
      { what: 'every projection to have passed it' },
    )
    await expectGoingOn()
    const aside = (await quarantined()).map(({ stream }) => stream)
    expect(strange.filter((stream) => !aside.includes(stream))).to.deep.equal([])
  })

  it('that make a projection throw quarantine their stream in table, health and log; other streams are not affected', async () => {
    const { service, api, receiver } = running
    const [badWebhook, otherWebhook] = [await subscribe('/bad', 'thrown.*'), await subscribe('/other', 'thrown.*')]
    const now = new Date().toISOString()
    const stream = attemptsStream(badWebhook.id as WebhookId, now)
    await append(stream, 'DeliveryFailed', { delivery: 'no uuid', attempt: 'x', webhook: 'no ulid', webhook_revision: 0, code: 410 })
    await append(stream, 'DeliveryDeadLettered', { delivery: 'no uuid', webhook: 'no ulid', webhook_revision: 0, code: 410 })
    const aside = await waitFor(async () => {
      const rows = (await quarantined()).filter((row) => row.stream === stream)
      return ['deliveries', 'endpoint_manager'].every((name) => rows.some(({ projection }) => projection === name)) ? rows : undefined
    })
    for (const { error } of aside) expect(error).to.not.equal('')
    expect((await checks()).find(({ name }) => name === 'projection deliveries')?.message).to.match(/ [1-9]\d* streams quarantined/)
    expect(service.logLines.some((line) => line.msg === 'projection.quarantined' && line.stream === stream)).to.equal(true)
    // Both webhooks get the event. The history still shows the other webhook's delivery, and a 410 still deactivates a webhook.
    receiver.setResponse('/gone', 410)
    const goneWebhook = await subscribe('/gone', 'thrown.gone')
    const id = await post('thrown.gone')
    await waitFor(() => ids('/bad').includes(id) && ids('/other').includes(id))
    await expectDelivery(api, id, 'success', otherWebhook.id)
    await waitFor(async () => (await api.get<WebhookResponse>(`/v1/webhooks/${goneWebhook.id}`)).deactivation_reason === 'gone')
    await expectGoingOn()
  })
})
