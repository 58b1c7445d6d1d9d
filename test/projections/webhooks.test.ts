import { expect } from 'chai'
import { ulid } from 'ulid'
import type { WebhookCommand } from '../../src/commands/webhook.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { KeyId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { fieldAad } from '../../src/events/sealed-fields.ts'
import { noteAcknowledgedChange } from '../../src/projections/acknowledged-changes.ts'
import { type ChangeCursor, changedSince, countWebhooks, findWebhook, listWebhooks } from '../../src/projections/webhooks.ts'
import { projectionWorld, type World } from './world.ts'

describe('the read model of webhooks', () => {
  let world: World
  let deps: { pool: World['db']['pool']; keyring: World['keyring'] }
  before(async () => {
    world = await projectionWorld()
    deps = { pool: world.db.pool, keyring: world.keyring }
  })
  after(() => world.stop())

  it('shows a webhook with its sealed fields opened and with the same values as its state', async () => {
    const tenant = await world.newTenant()
    const { deleted, ...state } = await world.newWebhook(tenant, { retry_delays: [0.5, 60] })
    expect(deleted).to.equal(false)
    expect(await findWebhook(deps, { tenant }, state.id)).to.deep.equal({ ...state, failing_since: null, revision: 0 })
  })
  it('equals the state of the webhook after every change', async () => {
    const tenant = await world.newTenant()
    const { id } = await world.newWebhook(tenant)
    const until = '2026-06-01T00:00:00.000Z'
    const commands: WebhookCommand[] = [
      { type: 'ChangeWebhook', callback_url: 'https://example.com/b', event: 'order.*' },
      { type: 'ChangeWebhook', description: null, retry_delays: [1, 2, 3] },
      { type: 'ChangeWebhook', retry_delays: null, description: 'new' },
      { type: 'ChangeWebhook', is_active: false },
      { type: 'ChangeWebhook', is_active: true, event: '*' },
      { type: 'RotateWebhookSecret', secret: 'whsec_two', previous_secret_until: until },
      { type: 'RotateWebhookSecret', secret: 'whsec_three', previous_secret_until: null },
      { type: 'DeactivateWebhook', reason: 'gone' },
    ]
    for (const command of commands) {
      const { state, revision } = await world.webhook(tenant, id, command)
      const { deleted, ...shown } = state
      expect(await findWebhook(deps, { tenant }, id), JSON.stringify(command)).to.deep.equal({ ...shown, failing_since: null, revision })
    }
  })
  it('stores no readable secret', async () => {
    const tenant = await world.newTenant()
    const { id } = await world.newWebhook(tenant, {
      callback_url: 'https://example.com/a-telling-path',
      description: 'a telling text',
      secret: 'whsec_telling',
    })
    await world.webhook(tenant, id, {
      type: 'RotateWebhookSecret',
      secret: 'whsec_tellingtoo',
      previous_secret_until: '2099-01-01T00:00:00.000Z',
    })
    const { rows } = await world.db.pool.query('select * from webhook_subscriptions where id = $1', [id])
    expect(rows).to.have.length(1)
    expect(JSON.stringify(rows)).to.not.contain('telling')
  })
  it('keeps a tombstone of a deleted webhook, which no reader sees', async () => {
    const tenant = await world.newTenant()
    const { id } = await world.newWebhook(tenant)
    await world.webhook(tenant, id, { type: 'DeleteWebhook' })
    expect(await findWebhook(deps, { tenant }, id)).to.equal(null)
    expect(await listWebhooks(deps, { tenant, limit: 10, offset: 0 })).to.deep.equal({ rows: [], total: 0 })
    expect(await countWebhooks(world.db.pool, tenant)).to.equal(0)
    const { rows } = await world.db.pool.query('select is_active, deleted_at from webhook_subscriptions where id = $1', [id])
    expect(rows[0]).to.include({ is_active: false }).and.to.have.property('deleted_at').that.is.a('string')
  })
  it('shows nothing to another tenant, and shows a key only its own webhooks', async () => {
    const [tenant, other] = [await world.newTenant(), await world.newTenant()]
    const [key, otherKey] = [ulid() as KeyId, ulid() as KeyId]
    const a = await world.newWebhook(tenant, { key_id: key })
    const b = await world.newWebhook(tenant, { key_id: otherKey })
    const c = await world.newWebhook(tenant)
    expect(await findWebhook(deps, { tenant: other }, a.id)).to.equal(null)
    expect((await listWebhooks(deps, { tenant: other, limit: 10, offset: 0 })).total).to.equal(0)
    expect(await findWebhook(deps, { tenant, key_id: key }, a.id)).to.include({ id: a.id })
    expect(await findWebhook(deps, { tenant, key_id: key }, b.id)).to.equal(null)
    expect(await findWebhook(deps, { tenant, key_id: key }, c.id)).to.equal(null)
    const list = await listWebhooks(deps, { tenant, key_id: key, limit: 10, offset: 0 })
    expect(list.rows.map((row) => row.id)).to.deep.equal([a.id])
    expect(list.total).to.equal(1)
    expect((await listWebhooks(deps, { tenant, limit: 10, offset: 0 })).total).to.equal(3)
    expect(await countWebhooks(world.db.pool, tenant)).to.equal(3)
  })

  describe('lists', () => {
    let tenant: TenantId
    let ids: WebhookId[]
    before(async () => {
      tenant = await world.newTenant()
      ids = []
      const events = ['order.created', 'order.*', 'user.created', '*', 'order.created']
      for (const [i, event] of events.entries())
        ids.push((await world.newWebhook(tenant, { event, is_active: i % 2 === 0 }, `2026-01-0${i + 1}T00:00:00.000Z`)).id)
    })
    const list = async (filter: Partial<Parameters<typeof listWebhooks>[1]> = {}) => {
      const { rows, total } = await listWebhooks(deps, { tenant, limit: 10, offset: 0, ...filter })
      return { indices: rows.map((row) => ids.indexOf(row.id)), total }
    }
    it('are newest first, in pages with the total of all pages', async () => {
      expect(await list()).to.deep.equal({ indices: [4, 3, 2, 1, 0], total: 5 })
      expect(await list({ limit: 2 })).to.deep.equal({ indices: [4, 3], total: 5 })
      expect(await list({ limit: 2, offset: 3 })).to.deep.equal({ indices: [1, 0], total: 5 })
      expect(await list({ offset: 99 })).to.deep.equal({ indices: [], total: 5 })
    })
    it('break ties of time by id', async () => {
      const other = await world.newTenant()
      const created: WebhookId[] = []
      for (let i = 0; i < 4; i++) created.push((await world.newWebhook(other, {}, '2026-01-01T00:00:00.000Z')).id)
      const { rows } = await listWebhooks(deps, { tenant: other, limit: 10, offset: 0 })
      expect(rows.map((row) => row.id)).to.deep.equal(created.sort().reverse())
    })
    it('are filtered by ids', async () => {
      expect(await list({ ids: [ids[1]!, ids[3]!, ulid() as WebhookId] })).to.deep.equal({ indices: [3, 1], total: 2 })
      expect(await list({ ids: [] })).to.deep.equal({ indices: [], total: 0 })
    })
    it('are filtered by stored patterns, compared literally', async () => {
      expect(await list({ events: ['order.created'] })).to.deep.equal({ indices: [4, 0], total: 2 })
      expect(await list({ events: ['order.*', '*'] })).to.deep.equal({ indices: [3, 1], total: 2 })
      expect(await list({ events: ['order.%'] })).to.deep.equal({ indices: [], total: 0 })
    })
    it('are filtered by state, and by all filters at once', async () => {
      expect(await list({ is_active: true })).to.deep.equal({ indices: [4, 2, 0], total: 3 })
      expect(await list({ is_active: false })).to.deep.equal({ indices: [3, 1], total: 2 })
      expect(await list({ is_active: true, events: ['order.created'], ids: [ids[0]!, ids[2]!], limit: 1 })).to.deep.equal({
        indices: [0],
        total: 1,
      })
    })
  })

  describe('changes', () => {
    const changes = (cursor: ChangeCursor | null) => changedSince(world.db.pool, cursor)
    it('contain all rows at first, sealed, including tombstones and tenants', async () => {
      const tenant = await world.newTenant()
      const keptWebhook = await world.newWebhook(tenant, { retry_delays: [5], key_id: ulid() as KeyId })
      const deletedWebhook = await world.newWebhook(tenant)
      await world.webhook(tenant, deletedWebhook.id, { type: 'DeleteWebhook' })
      await world.tenant(tenant, { type: 'SuspendTenant' })
      const all = await changes(null)
      const { callback_url, secret, ...row } = all.webhooks.find((webhook) => webhook.id === keptWebhook.id)!
      expect(row).to.include({ tenant, event: 'order.created', is_active: true, is_deleted: false, revision: 0 })
      expect(row).to.deep.include({ retry_delays: [5], previous_secret: null, previous_secret_until: null })
      const vault = await world.keyring.vault(tenant)
      expect(vault.openText(fieldAad(tenant, keptWebhook.id, 'callback_url'), callback_url)).to.equal(keptWebhook.callback_url)
      expect(vault.openText(fieldAad(tenant, keptWebhook.id, 'secret'), secret)).to.equal(keptWebhook.secret)
      expect(all.webhooks.find((webhook) => webhook.id === deletedWebhook.id)).to.include({
        is_deleted: true,
        is_active: false,
        revision: 1,
      })
      expect(all.tenants.find((row) => row.tenant === tenant)).to.include({ is_suspended: true })
      const { rows } = await world.db.pool.query(`select checkpoint from projections where name = 'webhooks'`)
      expect(all.checkpoint).to.equal(rows[0]?.checkpoint)
    })
    it('contain only the rows that have changed since the cursor', async () => {
      const tenant = await world.newTenant()
      const { id } = await world.newWebhook(tenant)
      await world.newWebhook(tenant)
      const first = await changes(null)
      const none = await changes(first.cursor)
      expect(none).to.deep.equal({ webhooks: [], tenants: [], checkpoint: first.checkpoint, is_behind: false, cursor: first.cursor })
      const { position } = await world.webhook(tenant, id, { type: 'ChangeWebhook', event: 'x' })
      const next = await changes(none.cursor)
      expect(next.webhooks.map((webhook) => [webhook.id, webhook.event, webhook.revision])).to.deep.equal([[id, 'x', 1]])
      expect(next.tenants).to.deep.equal([])
      expect(next.checkpoint && position && next.checkpoint >= position).to.equal(true)
      await world.tenant(tenant, { type: 'SuspendTenant' })
      const last = await changes(next.cursor)
      expect(last.webhooks).to.deep.equal([])
      expect(last.tenants).to.deep.equal([{ tenant, is_suspended: true }])
    })
    it('show that the read model is behind an acknowledged change, until it has the change', async () => {
      const tenant = await world.newTenant()
      await world.newWebhook(tenant)
      const before = await changes(null)
      const ahead = String(BigInt(before.checkpoint!) + 1n).padStart(before.checkpoint!.length, '0') as Checkpoint
      await noteAcknowledgedChange(world.db.pool, ahead)
      const behind = await changes(before.cursor)
      expect(behind).to.include({ is_behind: true, checkpoint: before.checkpoint })
      expect(behind.cursor).to.not.equal(before.cursor)
      expect(await changes(behind.cursor)).to.deep.include({ is_behind: true, webhooks: [] })
      const { id } = await world.newWebhook(tenant)
      const current = await changes(behind.cursor)
      expect(current.is_behind).to.equal(false)
      expect(current.webhooks.map((webhook) => webhook.id)).to.deep.equal([id])
    })
    it('are all seen by a reader that repeats its query while others write', async () => {
      const tenant = await world.newTenant()
      const copy = new Map<WebhookId, number>()
      let cursor: ChangeCursor | null = null
      let isDone = false
      const reading = (async () => {
        for (let last = false; !last; ) {
          last = isDone
          const read = await changes(cursor)
          cursor = read.cursor
          for (const webhook of read.webhooks) copy.set(webhook.id, webhook.revision)
        }
      })()
      const created = await Promise.all(
        Array.from({ length: 8 }, async () => {
          const { id } = await world.newWebhook(tenant)
          for (let i = 1; i <= 5; i++) await world.webhook(tenant, id, { type: 'ChangeWebhook', event: `e${i}` })
          return id
        }),
      )
      isDone = true
      await reading
      expect(created.map((id) => copy.get(id))).to.deep.equal(Array(8).fill(5))
    })
    it('are found by index scans', async () => {
      const plans = await Promise.all(
        [
          `select * from webhook_subscriptions where position > '00000000000000000001'`,
          `select * from webhook_subscriptions where tenant = 't' and deleted_at is null order by created_at desc, id desc limit 20`,
        ].map(async (text) => {
          const client = await world.db.pool.connect()
          try {
            await client.query('set enable_seqscan = off')
            return JSON.stringify((await client.query(`explain ${text}`)).rows)
          } finally {
            client.release(true)
          }
        }),
      )
      expect(plans[0]).to.contain('webhook_subscriptions_changed')
      expect(plans[1]).to.contain('webhook_subscriptions_of_tenant').and.not.contain('Sort')
    })
  })
})
