import { expect } from 'chai'
import { Webhook } from 'standardwebhooks'
import { signatureHeaders } from '../../src/dispatch/sign.ts'
import { createWebhookCache } from '../../src/dispatch/webhook-cache.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import { fieldAad } from '../../src/events/sealed-fields.ts'
import { KeyDestroyed, type Keyring } from '../../src/lib/keyring.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { ChangeCursor, ChangedWebhook, WebhookChanges } from '../../src/projections/webhooks.ts'
import { memoryKeyring } from '../support/memory-keyring.ts'

const tenant = '01ARZ3NDEKTSV4RRFFQ69G5FAV' as TenantId
const erased = '01ARZ3NDEKTSV4RRFFQ69G5FAX' as TenantId
const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'] as const

describe('the copy of webhooks', () => {
  const sealing = memoryKeyring()
  const keyring: Keyring = {
    ...sealing,
    vault: (owner) => (owner === erased ? Promise.reject(new KeyDestroyed(owner)) : sealing.vault(owner)),
  }
  let pending: { webhooks: ChangedWebhook[]; tenants: { tenant: TenantId; is_suspended: boolean }[] }
  let asked: (ChangeCursor | null)[]
  let answer: (() => Promise<void>) | undefined
  const changes = async (since: ChangeCursor | null): Promise<WebhookChanges> => {
    asked.push(since)
    const found = pending // what the snapshot of this question holds
    pending = { webhooks: [], tenants: [] }
    await answer?.()
    return { ...found, checkpoint: String(asked.length).padStart(19, '0') as Checkpoint, cursor: `c${asked.length}` as ChangeCursor }
  }
  const make = () => createWebhookCache({ changes, keyring, log: silentLog })
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
    asked = []
    answer = undefined
  })

  it('asks only for what has changed since the last look', async () => {
    const copy = make()
    await copy.refresh()
    await copy.refresh()
    expect(asked).to.deep.equal([null, 'c1'])
    expect(copy.checkpoint).to.equal('0000000000000000002')
  })
  it('matches active webhooks of the tenant, and follows a change of pattern or state', async () => {
    const copy = make()
    pending.webhooks = [await row('w1'), await row('w2', { event: '*' }), await row('w3', { is_active: false })]
    await copy.refresh()
    expect(copy.match(tenant, 'order.created')).to.have.members(['w1', 'w2'])
    expect(copy.match(erased, 'order.created')).to.deep.equal([])
    pending.webhooks = [
      await row('w1', { event: 'invoice.*', revision: 1 }),
      await row('w2', { is_deleted: true, is_active: false, revision: 1 }),
    ]
    await copy.refresh()
    expect(copy.match(tenant, 'order.created')).to.deep.equal([])
    expect(copy.match(tenant, 'invoice.paid')).to.deep.equal(['w1'])
    expect(copy.get('w2' as WebhookId)?.state).to.equal('deleted')
    expect(copy.get('w4' as WebhookId)).to.equal(undefined)
  })
  it('gives whoever asks while a look is under way a look that begins after the question', async () => {
    const copy = make()
    let release = () => {}
    answer = () => new Promise((resolve) => (release = resolve))
    const first = copy.refresh()
    pending.webhooks = [await row('new')] // created after the first look has taken its snapshot
    const second = copy.refresh()
    const third = copy.refresh()
    answer = undefined
    release()
    await Promise.all([first, second, third])
    expect(asked).to.have.length(2)
    expect(copy.match(tenant, 'order.created')).to.deep.equal(['new'])
  })
  it('never has two looks under way, also when one asks just as a look ends', async () => {
    const copy = make()
    let under = 0
    let most = 0
    answer = async () => {
      most = Math.max(most, ++under)
      await new Promise((resolve) => setImmediate(resolve))
      under--
    }
    const first = copy.refresh()
    const second = copy.refresh()
    await first
    await Promise.all([copy.refresh(), second, copy.refresh()])
    expect(most).to.equal(1)
  })
  it('keeps the newer of two versions of a webhook', async () => {
    const copy = make()
    pending.webhooks = [await row('w1', { revision: 3, event: 'new.*' })]
    await copy.refresh()
    pending.webhooks = [await row('w1', { revision: 2, event: 'old.*' })]
    await copy.refresh()
    expect(copy.match(tenant, 'new.one')).to.deep.equal(['w1'])
    expect(copy.match(tenant, 'old.one')).to.deep.equal([])
  })
  it('fails the look that failed, and looks again from where it stood', async () => {
    const copy = make()
    await copy.refresh()
    answer = () => Promise.reject(new Error('away'))
    const failed = await copy.refresh().then(
      () => null,
      (error: Error) => error.message,
    )
    expect(failed).to.equal('away')
    answer = undefined
    await copy.refresh()
    expect(asked).to.deep.equal([null, 'c1', 'c1'])
  })
  it('signs with both secrets until the former one runs out', async () => {
    const copy = make()
    const vault = await sealing.vault(tenant)
    const previous_secret = vault.sealText(fieldAad(tenant, 'w1', 'secret'), secrets[1])
    pending.webhooks = [await row('w1', { previous_secret, previous_secret_until: '2026-01-01T00:00:00.000Z' })]
    await copy.refresh()
    const target = copy.get('w1' as WebhookId)!
    const at = Date.parse('2025-12-31T23:59:59Z')
    expect(target.signingKeys(at)).to.have.length(2)
    expect(target.signingKeys(at + 1_000)).to.have.length(1)
    const headers = signatureHeaders(target.signingKeys(Date.now()), 'm', Buffer.from('{}'), Date.now())
    new Webhook(secrets[0]).verify('{}', headers)
    expect(() => new Webhook(secrets[1]).verify('{}', headers)).to.throw()
  })
  it("knows of a webhook's URL for logs the origin alone", async () => {
    const copy = make()
    pending.webhooks = [await row('w1')]
    await copy.refresh()
    expect(copy.get('w1' as WebhookId)?.origin).to.equal('https://a.example')
  })
  it('leaves out the webhooks of an erased tenant, and goes on with all others', async () => {
    const copy = make()
    pending.webhooks = [await row('w1'), await row('gone', { tenant: erased })]
    pending.tenants = [{ tenant: erased, is_suspended: true }]
    await copy.refresh()
    expect(copy.match(tenant, 'order.created')).to.deep.equal(['w1'])
    expect(copy.get('gone' as WebhookId)).to.equal(undefined)
    expect(copy.isSuspended(erased)).to.equal(true)
  })
})
