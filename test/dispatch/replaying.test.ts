import { expect } from 'chai'
import { createReplayJobs } from '../../src/commands/replay-jobs.ts'
import type { ReplayingDeps } from '../../src/dispatch/replaying.ts'
import type { DeliveryId } from '../../src/events/ids.ts'
import type { Lease } from '../../src/lib/leases.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { chainsBegun, endedDeliveries } from '../support/ended-deliveries.ts'
import { waitFor } from '../support/wait-for.ts'

/** A lease that every process gets at the same time, as if the former owners had not noticed their loss. */
const leaseForAll: ReplayingDeps['leases'] = {
  take: async (name): Promise<Lease> => ({ name, lost: new AbortController().signal, isHeld: () => true, release: async () => {} }),
}

describe('replay jobs', () => {
  let api: TestApi
  let admin: TestClient
  beforeEach(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  afterEach(() => api.stop())
  const begin = async (webhook: string): Promise<string> =>
    (await api.call('POST', `/v1/webhooks/${webhook}/replay`, { as: admin, body: { since: '2026-01-01T00:00:00Z' } })).get('data.id')
  const get = async (id: string) =>
    ((await api.call('GET', `/v1/jobs/${id}`, { as: admin })).body as { data: { status: string; replayed: number } }).data
  const completed = (id: string) =>
    waitFor(async () => {
      const job = await get(id)
      return job.status === 'completed' ? job : null
    })
  /** Expects that each delivery has begun its second chain once, and no third chain. */
  const expectOnce = async (webhook: string, ids: readonly string[]) => {
    const begun = (await chainsBegun(api, webhook)).map(({ data }) => `${data.delivery} ${data.chain}`)
    expect(begun.sort()).to.deep.equal(ids.map((id) => `${id} 2`).sort())
  }
  /** The dependencies of a process that dies after it has appended `after` events. */
  const dying = (after: number): Partial<ReplayingDeps> & { died: Promise<void> } => {
    let appended = 0
    let die = () => {}
    const died = new Promise<void>((resolve) => {
      die = resolve
    })
    const { head, append } = api.deps.store
    return {
      died,
      store: {
        head,
        async append(...given) {
          if (appended++ < after) return append(...given)
          die()
          throw new Error('the process is dead')
        },
      },
    }
  }

  for (const isShown of [true, false])
    it(`begin no chain twice after a crash, ${isShown ? 'if the history shows the chain by then' : 'if the history does not show the chain yet'}`, async () => {
      const webhook = await api.webhook(admin)
      const ids = (await endedDeliveries(api, { as: admin, webhook, count: 150 })).map(({ id }) => id)
      const before = await api.deps.deliveryLog.history(webhook as never, { tenant: admin.tenant, limit: 200 })
      const id = await begin(webhook)
      const { died, ...first } = dying(40)
      const dead = api.replaying(first)
      await died
      await dead.stop()
      const shown = async () => (await chainsBegun(api, webhook)).length
      expect(await shown()).to.equal(40)
      const { deliveryLog } = api.deps
      if (isShown)
        await waitFor(
          async () => (await deliveryLog.history(webhook as never, { tenant: admin.tenant, status: 'pending', limit: 200 })).length === 40,
        )
      const stale = new Map(before.map((state) => [state.delivery, state]))
      api.replaying(
        isShown ? {} : { deliveryLog: { ...deliveryLog, states: async (keys) => keys.map(({ delivery }) => stale.get(delivery) ?? null) } },
      )
      expect(await completed(id)).to.include({ replayed: 150 })
      await expectOnce(webhook, ids)
    })
  it('are done once by two processes that both believe they have the lease', async () => {
    const webhook = await api.webhook(admin)
    const ids = (await endedDeliveries(api, { as: admin, webhook, count: 250 })).map(({ id }) => id)
    const id = await begin(webhook)
    for (let i = 0; i < 3; i++) api.replaying({ leases: leaseForAll })
    expect(await completed(id)).to.include({ replayed: 250 })
    await expectOnce(webhook, ids)
  })
  it('accept neither a page nor an end from a process whose job has ended or whose page is outdated', async () => {
    await begin(await api.webhook(admin))
    const jobs = createReplayJobs(api.db.pool)
    const [seen] = await jobs.active()
    if (seen === undefined) throw new Error('no job is active')
    const delivery = '0195d3a1-7a4b-5c6d-8e9f-001122334455' as DeliveryId
    const page = { time: seen.since, webhookRevision: 0, deliveries: [{ accepted_at: seen.since, delivery, chain: 2 }] }
    expect([await jobs.plan(seen, page), await jobs.plan(seen, page)]).to.deep.equal([true, false])
    expect(await jobs.end(seen, { status: 'completed', reason: null }), 'its page is not done').to.equal(false)
    const counts = { replayed: 1, skipped: 0 }
    expect([await jobs.done(seen, counts), await jobs.done(seen, counts)]).to.deep.equal([true, false])
    const [next] = await jobs.active()
    expect(next).to.include({ pages: 1, replayed: 1, page: null })
    expect(next?.cursor).to.deep.equal({ at: seen.since, delivery })
    if (next !== undefined) expect(await jobs.plan(next, page)).to.equal(true)
    expect(await jobs.done(seen, counts), 'the page after it').to.equal(false)
  })
  it('start no page while the history is behind', async () => {
    const webhook = await api.webhook(admin)
    const [delivery] = await endedDeliveries(api, { as: admin, webhook })
    // The history is said to be behind this event.
    const [other] = await endedDeliveries(api, { as: admin, webhook: await api.webhook(admin) })
    await api.call('POST', `/v1/deliveries/${other?.id}/replay`, { as: admin })
    const id = await begin(webhook)
    let [isThere, calls] = [false, 0]
    api.replaying({
      waiter: {
        async waitFor(projection) {
          expect(projection).to.equal('deliveries')
          calls++
          return isThere
        },
      },
    })
    await waitFor(() => calls > 1)
    expect(await get(id)).to.include({ status: 'running', replayed: 0 })
    expect(await chainsBegun(api, webhook)).to.deep.equal([])
    isThere = true
    await completed(id)
    await expectOnce(webhook, [delivery?.id ?? ''])
  })
  it('consider every delivery even when statuses change, by its status when its page is stored', async () => {
    const webhook = await api.webhook(admin)
    const deliveries = await endedDeliveries(api, { as: admin, webhook, count: 220 })
    const id = await begin(webhook)
    const { store } = api.deps
    let isFirst = true
    api.replaying({
      store: {
        head: store.head,
        async append(...given) {
          if (isFirst) {
            isFirst = false
            // Two deliveries of the last page change: one succeeds, and the other is replayed by hand and fails again.
            await deliveries[0]?.record({ type: 'DeliverySucceeded', chain: 2 })
            await deliveries[1]?.record({ type: 'DeliveryDeadLettered', chain: 2 })
          }
          return store.append(...given)
        },
      },
    })
    expect(await completed(id)).to.include({ replayed: 219 })
    const begun = (await chainsBegun(api, webhook)).map(({ data }) => `${data.delivery} ${data.chain}`)
    const expected = deliveries.slice(1).map((delivery, i) => `${delivery.id} ${i === 0 ? 3 : 2}`)
    expect(begun.sort()).to.deep.equal(expected.sort())
  })
  it('wait while their webhook has many scheduled deliveries, and let other jobs continue', async () => {
    const [greedy, other] = [await api.webhook(admin), await api.webhook(admin)]
    await endedDeliveries(api, { as: admin, webhook: greedy, count: 1 })
    const [delivery] = await endedDeliveries(api, { as: admin, webhook: other })
    await api.db.pool.query(
      `insert into scheduled_deliveries (delivery, tenant, webhook, message, place, fingerprint, event, accepted_at, correlation_id, chain, attempt, parked_at)
       select gen_random_uuid(), $1, $2, 'm' || n, 'p', 'f', 'e', now(), 'c', 1, 1, now() from generate_series(1, 1001) n`,
      [admin.tenant, greedy],
    )
    const [waitingJob, freeJob] = [await begin(greedy), await begin(other)]
    api.replaying()
    await completed(freeJob)
    await expectOnce(other, [delivery?.id ?? ''])
    expect(await get(waitingJob)).to.include({ status: 'running', replayed: 0 })
    await api.db.pool.query(
      'delete from scheduled_deliveries where webhook = $1 and ctid in (select ctid from scheduled_deliveries where webhook = $1 limit 1)',
      [greedy],
    )
    expect(await completed(waitingJob)).to.include({ replayed: 1 })
  })
  it('fail with a reason after an error that a retry cannot repair, and are retried after any other error', async () => {
    const [wide, shaky] = [await api.webhook(admin), await api.webhook(admin)]
    await endedDeliveries(api, { as: admin, webhook: shaky })
    const [failing, trying] = [await begin(wide), await begin(shaky)]
    const { deliveryLog } = api.deps
    let failures = 2
    api.replaying({
      deliveryLog: {
        ...deliveryLog,
        async history(webhook, query) {
          if (webhook === wide) throw Object.assign(new Error('too wide'), { code: 'history_too_wide' })
          if (failures-- > 0) throw new Error('away for a moment')
          return deliveryLog.history(webhook, query)
        },
      },
    })
    expect(await completed(trying)).to.include({ replayed: 1 })
    expect(await get(failing)).to.include({ status: 'failed', reason: 'history_too_wide' })
  })
})
