import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { Registry } from 'prom-client'
import { createPostgresDeliveryLog } from '../../src/adapters/postgres/delivery-log.ts'
import { messageBody } from '../../src/api/message-body.ts'
import { replay } from '../../src/commands/replay.ts'
import { type Dispatcher, startDispatcher } from '../../src/dispatch/dispatcher.ts'
import { createOffsets, type Offsets } from '../../src/dispatch/offsets.ts'
import { scheduleRetries } from '../../src/dispatch/retries.ts'
import type { DeliveryEvents } from '../../src/events/delivery.ts'
import type { MessageId, Place, TenantId } from '../../src/events/ids.ts'
import type { MessageRecord } from '../../src/events/message-record.ts'
import { bodyAad } from '../../src/events/sealed-fields.ts'
import { attemptsStream } from '../../src/events/streams.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import type { Keyring } from '../../src/lib/keyring.ts'
import { joinLiveProcesses } from '../../src/lib/live-processes.ts'
import { silentLog } from '../../src/lib/log.ts'
import { noNotices } from '../../src/lib/notices.ts'
import { erasedVault } from '../../src/lib/seal.ts'
import { createWake } from '../../src/lib/wake.ts'
import { installProjections } from '../../src/projections/builds.ts'
import { deliveries } from '../../src/projections/deliveries.ts'
import { createLiveDeliveryLog, type LiveDeliveryLog } from '../../src/projections/live-delivery-log.ts'
import { createMessageIndex, type IndexedMessage } from '../../src/projections/message-index.ts'
import { startProjection } from '../../src/projections/runner.ts'
import { createProjectionProgress, createProjectionWaiter } from '../../src/projections/waiter.ts'
import type { ChangeCursor } from '../../src/projections/webhooks.ts'
import { projectionWorld, type World } from '../projections/world.ts'
import { type HandDrivenBus, handDrivenBus } from '../support/hand-driven-bus.ts'
import { wholeShare } from '../support/lease-shares.ts'
import { noMacs } from '../support/no-macs.ts'
import { failures, type Receiver, startReceiver } from '../support/receiver.ts'
import { waitFor } from '../support/wait-for.ts'

const onError = (error: unknown) => {
  throw error
}

