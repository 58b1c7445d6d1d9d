import { expect } from 'chai'
import type { TenantId } from '../../src/events/ids.ts'
import { expectArrival } from '../support/expectations.ts'
import { clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { partitions, withPoison } from './poison.ts'
import { noRecords, validRecord } from './poison-records.ts'

describe('poison records of the bus', () => {
  const running = withPoison()
  const { produce, subscribe, post, ids, figure, expectGoingOn } = running

  it('are quarantined in a table, the log and a metric, and the records around them are delivered', async () => {
    const { service, pool } = running
    await subscribe('/bus', 'bus.*')
    // If this test is tried again, there are rows of its first try.
    await pool.query('delete from quarantined_records')
    const [counted, logged, arrived] = [await figure('kolbak_records_quarantined_total'), service.logLines.length, ids('/bus').length]
    const posted: string[] = []
    let partition = 0
    for (const bytes of Object.values(noRecords)) {
      posted.push(await post('bus.between'))
      await produce(bytes, partition++ % partitions)
    }
    for (let i = 0; i < 2 * partitions; i++) posted.push(await post('bus.behind'))
    await expectArrival(running.receiver, '/bus', posted)
    const expected = Object.keys(noRecords).length
    await waitFor(async () => (await figure('kolbak_records_unread')) === 0, { what: 'every record to be read' })
    const { rows } = await pool.query<{ error: string }>('select error from quarantined_records')
    expect(rows).to.have.length(expected)
    expect(rows.every(({ error }) => error.length > 10)).to.equal(true)
    expect(await figure('kolbak_records_quarantined_total')).to.equal(counted + expected)
    const quarantineLines = service.logLines.slice(logged).filter((line) => line.msg === 'record.quarantined')
    expect(quarantineLines).to.have.length(expected)
    expect(quarantineLines[0]).to.include.keys('partition', 'offset', 'error')
    expect(new Set(ids('/bus').slice(arrived))).to.deep.equal(new Set(posted))
    await expectGoingOn()
  })

  it('end as a dead letter that the API shows when their body was never sealed', async () => {
    const { api, receiver } = running
    const webhook = await subscribe('/unsealed', 'unsealed.*')
    const id = `unsealed_${Date.now()}`
    await produce(validRecord({ id, event: 'unsealed.now' }))
    const dead = await waitFor(async () => {
      const { data } = await api.get<Page<DeliveryResponse>>(`/v1/dead-letters?webhook=${webhook.id}`)
      return data[0]
    })
    expect(dead).to.include({ event_id: id, last_reason: 'payload_unreadable', status: 'failed' })
    expect(receiver.received('/unsealed')).to.deep.equal([])
    await expectGoingOn()
  })

  it('wait or are refused visibly when their tenant is suspended or has no key, and other tenants are not affected', async () => {
    const { pool } = running
    const tenantOf = async (name: string) => {
      const { data } = await running.api.post<{ data: { id: TenantId } }>('/v1/tenants', { name })
      const issued = await running.api.post<{ data: { client_id: string; client_secret: string } }>(`/v1/tenants/${data.id}/clients`, {
        name: 'client',
        scopes: ['read:events', 'write:events', 'read:webhooks', 'write:webhooks'],
      })
      const credentials = { id: issued.data.client_id, secret: issued.data.client_secret }
      return { id: data.id, client: () => clientOf(running.service.url, credentials) }
    }
    const [erased, suspended] = [await tenantOf('Erased'), await tenantOf('Suspended')]
    const webhooks = new Map<string, WebhookResponse>()
    for (const [path, { client }] of [['/erased', erased] as const, ['/suspended', suspended] as const]) {
      const as = await client()
      webhooks.set(path, await subscribe(path, 'gone.*', as))
      const before = await post('gone.before', as)
      await waitFor(() => ids(path).includes(before))
    }
    await pool.query('update data_keys set wrapped = null where owner = $1', [erased.id])
    await running.api.call('POST', `/v1/tenants/${suspended.id}/suspend`)
    await running.restart() // the process keeps keys in memory for a minute

    await produce(validRecord({ tenant: erased.id, id: 'erased_1', event: 'gone.now' }))
    await produce(validRecord({ tenant: suspended.id, id: 'suspended_1', event: 'gone.now' }))
    // The accepted messages are in the index, and neither is sent: one is only logged, and the other is parked.
    const row = await waitFor(async () => {
      const { rows } = await pool.query('select webhooks from message_index where message = $1', ['erased_1'])
      return rows[0]
    })
    expect(row.webhooks).to.deep.equal([])
    const { service, receiver } = running
    await waitFor(() => service.logLines.some((line) => line.msg === 'webhook.unreadable' && line.webhook === webhooks.get('/erased')?.id))
    const parked = await waitFor(async () => {
      const { rows } = await pool.query('select due_at, tenant from scheduled_deliveries where message = $1', ['suspended_1'])
      return rows[0]
    })
    expect(parked).to.deep.equal({ due_at: null, tenant: suspended.id })
    const refused = await (await erased.client()).call<{ error: { code: string } }>('POST', '/v1/events', {
      event: 'gone.now',
      payload: {},
    })
    expect([refused.status, refused.body.error.code]).to.deep.equal([500, 'erased_without_record'])
    for (const path of ['/erased', '/suspended']) expect(receiver.received(path), path).to.have.length(1)
    await expectGoingOn()
    // After the tenant is resumed, the parked delivery ends as a dead letter, because its body was never sealed.
    await running.api.call('POST', `/v1/tenants/${suspended.id}/resume`)
    const resumed = await waitFor(() => suspended.client())
    await waitFor(async () => (await resumed.get<Page<DeliveryResponse>>('/v1/dead-letters')).data[0]?.event_id === 'suspended_1')
    await expectGoingOn()
  })
})
