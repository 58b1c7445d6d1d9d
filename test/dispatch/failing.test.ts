import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type { AttemptEventType } from '../../src/events/delivery.ts'
import type { Checkpoint, NewEvent } from '../../src/events/envelope.ts'
import type { EventId, WebhookId } from '../../src/events/ids.ts'
import { attemptsStream } from '../../src/events/streams.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

const hour = 3_600_000
const day = 24 * hour

interface Shown {
  is_active: boolean
  deactivation_reason: string | null
  failing_since: string | null
}

describe('the deactivation of failing webhooks', () => {
  let api: TestApi
  let admin: TestClient
  const start = Date.now() - 20 * day
  const at = (ms: number) => new Date(start + ms).toISOString()
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())

  /** Records an attempt as a dispatcher does, at a time in the past. */
  const attempt = async (webhook: string, ms: number, type: AttemptEventType, data: object = {}): Promise<Checkpoint> => {
    const time = at(ms)
    const id = webhook as WebhookId
    const event: NewEvent = {
      id: randomUUID() as EventId,
      type,
      data: {
        tenant: admin.tenant,
        message: `m-${randomUUID()}`,
        place: 'test/0/0/0',
        fingerprint: 'f',
        event: 'order.created',
        accepted_at: time,
        webhook: id,
        webhook_revision: 0,
        delivery: randomUUID(),
        chain: 1,
        attempt: 1,
        code: type === 'DeliverySucceeded' ? 200 : 500,
        duration_ms: 1,
        reason: type === 'DeliverySucceeded' ? null : 'http_500',
        response: null,
        ...(type === 'DeliveryFailed' ? { delay_seconds: 86_400 } : {}),
        ...data,
      },
      metadata: { schema: 1, actor: 'system:dispatcher', tenant: admin.tenant, time, $correlationId: 'test', $causationId: null },
    }
    return (await api.deps.store.append(attemptsStream(id, time), [event], 'any')).position
  }
  const fails = (webhook: string, ms: number, data: object = {}) => attempt(webhook, ms, 'DeliveryFailed', data)
  /** Waits until the projection of webhook health and the process manager have reached the position. */
  const passed = async (position: Checkpoint) => {
    for (const projection of ['deliveries', 'endpoint_manager'])
      expect(await api.deps.waiter.waitFor(projection, position, 10_000), projection).to.equal(true)
  }
  const settle = async () => passed(await attempt(await api.webhook(admin), 0, 'DeliveryDeadLettered', { code: 400 }))
  const shown = async (webhook: string): Promise<Shown> => (await api.call('GET', `/v1/webhooks/${webhook}`, { as: admin })).body as Shown
  const deactivated = (webhook: string) =>
    waitFor(
      async () => {
        const now = await shown(webhook)
        return now.is_active ? undefined : now
      },
      { what: 'the webhook to be deactivated' },
    )

  it('shows failing_since from the first failure to the next success', async () => {
    const webhook = await api.webhook(admin)
    await fails(webhook, 0)
    await fails(webhook, hour)
    await settle()
    expect(await shown(webhook)).to.include({ is_active: true, failing_since: at(0) })
    const list = await api.call('GET', `/v1/webhooks?ids=${webhook}`, { as: admin })
    expect(list.get('data.0.failing_since')).to.equal(at(0))
    await attempt(webhook, 2 * hour, 'DeliverySucceeded')
    await settle()
    expect(await shown(webhook)).to.include({ is_active: true, failing_since: null })
    await fails(webhook, 3 * hour)
    await settle()
    expect((await shown(webhook)).failing_since).to.equal(at(3 * hour))
  })
  it('happens after five days and ten failures, and has a reason', async () => {
    const webhook = await api.webhook(admin)
    for (let i = 0; i < 10; i++) await fails(webhook, i * 12 * hour)
    await settle()
    expect((await shown(webhook)).is_active, 'after 4.5 days').to.equal(true)
    await fails(webhook, 5 * day)
    expect(await deactivated(webhook)).to.include({ is_active: false, deactivation_reason: 'failing', failing_since: at(0) })
    const history = await api.call('GET', `/v1/webhooks/${webhook}/history`, { as: admin })
    expect(history.get('data.1.type')).to.equal('WebhookDeactivated')
    expect(history.get('data.1.changes.deactivation_reason.to')).to.equal('failing')
  })
  it('happens after the tenth failure in five days, and not after the ninth', async () => {
    const webhook = await api.webhook(admin)
    for (let i = 0; i < 9; i++) await fails(webhook, i * day)
    await settle()
    expect((await shown(webhook)).is_active).to.equal(true)
    await fails(webhook, 9 * day)
    expect((await deactivated(webhook)).deactivation_reason).to.equal('failing')
  })
  it('counts from zero after a success', async () => {
    const webhook = await api.webhook(admin)
    for (let i = 0; i < 12; i++) await fails(webhook, i * hour)
    await attempt(webhook, 4 * day, 'DeliverySucceeded')
    for (let i = 0; i < 12; i++) await fails(webhook, 5 * day + i * hour)
    await settle()
    expect(await shown(webhook)).to.include({ is_active: true, failing_since: at(5 * day) })
  })
  it('does not count deliveries that ended without a request', async () => {
    const webhook = await api.webhook(admin)
    for (let i = 0; i < 12; i++)
      await attempt(webhook, i * day, 'DeliveryDeadLettered', { code: null, duration_ms: 0, reason: i % 2 ? 'expired' : 'payload_expired' })
    await settle()
    expect(await shown(webhook)).to.include({ is_active: true, failing_since: null })
  })
  it('is undone by an activation: the reason and failing_since are null, and the five days begin again', async () => {
    const webhook = await api.webhook(admin)
    for (let i = 0; i < 11; i++) await fails(webhook, i * day)
    await deactivated(webhook)
    const activated = await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: admin, body: { is_active: true } })
    expect(activated.body).to.include({ is_active: true, deactivation_reason: null, failing_since: null })
    expect(await shown(webhook)).to.include({ is_active: true, deactivation_reason: null, failing_since: null })
    // A request that was sent before the activation does not count.
    await fails(webhook, 11 * day)
    await fails(webhook, 12 * day, { webhook_revision: 2 })
    await settle()
    expect(await shown(webhook)).to.include({ is_active: true, failing_since: at(12 * day) })
    for (let i = 0; i < 9; i++) await fails(webhook, 13 * day + i * hour, { webhook_revision: 2 })
    await settle()
    expect((await shown(webhook)).is_active).to.equal(true)
    await fails(webhook, 17 * day, { webhook_revision: 2 })
    expect((await deactivated(webhook)).failing_since).to.equal(at(12 * day))
  })
  it('does not happen for a webhook that was changed after the failure, until its next failure', async () => {
    const webhook = await api.webhook(admin)
    await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: admin, body: { description: 'mended' } })
    for (let i = 0; i < 12; i++) await fails(webhook, i * day)
    await settle()
    expect((await shown(webhook)).is_active).to.equal(true)
    await fails(webhook, 12 * day, { webhook_revision: 1 })
    expect((await deactivated(webhook)).failing_since).to.equal(at(0))
  })
  it('happens at once on 410', async () => {
    const webhook = await api.webhook(admin)
    await attempt(webhook, 0, 'DeliveryDeadLettered', { code: 410, reason: 'http_410' })
    expect((await deactivated(webhook)).deactivation_reason).to.equal('gone')
  })
  it('keeps no rows of webhooks without failures', async () => {
    const webhook = await api.webhook(admin)
    await fails(webhook, 0)
    await fails(webhook, hour, { webhook_revision: 1 })
    const position = await attempt(webhook, day, 'DeliverySucceeded')
    expect(await api.deps.waiter.waitFor('deliveries', position, 10_000)).to.equal(true)
    const { rows } = await api.db.pool.query('select * from webhook_health where webhook = $1', [webhook])
    expect(rows).to.deep.equal([])
  })
})
