import { expect } from 'chai'
import { Webhook } from 'standardwebhooks'
import { createWebhookCache } from '../../src/dispatch/webhook-cache.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import { fieldAad } from '../../src/events/sealed-fields.ts'
import type { Keyring } from '../../src/lib/keyring.ts'
import { silentLog } from '../../src/lib/log.ts'
import { erasedVault } from '../../src/lib/seal.ts'
import { signatureHeaders } from '../../src/lib/sign.ts'
import type { ChangeCursor, ChangedWebhook, WebhookChanges } from '../../src/projections/webhooks.ts'
import { memoryKeyring } from '../support/memory-keyring.ts'

const tenant = '01ARZ3NDEKTSV4RRFFQ69G5FAV' as TenantId
const erased = '01ARZ3NDEKTSV4RRFFQ69G5FAX' as TenantId
const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'] as const

describe('the webhook cache', () => {
  const sealing = memoryKeyring()
  const keyring: Keyring = {
    ...sealing,
    vault: (owner) => (owner === erased ? Promise.resolve(erasedVault(owner)) : sealing.vault(owner)),
  }
  let pending: { webhooks: ChangedWebhook[]; tenants: { tenant: TenantId; is_suspended: boolean }[] }
  let cursors: (ChangeCursor | null)[]
  let beforeResult: (() => Promise<void>) | undefined
  const changes = async (since: ChangeCursor | null): Promise<WebhookChanges> => {
    cursors.push(since)
    const snapshot = pending
    pending = { webhooks: [], tenants: [] }
    await beforeResult?.()
    return {
      ...snapshot,
      checkpoint: String(cursors.length).padStart(19, '0') as Checkpoint,
      cursor: `c${cursors.length}` as ChangeCursor,
      is_behind: false,
    }
  }
  const create = () => createWebhookCache({ changes, keyring, log: silentLog })
  const row = async (id: string, change: Partial<ChangedWebhook> = {}): Promise<ChangedWebhook> => {
    const vault = await sealing.vault(tenant)
    const seal = (field: string, value: string) => vault.sealText(fieldAad(tenant, id, field), value)
    return {
      id: id as WebhookId,
      tenant,
      callback_url: seal('callback_url', 'https://a.example/secret-path'),
      event: 'order.*',
      is_active: true,
      is_deleted: false,
      secret: seal('secret', secrets[0]),
      previous_secret: null,
      previous_secret_until: null,
      retry_delays: null,
      revision: 0,
      ...change,
    }
  }
  beforeEach(() => {
    pending = { webhooks: [], tenants: [] }
    cursors = []
    beforeResult = undefined
  })

  it('reads only what has changed since the last refresh', async () => {
    const cache = create()
    await cache.refresh()
    await cache.refresh()
    expect(cursors).to.deep.equal([null, 'c1'])
    expect(cache.checkpoint).to.equal('0000000000000000002')
  })
  it('matches active webhooks of the tenant, and follows a change of pattern or state', async () => {
    const cache = create()
    pending.webhooks = [await row('w1'), await row('w2', { event: '*' }), await row('w3', { is_active: false })]
    await cache.refresh()
    expect(cache.match(tenant, 'order.created')).to.have.members(['w1', 'w2'])
    expect(cache.match(erased, 'order.created')).to.deep.equal([])
    pending.webhooks = [
      await row('w1', { event: 'invoice.*', revision: 1 }),
      await row('w2', { is_deleted: true, is_active: false, revision: 1 }),
    ]
    await cache.refresh()
    expect(cache.match(tenant, 'order.created')).to.deep.equal([])
    expect(cache.match(tenant, 'invoice.paid')).to.deep.equal(['w1'])
    expect(cache.get('w2' as WebhookId)?.state).to.equal('deleted')
    expect(cache.get('w4' as WebhookId)).to.equal(undefined)
  })
  it('serves all calls that arrive during a refresh by one further refresh, which starts after it', async () => {
    const cache = create()
    let release = () => {}
    beforeResult = () => new Promise((resolve) => (release = resolve))
    const first = cache.refresh()
    pending.webhooks = [await row('new')] // The webhook was created after the snapshot of the first refresh.
    const second = cache.refresh()
    const thirdRefresh = cache.refresh()
    beforeResult = undefined
    release()
    await Promise.all([first, second, thirdRefresh])
    expect(cursors).to.have.length(2)
    expect(cache.match(tenant, 'order.created')).to.deep.equal(['new'])
  })
  it('never runs two refreshes at a time, even if a call comes just as a refresh ends', async () => {
    const cache = create()
    let running = 0
    let mostAtOnce = 0
    beforeResult = async () => {
      mostAtOnce = Math.max(mostAtOnce, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
    }
    const first = cache.refresh()
    const second = cache.refresh()
    await first
    await Promise.all([cache.refresh(), second, cache.refresh()])
    expect(mostAtOnce).to.equal(1)
  })
  it('keeps the newer of two revisions of a webhook', async () => {
    const cache = create()
    pending.webhooks = [await row('w1', { revision: 3, event: 'new.*' })]
    await cache.refresh()
    pending.webhooks = [await row('w1', { revision: 2, event: 'old.*' })]
    await cache.refresh()
    expect(cache.match(tenant, 'new.one')).to.deep.equal(['w1'])
    expect(cache.match(tenant, 'old.one')).to.deep.equal([])
  })
  it('rejects when a refresh fails, and reads again from the same cursor', async () => {
    const cache = create()
    await cache.refresh()
    beforeResult = () => Promise.reject(new Error('away'))
    const failed = await cache.refresh().then(
      () => null,
      (error: Error) => error.message,
    )
    expect(failed).to.equal('away')
    beforeResult = undefined
    await cache.refresh()
    expect(cursors).to.deep.equal([null, 'c1', 'c1'])
  })
  it('signs with both secrets until the previous one expires', async () => {
    const cache = create()
    const vault = await sealing.vault(tenant)
    const previous_secret = vault.sealText(fieldAad(tenant, 'w1', 'secret'), secrets[1])
    pending.webhooks = [await row('w1', { previous_secret, previous_secret_until: '2026-01-01T00:00:00.000Z' })]
    await cache.refresh()
    const webhook = cache.get('w1' as WebhookId)!
    const at = Date.parse('2025-12-31T23:59:59Z')
    expect(webhook.signingKeys(at)).to.have.length(2)
    expect(webhook.signingKeys(at + 1_000)).to.have.length(1)
    const headers = signatureHeaders(webhook.signingKeys(Date.now()), 'm', Buffer.from('{}'), Date.now())
    new Webhook(secrets[0]).verify('{}', headers)
    expect(() => new Webhook(secrets[1]).verify('{}', headers)).to.throw()
  })
  it("gives logs only the origin of a webhook's URL", async () => {
    const cache = create()
    pending.webhooks = [await row('w1')]
    await cache.refresh()
    expect(cache.get('w1' as WebhookId)?.urlOrigin).to.equal('https://a.example')
  })
  it('treats the webhooks of an erased tenant as deleted, and keeps all others', async () => {
    const cache = create()
    pending.webhooks = [await row('w1'), await row('gone', { tenant: erased })]
    pending.tenants = [{ tenant: erased, is_suspended: true }]
    await cache.refresh()
    expect(cache.match(tenant, 'order.created')).to.deep.equal(['w1'])
    expect(cache.get('gone' as WebhookId)?.state).to.equal('deleted')
    expect(cache.isSuspended(erased)).to.equal(true)
  })
})
