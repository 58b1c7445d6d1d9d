import { expect } from 'chai'
import { ulid } from 'ulid'
import type { Caller } from '../../src/commands/caller.ts'
import { createCommandStreams, hashOf } from '../../src/commands/command-streams.ts'
import { type CommandContext, handle } from '../../src/commands/handler.ts'
import { type KeyCommand, keyDecider } from '../../src/commands/key.ts'
import { type WebhookCommand, webhookDecider } from '../../src/commands/webhook.ts'
import { defaultsOf } from '../../src/events/fields.ts'
import type { EventId, KeyId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { keyStream, webhookStream } from '../../src/events/streams.ts'
import { webhookFields } from '../../src/events/webhook.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { StoreUnavailable } from '../../src/ports/event-store.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'
import { memoryKeyring } from '../support/memory-keyring.ts'

const tenant = ulid() as TenantId
const callerOf = (tenant: TenantId, key_id: KeyId | null = null): Caller => ({
  tenant,
  actor: key_id === null ? 'client:shop' : `key:${key_id}`,
  scopes: new Set(),
  key_id,
})
const context = (changes: Partial<CommandContext> = {}): CommandContext => ({
  caller: callerOf(tenant),
  correlation_id: 'c1',
  now: '2026-01-01T00:00:00.000Z',
  ...changes,
})
const create = (id: WebhookId, key_id: KeyId | null = null): WebhookCommand => ({
  ...defaultsOf(webhookFields),
  type: 'CreateWebhook',
  id,
  tenant,
  key_id,
  callback_url: 'https://example.com/secret-path',
  event: 'order.created',
  description: 'for the books',
  secret: 'whsec_topsecret',
})
async function codeOfFailure(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work
  } catch (error) {
    return codeOf(error) ?? String(error)
  }
  return 'nothing failed'
}