describe('the dispatcher', () => {
  let world: World
  let bus: HandDrivenBus
  let receiver: Receiver
  let tenant: TenantId
  let deliveryLog: LiveDeliveryLog
  let saved: Offsets
  let stops: (() => Promise<void>)[]
  let messages = 0
  /** The tenant whose keys the test has destroyed, or null. */
  let erased: TenantId | null
  let dispatcher: Dispatcher
  /** Called before rows are inserted into the message index. If it throws, the statement fails. */
  let beforeInsert: (rows: readonly IndexedMessage[]) => void

  const start = async () => {
    const { db, store, leases } = world
    const keyring: Keyring = {
      ...world.keyring,
      cached: (owner) => (owner === erased ? undefined : world.keyring.cached(owner)),
      vault: (owner) => (owner === erased ? Promise.resolve(erasedVault(owner)) : world.keyring.vault(owner)),
    }
    const log = await createPostgresDeliveryLog({ pool: db.pool, readers: db.readers, identity: 'test', bus: {}, log: silentLog })
    deliveryLog = createLiveDeliveryLog({ log, pool: db.pool })
    const dueWake = createWake()
    const projection = deliveries(log, scheduleRetries, dueWake.notify)
    await installProjections(db.pool, [projection])
    const progress = createProjectionProgress()
    const runner = startProjection({ store, pool: db.pool, shares: wholeShare(db.pool, leases), progress, log: silentLog }, projection)
    const live = await joinLiveProcesses({
      ...{ pool: db.pool, roles: ['dispatcher'], notices: noNotices, onError },
      id: `d${randomBytes(4).toString('hex')}`,
    })
    saved = createOffsets(db.pool, bus.identity)
    const index = createMessageIndex(db.pool)
    const insertNew = async (rows: readonly IndexedMessage[], cursor?: ChangeCursor) => {
      beforeInsert(rows)
      return index.insertNew(rows, cursor as ChangeCursor)
    }
    dispatcher = startDispatcher({
      bus,
      restMs: () => 2_000,
      store,
      deliveryLog,
      index: { ...index, insertNew: insertNew as typeof index.insertNew },
      offsets: saved,
      pool: db.pool,
      waiter: createProjectionWaiter({ pool: db.pool, progress }),
      onParked: dueWake.notify,
      keyring,
      macs: noMacs,
      live,
      policy: createAddressPolicy({ allowedSubnets: [parseSubnet('127.0.0.0/8')], allowHttp: false }),
      registry: new Registry(),
      log: silentLog,
      processId: `p${randomBytes(4).toString('hex')}`,
      dueWake,
      retryDelays: [0.2, 0.2],
      maxInFlight: 32,
      maxWaitingBytes: 1 << 20,
      maxInFlightPerWebhook: 4,
      maxInFlightPerHighThroughputWebhook: 8,
      connectTimeoutMs: 10_000,
      requestTimeoutMs: 20_000,
      claimMs: 60_000,
      userAgent: 'Kolbak/test',
      lastingFailureMs: 300,
    })
    stops = [() => dispatcher.stop(), () => live.close(), () => runner.stop(), () => log.close()]
  }
  const stop = async () => {
    for (const stop of stops.splice(0)) await stop()
  }
  beforeEach(async () => {
    ;[world, receiver] = await Promise.all([projectionWorld(), startReceiver()])
    bus = handDrivenBus()
    tenant = await world.newTenant()
    erased = null
    beforeInsert = () => {}
    stops = []
  })
  afterEach(async () => {
    await stop()
    await receiver.close()
    await world.stop()
  })
  const subscribe = (path: string, event = 'order.*') => world.newWebhook(tenant, { callback_url: receiver.url(path), event })
  const record = async (change: { id?: string; n?: number; event?: string; owner?: TenantId } = {}): Promise<MessageRecord> => {
    const { id = `evt_${++messages}`, n = 0, event = 'order.created', owner = tenant } = change
    const vault = await world.keyring.vault(owner)
    const body = messageBody({ id: id as MessageId, event, event_time: null, source: null }, Buffer.from(JSON.stringify({ n })))
    return {
      tenant: owner,
      accepted_at: new Date().toISOString(),
      correlation_id: 'correlation',
      messages: [
        {
          id: id as MessageId,
          event,
          event_time: null,
          source: null,
          fingerprint: vault.fingerprint([String(n), event]),
          sealedBody: vault.seal(bodyAad(owner, id), body),
        },
      ],
    }
  }
  const ids = (path: string) => receiver.received(path).map((r) => r.body.id)
  const done = (offset: bigint) => waitFor(async () => (await saved.startAt(0)) === offset, { what: `offset ${offset} to be saved` })
  const types = async (stream: string) =>
    (await world.db.pool.query<{ type: string }>('select type from day_events where stream like $1 order by position', [stream])).rows.map(
      (r) => r.type,
    )

  it('delivers, records routing and attempt as events, and saves the offset when both are durable', async () => {
    await start()
    await subscribe('/a')
    bus.put(await record({ id: 'one' }))
    await done(1n)
    expect(ids('/a')).to.deep.equal(['one'])
    expect(await types('routing-%')).to.deep.equal(['MessageRouted'])
    expect(await types('attempts-%')).to.deep.equal(['DeliverySucceeded'])
  })
  it('quarantines a record that it cannot decode, and continues', async () => {
    await start()
    await subscribe('/a')
    bus.putBytes(Buffer.from([0, 0, 0, 9, 1, 2, 3]))
    bus.putBytes(Buffer.alloc(0))
    bus.put(await record({ id: 'next' }))
    await done(3n)
    expect(ids('/a')).to.deep.equal(['next'])
    const { rows } = await world.db.pool.query('select record_offset from quarantined_records order by 1')
    expect(rows.map((r) => r.record_offset)).to.deep.equal([0n, 1n])
  })
  it('does not repeat a delivery with an attempt when its record is redelivered, even if the history was behind at the crash', async () => {
    await start()
    await subscribe('/a')
    bus.put(await record({ id: 'one' }))
    await done(1n)
    await stop()
    await world.db.pool.query('update bus_offsets set next_offset = 0') // A crash before the save of the offset would leave this state.
    await start()
    await done(1n)
    expect(ids('/a')).to.deep.equal(['one'])
    expect(await types('routing-%')).to.deep.equal(['MessageRouted'])
  })
  it('delivers a redelivered record to the stored webhooks, even if other webhooks match now', async () => {
    await start()
    await subscribe('/a')
    bus.put(await record({ id: 'one' }))
    await done(1n)
    await stop()
    await subscribe('/later')
    await world.db.pool.query('update bus_offsets set next_offset = 0')
    await start()
    await done(1n)
    bus.put(await record({ id: 'two' }))
    await done(2n)
    expect(ids('/later')).to.deep.equal(['two'])
  })
  it('delivers a redelivered message that was routed and not attempted before a crash', async () => {
    await start()
    await subscribe('/a')
    await stop()
    const firstRecord = await record({ id: 'one' })
    bus.put(firstRecord)
    const { rows } = await world.db.pool.query<{ id: string }>('select id from webhook_subscriptions')
    await world.db.pool.query(
      `insert into message_index (tenant, message, fingerprint, place, event, accepted_at, webhooks, matched_at)
       values ($1, 'one', $2, 'hand/0/0/0', 'order.created', $3, $4, '0')`,
      [tenant, firstRecord.messages[0]?.fingerprint, firstRecord.accepted_at, rows.map((row) => row.id)],
    )
    await start()
    await done(1n)
    expect(ids('/a')).to.deep.equal(['one'])
  })
  it('does not send a redelivered message whose payload was erased, although its record still has the payload', async () => {
    await start()
    const webhook = await subscribe('/a')
    const firstRecord = await record({ id: 'one' })
    const { fingerprint } = firstRecord.messages[0]!
    const ref = { tenant, message: 'one' as MessageId, place: 'hand/0/0/0' as Place, fingerprint, event: 'order.created' }
    await deliveryLog.erase([{ ...ref, accepted_at: firstRecord.accepted_at }])
    await stop()
    bus.put(firstRecord)
    await world.db.pool.query(
      `insert into message_index (tenant, message, fingerprint, place, event, accepted_at, webhooks, matched_at)
       values ($1, 'one', $2, 'hand/0/0/0', 'order.created', $3, $4, '0')`,
      [tenant, fingerprint, firstRecord.accepted_at, [webhook.id]],
    )
    await start()
    await done(1n)
    expect(ids('/a')).to.deep.equal([])
    const [dead] = await waitFor(async () => {
      const list = await deliveryLog.deadLetters({ tenant, limit: 10 })
      return list.length > 0 ? list : null
    })
    expect(dead).to.include({ message: 'one', reason: 'payload_erased' })
  })
  it("drops the producer's duplicate, and records other content under the same id as rejected", async () => {
    await start()
    await subscribe('/a')
    bus.put(await record({ id: 'one', n: 1 }))
    bus.put(await record({ id: 'one', n: 1 }))
    bus.put(await record({ id: 'one', n: 2 }))
    await done(3n)
    expect(receiver.received('/a').map((r) => r.body.payload)).to.deep.equal([{ n: 1 }])
    expect((await types('routing-%')).sort()).to.deep.equal(['MessageRejected', 'MessageRouted'])
    await waitFor(async () => (await createMessageIndex(world.db.pool).rejections(tenant, 'one' as MessageId)).length === 1)
  })
  it('sends nothing once its lease of the partition has run out, and leaves the message to the next owner', async () => {
    await start()
    await subscribe('/a')
    bus.holds = false
    bus.put(await record({ id: 'one' }))
    await waitFor(async () => (await types('routing-%')).length === 1)
    bus.rebalance()
    bus.holds = true
    await done(1n)
    expect(ids('/a')).to.deep.equal(['one'])
    expect(await types('attempts-%')).to.deep.equal(['DeliverySucceeded'])
  })
  it('parks the deliveries of a suspended tenant until the tenant is resumed, and records since when they waited', async () => {
    await start()
    const webhook = await subscribe('/a')
    await world.tenant(tenant, { type: 'SuspendTenant' })
    bus.put(await record({ id: 'one' }))
    await done(1n)
    expect((await world.db.pool.query('select due_at from scheduled_deliveries')).rows).to.deep.equal([{ due_at: null }])
    expect(ids('/a')).to.deep.equal([])
    await world.tenant(tenant, { type: 'ResumeTenant' })
    await waitFor(() => ids('/a').length === 1)
    const [attempt] = await waitFor(async () => {
      const events = await world.store.read(attemptsStream(webhook.id, new Date().toISOString()))
      return events.length > 0 ? events : null
    })
    const { waited_since } = attempt!.data as DeliveryEvents['DeliverySucceeded']
    expect(waited_since! <= attempt!.metadata.time, `${waited_since} before ${attempt!.metadata.time}`).to.equal(true)
  })
  it('ends a delivery whose body cannot be opened as a dead letter, and continues', async () => {
    await start()
    const webhook = await subscribe('/a')
    const broken = await record({ id: 'broken' })
    bus.put({ ...broken, messages: broken.messages.map((m) => ({ ...m, sealedBody: randomBytes(100) })) })
    bus.put(await record({ id: 'good' }))
    await done(2n)
    expect(ids('/a')).to.deep.equal(['good'])
    const [dead] = await waitFor(async () => {
      const deadLetters = await deliveryLog.deadLetters({ tenant, webhooks: [webhook.id], limit: 10 })
      return deadLetters.length > 0 ? deadLetters : null
    })
    expect(dead).to.include({ message: 'broken', reason: 'payload_unreadable' })
  })
  it('ends deliveries of a tenant whose key was destroyed as dead letters, and delivers to other tenants', async () => {
    await start()
    const webhook = await subscribe('/a')
    const other = await world.newTenant()
    await world.newWebhook(other, { callback_url: receiver.url('/other'), event: 'order.*' })
    bus.put(await record({ id: 'before' }))
    await done(1n)
    const [erasedRecord, otherRecord] = [await record({ id: 'after' }), await record({ id: 'theirs', owner: other })]
    erased = tenant
    bus.put(erasedRecord)
    bus.put(otherRecord)
    await done(3n)
    expect(ids('/a')).to.deep.equal(['before'])
    expect(ids('/other')).to.deep.equal(['theirs'])
    const [dead] = await waitFor(async () => {
      const deadLetters = await deliveryLog.deadLetters({ tenant, webhooks: [webhook.id], limit: 10 })
      return deadLetters.length > 0 ? deadLetters : null
    })
    expect(dead).to.include({ message: 'after', reason: 'payload_erased' })
  })
  it('parks a fan-out beyond its slots, and sends each delivery once', async () => {
    await start()
    receiver.setResponse('/slow', (_request, response) => setTimeout(() => response.end(), 30))
    const webhooks = await Promise.all(Array.from({ length: 60 }, () => subscribe('/slow')))
    bus.put(await record({ id: 'fan' }))
    await waitFor(() => receiver.received('/slow').length >= webhooks.length)
    await done(1n)
    await waitFor(async () => (await world.db.pool.query('select from scheduled_deliveries')).rowCount === 0)
    expect(receiver.received('/slow')).to.have.length(60)
  })
  it('delivers a backlog of batches of 200 messages', async () => {
    for (let i = 0; i < 30; i++) {
      const many = await Promise.all(Array.from({ length: 200 }, () => record({ event: 'nobody.wants' })))
      bus.put({ ...many[0]!, messages: many.flatMap((messageRecord) => messageRecord.messages) })
    }
    await start()
    await waitFor(async () => (await saved.startAt(0)) === 30n)
    expect((await world.db.pool.query('select from message_index')).rowCount).to.equal(6_000)
  })
  it('quarantines a message that the database refuses, and routes the others of its batch', async () => {
    await start()
    await subscribe('/a')
    const badRecord = await record({ id: 'bad' })
    bus.put({ ...badRecord, messages: badRecord.messages.map((m) => ({ ...m, event: 'order.\u0000' })) })
    bus.put(await record({ id: 'good' }))
    await done(2n)
    expect(ids('/a')).to.deep.equal(['good'])
    expect((await world.db.pool.query('select from quarantined_records')).rowCount).to.equal(1)
  })
  it('quarantines a message on which the code fails, and routes the others', async () => {
    beforeInsert = (rows) => {
      if (rows.some(({ event }) => event === 'order.faulty')) throw new TypeError('a bug')
    }
    await start()
    await subscribe('/a')
    bus.put(await record({ id: 'before' }))
    bus.put(await record({ id: 'faulty', event: 'order.faulty' }))
    bus.put(await record({ id: 'after' }))
    await done(3n)
    expect(ids('/a')).to.have.members(['before', 'after'])
    const { rows } = await world.db.pool.query('select record_offset, error from quarantined_records')
    expect(rows).to.deep.equal([{ record_offset: 1n, error: 'error: a bug' }])
  })
  it('routes a message in the next try after the code has failed on it once', async () => {
    let failures = 0
    beforeInsert = () => {
      if (failures++ === 0) throw new TypeError('a broken connection')
    }
    await start()
    await subscribe('/a')
    bus.put(await record({ id: 'one' }))
    await done(1n)
    expect(ids('/a')).to.deep.equal(['one'])
    expect((await world.db.pool.query('select from quarantined_records')).rowCount).to.equal(0)
  })
  it('has a problem while routing keeps failing, and none once it succeeds', async () => {
    let isAway = true
    beforeInsert = () => {
      if (isAway) throw Object.assign(new Error('no connection'), { code: 'ECONNREFUSED' })
    }
    await start()
    await waitFor(() => dispatcher.problem === null)
    bus.put(await record({ id: 'one' }))
    await waitFor(() => dispatcher.problem !== null)
    expect(dispatcher.problem).to.match(/^Routing has failed for \d+ s \(ECONNREFUSED\): see routing.failed in the log.$/)
    isAway = false
    await waitFor(() => dispatcher.problem === null)
    await done(1n)
  })
  it('retries a failing delivery by its schedule, and ends it in a dead letter', async () => {
    await start()
    receiver.setResponse('/down', failures.resetBeforeResponse)
    const webhook = await subscribe('/down')
    bus.put(await record({ id: 'one' }))
    await done(1n)
    await waitFor(async () => (await deliveryLog.deadLetters({ tenant, webhooks: [webhook.id], limit: 10 })).length === 1)
    expect(receiver.received('/down').map((r) => r.headers['kolbak-attempt'])).to.deep.equal(['1', '2', '3'])
    expect(await types('attempts-%')).to.deep.equal(['DeliveryFailed', 'DeliveryFailed', 'DeliveryDeadLettered'])
    await waitFor(async () => (await world.db.pool.query('select from scheduled_deliveries')).rowCount === 0)
  })
  it('sends a replay by the present state of the webhook, and not by an older state in the cache', async () => {
    await start()
    receiver.setResponse('/old', 400)
    const webhook = await subscribe('/old')
    bus.put(await record({ id: 'one' }))
    await done(1n)
    const [dead] = await waitFor(async () => {
      const deadLetters = await deliveryLog.deadLetters({ tenant, webhooks: [webhook.id], limit: 10 })
      return deadLetters.length > 0 ? deadLetters : null
    })
    await world.webhook(tenant, webhook.id, { type: 'ChangeWebhook', callback_url: receiver.url('/new') })
    const caller = { tenant, actor: 'client:test', scopes: new Set<never>(), key_id: null } as const
    const { stream, event } = replay(dead!, { caller, chain: 2, webhookRevision: 1, now: new Date().toISOString() }, noMacs)
    await world.store.append(stream, [event], 'any')
    await waitFor(() => ids('/new').length === 1 || ids('/old').length === 2)
    expect(ids('/new')).to.deep.equal(['one'])
  })
  it('finishes requests in flight when it stops, and parks the deliveries that wait', async () => {
    await start()
    const open: (() => void)[] = []
    receiver.setResponse('/held', (_request, response) => open.push(() => response.end()))
    await subscribe('/held')
    for (let i = 0; i < 7; i++) bus.put(await record())
    await waitFor(() => open.length === 4)
    const stopped = stop()
    await waitFor(async () => (await world.db.pool.query('select from scheduled_deliveries')).rowCount === 3)
    for (const respond of open) respond()
    await stopped
    expect(await saved.startAt(0)).to.equal(7n)
    expect(await types('attempts-%')).to.have.length(4)
  })
})