describe('the command handler', () => {
  let store: ReturnType<typeof memoryEventStore>
  let execute: (id: WebhookId, command: WebhookCommand, changes?: Partial<CommandContext>) => ReturnType<typeof handleWebhook>
  let streams: ReturnType<typeof createCommandStreams>
  const handleWebhook = (id: WebhookId, command: WebhookCommand, changes: Partial<CommandContext> = {}) =>
    handle(streams, webhookDecider, webhookStream(id), command, context(changes))
  beforeEach(() => {
    store = memoryEventStore()
    streams = createCommandStreams(store, memoryKeyring())
    execute = handleWebhook
  })
  /** Appends a change by another writer while the handler works. */
  const intrude = async (id: WebhookId, description: string) => {
    const { beforeAppend, afterAppend } = store
    store.beforeAppend = () => {}
    store.afterAppend = () => {}
    await execute(id, { type: 'ChangeWebhook', description })
    Object.assign(store, { beforeAppend, afterAppend })
  }
  const created = async (key_id: KeyId | null = null) => {
    const id = ulid() as WebhookId
    await execute(id, create(id, key_id), { create: true })
    return id
  }

  it('returns the state after the command, its revision and its position', async () => {
    const id = ulid() as WebhookId
    const createdWebhook = await execute(id, create(id), { create: true })
    expect(createdWebhook).to.include({ revision: 0, changed: true, position: store.events.at(-1)?.position })
    expect(createdWebhook.state).to.include({ id, secret: 'whsec_topsecret', created_at: '2026-01-01T00:00:00.000Z' })
    const changed = await execute(id, { type: 'ChangeWebhook', event: 'order.*', is_active: false })
    expect(changed).to.include({ revision: 2, changed: true })
    expect(changed.state).to.include({ event: 'order.*', is_active: false, callback_url: 'https://example.com/secret-path' })
  })
  it('appends nothing for a command that changes nothing, and returns the present revision of the stream', async () => {
    const id = await created()
    const position = store.events.at(-1)?.position
    const unchanged = await execute(id, { type: 'ChangeWebhook', event: 'order.created' })
    expect(unchanged).to.include({ revision: 0, changed: false, position })
    expect(store.events).to.have.length(1)
  })

  describe('isolation', () => {
    it("does not find another tenant's webhook", async () => {
      const id = await created()
      const caller = callerOf(ulid() as TenantId)
      expect(await codeOfFailure(execute(id, { type: 'DeleteWebhook' }, { caller }))).to.equal('not_found')
      expect(store.events).to.have.length(1)
    })
    it('does not find a webhook that another key, or a client, created', async () => {
      const [ownKey, otherKey] = [ulid() as KeyId, ulid() as KeyId]
      const caller = callerOf(tenant, ownKey)
      for (const id of [await created(otherKey), await created()])
        expect(await codeOfFailure(execute(id, { type: 'ChangeWebhook', event: 'x' }, { caller }))).to.equal('not_found')
      const ownWebhook = await created(ownKey)
      expect(await execute(ownWebhook, { type: 'ChangeWebhook', event: 'x' }, { caller })).to.include({ revision: 1 })
    })
    it('does not find any key when the caller is a key', async () => {
      const id = ulid() as KeyId
      const make: KeyCommand = { type: 'CreateKey', id, tenant, key: 'AAAA00000001', name: 'k', description: null, scopes: [] }
      await handle(streams, keyDecider, keyStream(id), make, context({ create: true }))
      const byKey = context({ caller: callerOf(tenant, id) })
      expect(await codeOfFailure(handle(streams, keyDecider, keyStream(id), { type: 'ChangeKey', name: 'x' }, byKey))).to.equal('not_found')
    })
    it('does not find an aggregate that never existed or was deleted', async () => {
      expect(await codeOfFailure(execute(ulid() as WebhookId, { type: 'DeleteWebhook' }))).to.equal('not_found')
      const id = await created()
      await execute(id, { type: 'DeleteWebhook' })
      expect(await codeOfFailure(execute(id, { type: 'DeleteWebhook' }))).to.equal('not_found')
    })
    it('reports not_found before it compares revisions', async () => {
      const id = await created()
      const stranger = { caller: callerOf(ulid() as TenantId), ifMatch: [99] }
      expect(await codeOfFailure(execute(id, { type: 'DeleteWebhook' }, stranger))).to.equal('not_found')
    })
  })

  describe('If-Match', () => {
    it('is checked before the decision, so that a command that changes nothing does not hide the failure', async () => {
      const id = await created()
      expect(await codeOfFailure(execute(id, { type: 'ChangeWebhook' }, { ifMatch: [7] }))).to.equal('precondition_failed')
    })
    it('accepts any revision of a list, and with * any revision of an existing stream', async () => {
      const id = await created()
      expect(await execute(id, { type: 'ChangeWebhook', event: 'a' }, { ifMatch: [5, 0] })).to.include({ revision: 1 })
      expect(await execute(id, { type: 'ChangeWebhook', event: 'b' }, { ifMatch: '*' })).to.include({ revision: 2 })
      expect(await codeOfFailure(execute(ulid() as WebhookId, { type: 'ChangeWebhook' }, { ifMatch: '*' }))).to.equal('not_found')
    })
    it('turns a conflict into a failed precondition, without another try', async () => {
      const id = await created()
      let tries = 0
      store.beforeAppend = async () => {
        tries++
        await intrude(id, 'quicker')
      }
      expect(await codeOfFailure(execute(id, { type: 'ChangeWebhook', event: 'x' }, { ifMatch: [0] }))).to.equal('precondition_failed')
      expect(tries).to.equal(1)
    })
    it('is tried again after a conflict when it is *', async () => {
      const id = await created()
      store.beforeAppend = async () => {
        store.beforeAppend = () => {}
        await intrude(id, 'quicker')
      }
      expect(await execute(id, { type: 'ChangeWebhook', event: 'x' }, { ifMatch: '*' })).to.include({ revision: 2 })
    })
  })

  describe('conflicts', () => {
    it('repeat the whole unit of work on the new state', async () => {
      const id = await created()
      store.beforeAppend = async () => {
        store.beforeAppend = () => {}
        await intrude(id, 'quicker')
      }
      const { state, revision } = await execute(id, { type: 'ChangeWebhook', event: 'x' })
      expect(revision).to.equal(2)
      expect(state).to.include({ event: 'x', description: 'quicker' })
    })
    it('are given up after three repetitions', async () => {
      const id = await created()
      let tries = 0
      store.beforeAppend = async () => intrude(id, `quicker ${++tries}`)
      expect(await codeOfFailure(execute(id, { type: 'ChangeWebhook', event: 'x' }))).to.equal('conflict')
      expect(tries).to.equal(4)
      expect(store.events.some((event) => 'event' in event.data && event.data.event === 'x')).to.equal(false)
    })
    it('keep the ids of the events in every repetition', async () => {
      const id = await created()
      const seen = new Set<EventId>()
      let tries = 0
      store.beforeAppend = async (_, [event]) => {
        if (event !== undefined) seen.add(event.id)
        if (++tries < 3) await intrude(id, `quicker ${tries}`)
      }
      await execute(id, { type: 'ChangeWebhook', event: 'x' })
      expect(tries).to.equal(3)
      expect(seen.size).to.equal(1)
    })
  })

  describe('an append whose response was lost', () => {
    it('is repeated under the same ids, with the same result as the first time', async () => {
      const id = await created()
      let lostResponses = 0
      store.afterAppend = () => {
        if (lostResponses++ < 2) throw new StoreUnavailable('no response')
      }
      expect(await execute(id, { type: 'ChangeWebhook', event: 'x' })).to.include({ revision: 1, changed: true })
      expect(store.events).to.have.length(2)
    })
    it('is an error for the caller when the store still does not respond', async () => {
      const id = await created()
      store.beforeAppend = () => {
        throw new StoreUnavailable('no response')
      }
      expect(await codeOfFailure(execute(id, { type: 'ChangeWebhook', event: 'x' }))).to.equal('store_unavailable')
    })
  })

  describe('creation', () => {
    it('expects that the stream does not exist', async () => {
      const id = await created()
      expect(await codeOfFailure(execute(id, create(id), { create: true }))).to.equal('already_exists')
      expect(store.events).to.have.length(1)
    })
    it('is refused when another process creates the same aggregate at the same time', async () => {
      const id = ulid() as WebhookId
      store.beforeAppend = async () => {
        store.beforeAppend = () => {}
        await execute(id, create(id), { create: true })
      }
      expect(await codeOfFailure(execute(id, create(id), { create: true }))).to.equal('already_exists')
      expect(store.events).to.have.length(1)
    })
  })

  describe('a process manager', () => {
    const causationId = '0197a000-0000-7000-8000-000000000001' as EventId
    it('appends once for one cause, even if it repeats the command', async () => {
      const id = await created()
      const command: WebhookCommand = { type: 'RotateWebhookSecret', secret: 'whsec_new', previous_secret_until: null }
      await execute(id, command, { causationId })
      const repeated = await execute(id, command, { causationId })
      expect(store.events).to.have.length(2)
      expect(repeated).to.include({ revision: 1 })
    })
    it('creates once for one cause, and gets the same result as the first time', async () => {
      const id = ulid() as WebhookId
      await execute(id, create(id), { create: true, causationId })
      expect(await execute(id, create(id), { create: true, causationId })).to.include({ revision: 0 })
      expect(store.events).to.have.length(1)
    })
  })

  describe('a command with an id', () => {
    const commandId = '0197a000-0000-7000-8000-000000000003' as EventId
    it('is carried out once: a repetition returns the first result, even if the state has changed since', async () => {
      const id = await created()
      const command: WebhookCommand = { type: 'ChangeWebhook', event: 'first', is_active: false }
      const first = await execute(id, command, { commandId })
      await execute(id, { type: 'ChangeWebhook', event: 'later' })
      const repeated = await execute(id, command, { commandId })
      expect(repeated).to.deep.equal(first)
      expect(repeated).to.include({ revision: 2, changed: true })
      expect(repeated.state).to.include({ event: 'first', is_active: false })
      expect(store.events).to.have.length(4)
    })
    it('returns the first result also when If-Match has the revision before the command', async () => {
      const id = await created()
      const command: WebhookCommand = { type: 'ChangeWebhook', event: 'first' }
      const first = await execute(id, command, { commandId, ifMatch: [0] })
      expect(await execute(id, command, { commandId, ifMatch: [0] })).to.deep.equal(first)
    })
    it('creates once, and is not recorded as the cause of its events', async () => {
      const id = ulid() as WebhookId
      const first = await execute(id, create(id), { create: true, commandId })
      await execute(id, { type: 'ChangeWebhook', event: 'later' })
      expect(await execute(id, create(id), { create: true, commandId })).to.deep.equal(first)
      expect(store.events).to.have.length(2)
      expect(store.events[0]?.metadata.$causationId).to.equal(null)
    })
    it('does not reveal its result to another caller', async () => {
      const id = await created()
      const command: WebhookCommand = { type: 'ChangeWebhook', event: 'first' }
      await execute(id, command, { commandId })
      expect(await codeOfFailure(execute(id, command, { commandId, caller: callerOf(ulid() as TenantId) }))).to.equal('not_found')
    })
  })

  describe('a stored event', () => {
    it('has its author, tenant, cause and time', async () => {
      const key_id = ulid() as KeyId
      const id = await created(key_id)
      const causationId = '0197a000-0000-7000-8000-000000000002' as EventId
      await execute(id, { type: 'DeleteWebhook' }, { caller: callerOf(tenant, key_id), correlation_id: 'c2', causationId })
      expect(store.events.at(-1)?.metadata).to.deep.include({
        schema: 1,
        actor: `key:${key_id}`,
        tenant,
        time: '2026-01-01T00:00:00.000Z',
        $correlationId: 'c2',
        $causationId: causationId,
      })
    })
    it('has the hash of the previous event as it is stored', async () => {
      const id = await created()
      await execute(id, { type: 'ChangeWebhook', description: 'new', is_active: false })
      await execute(id, { type: 'RotateWebhookSecret', secret: 'whsec_next', previous_secret_until: null })
      const stored = await store.read(webhookStream(id))
      expect(stored).to.have.length(4)
      expect(stored[0]?.metadata.prev).to.equal(null)
      for (const [i, event] of stored.slice(1).entries()) expect(event.metadata.prev).to.equal(hashOf(stored[i]!))
      const forged = structuredClone(stored[1]!)
      Object.assign(forged.data, { description: 'sealed:forged' })
      expect(hashOf(forged)).to.not.equal(stored[2]?.metadata.prev)
    })
    it('never has an earlier time than the previous event', async () => {
      const id = await created()
      const { state } = await execute(id, { type: 'ChangeWebhook', event: 'x' }, { now: '2025-06-01T00:00:00.000Z' })
      expect(store.events.map((event) => event.metadata.time)).to.deep.equal(['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'])
      expect(state.updated_at).to.equal('2026-01-01T00:00:00.000Z')
      await execute(id, { type: 'ChangeWebhook', event: 'y' }, { now: '2026-02-01T00:00:00.000Z' })
      expect(store.events.at(-1)?.metadata.time).to.equal('2026-02-01T00:00:00.000Z')
    })
    it('does not show sealed fields', async () => {
      const id = await created()
      await execute(id, { type: 'ChangeWebhook', callback_url: 'https://example.com/second-path', description: 'for the tax' })
      await execute(id, { type: 'RotateWebhookSecret', secret: 'whsec_next', previous_secret_until: null })
      const key_id = ulid() as KeyId
      const make: KeyCommand = {
        type: 'CreateKey',
        id: key_id,
        tenant,
        key: 'AAAA00000001',
        name: 'my key',
        description: 'mine',
        scopes: [],
      }
      await handle(streams, keyDecider, keyStream(key_id), make, context({ create: true }))
      await handle(
        streams,
        keyDecider,
        keyStream(key_id),
        { type: 'RotateKey', key: 'BBBB00000002', previous_key_until: null },
        context({ now: '2026-01-02T00:00:00.000Z' }),
      )
      const all = JSON.stringify(store.events)
      const hidden = [
        'secret-path',
        'second-path',
        'for the books',
        'for the tax',
        'whsec_',
        'AAAA00000001',
        'BBBB00000002',
        'my key',
        'mine',
      ]
      for (const text of hidden) expect(all).to.not.contain(text)
      expect(all).to.contain('order.created')
    })
    it('can be opened only in its own stream', async () => {
      const [id, other] = [await created(), await created()]
      expect((await streams.read(webhookStream(id))).events[0]?.data).to.include({ secret: 'whsec_topsecret' })
      const [ownEvent, otherEvent] = [id, other].map(
        (webhookId) => store.events.find((event) => event.stream === webhookStream(webhookId))!,
      )
      Object.assign(ownEvent!.data, { secret: (otherEvent!.data as { secret: string }).secret })
      expect(await codeOfFailure(streams.read(webhookStream(id)))).to.equal('seal_broken')
    })
  })
})
