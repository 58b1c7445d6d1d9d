import { expect } from 'chai'
import { createSlots, type Slot, type SlotLimits, type Slots } from '../../src/dispatch/slots.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import { waitFor } from '../support/wait-for.ts'

/** The memory of a waiting delivery with an empty body. */
const deliveryBytes = 256
const limits: SlotLimits = {
  total: 16,
  perWebhook: 4,
  perHighThroughputWebhook: 4,
  dispatchers: () => 1,
  maxUnresponsiveBytes: 5 * deliveryBytes,
  longestWaitMs: 60,
  longestUnresponsiveWaitMs: 60,
}
/** Limits with which no delivery waits too long. */
const patient = { longestWaitMs: 10_000, longestUnresponsiveWaitMs: 10_000 }
const hook = (name: string) => name as WebhookId
const tenant = (name: string) => name as TenantId

const end = (slot: Slot, outcome: { ok: boolean; duration_ms: number }) => {
  slot.responded(outcome)
  slot.release()
}

describe('the slots', () => {
  let started: Slots[] = []
  const startSlots = (change: Partial<SlotLimits> = {}, now?: () => number): Slots => {
    const slots = createSlots({ ...limits, ...change }, now)
    started.push(slots)
    return slots
  }
  afterEach(() => {
    for (const slots of started) slots.stop()
    started = []
  })
  const take = async (slots: Slots, webhook: string, owner = 'a'): Promise<Slot> => {
    const slot = await slots.acquire(hook(webhook), tenant(owner))
    if (slot === 'parked') throw new Error('parked')
    return slot
  }
  /** One quick response makes a webhook fast. */
  const makeFast = async (slots: Slots, webhook: string, owner = 'a') =>
    end(await take(slots, webhook, owner), { ok: true, duration_ms: 5 })
  const isSettled = async (promise: Promise<unknown>) =>
    Promise.race([promise.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))])

  it('bound the requests of one webhook, and start the next when one ends', async () => {
    const slots = startSlots()
    const heldSlots = await Promise.all([1, 2, 3, 4].map(() => take(slots, 'w')))
    const fifth = slots.acquire(hook('w'), tenant('a'))
    expect(await isSettled(fifth)).to.equal(false)
    end(heldSlots[0]!, { ok: true, duration_ms: 1 })
    expect(await fifth).to.not.equal('parked')
    expect(slots.inFlight).to.equal(4)
  })
  it('free a slot at its response, and grant none while too many attempts are not recorded', async () => {
    const slots = startSlots({ total: 8, perWebhook: 2, unrecorded: 2, ...patient })
    for (const t of ['a', 'b', 'c', 'd']) await makeFast(slots, t, t)
    const heldSlots = await Promise.all(['a', 'a', 'b', 'b', 'c', 'c', 'd', 'd'].map((t) => take(slots, t, t)))
    const next = slots.acquire(hook('a'), tenant('a'))
    expect(await isSettled(next)).to.equal(false)
    heldSlots[0]!.responded({ ok: true, duration_ms: 1 })
    expect(await isSettled(next)).to.equal(true)
    heldSlots[2]!.responded({ ok: true, duration_ms: 1 }) // Two attempts are unrecorded now.
    const last = slots.acquire(hook('b'), tenant('b'))
    expect(await isSettled(last)).to.equal(false)
    heldSlots[0]!.release()
    expect(await isSettled(last)).to.equal(true)
    heldSlots[0]!.release() // A second release has no effect.
    expect(slots.inFlight).to.equal(8)
  })
  it('let more rows be claimed ahead for a faster healthy webhook, and park them when it stalls', async () => {
    let at = 0
    const slots = startSlots({ total: 64, perWebhook: 4, maxUnresponsiveBytes: 500 * deliveryBytes }, () => at)
    const claimableAfter = async (webhook: string, duration_ms: number) => {
      for (let i = 0; i < 9; i++) end(await take(slots, webhook, webhook), { ok: true, duration_ms })
      return slots.claimableRows(hook(webhook), tenant(webhook))
    }
    expect(await claimableAfter('quick', 1)).to.equal(4 + 300)
    expect(await claimableAfter('usual', 20)).to.equal(4 + 20)
    expect(await claimableAfter('slow', 900)).to.equal(4 + 1)
    const ahead = Array.from({ length: 24 }, () => slots.acquire(hook('usual'), tenant('usual'), { fromTable: true }))
    const begun = await Promise.all(ahead.slice(0, 4))
    expect(slots.claimableRows(hook('usual'), tenant('usual')), 'more than half of them wait').to.equal(0)
    at = 1_500 // None of the four requests has a response.
    for (const acquired of ahead.slice(4)) expect(await acquired).to.equal('parked')
    expect(slots.claimableRows(hook('usual'), tenant('usual'))).to.equal(0)
    for (const slot of begun) end(slot as Slot, { ok: false, duration_ms: 1_500 })
  })
  describe('of a webhook that responds quickly', () => {
    const quick = { ok: true, duration_ms: 20 }
    /** Starts as many requests as may start. One more request waits, and ends as soon as it has started. */
    const begin = async (slots: Slots, webhook = 'w', owner = 'a'): Promise<Slot[]> => {
      const begun: Slot[] = []
      for (;;) {
        const next = slots.acquire(hook(webhook), tenant(owner)).then((slot) => slot as Slot)
        if (await isSettled(next)) begun.push(await next)
        else {
          void next.then((slot) => end(slot, quick))
          return begun
        }
      }
    }
    it('increase while it responds quickly, and return to the normal limit once it takes longer', async () => {
      const slots = startSlots({ total: 200, perHighThroughputWebhook: 8, ...patient })
      for (const limit of [4, 8, 8]) {
        const heldSlots = await begin(slots)
        expect(heldSlots).to.have.length(limit)
        for (const slot of heldSlots) end(slot, quick)
      }
      for (let i = 0; i < 9; i++) end(await take(slots, 'w'), { ok: true, duration_ms: 500 })
      expect(await begin(slots)).to.have.length(4)
    })
    it('stay above the normal limit when it refuses one request in ten, and not when it refuses half', async () => {
      for (const [everyNth, min, max] of [
        [10, 8, 16],
        [2, 4, 7],
      ] as const) {
        const slots = startSlots({ total: 200, perHighThroughputWebhook: 16, ...patient })
        let ended = 0
        for (let round = 0; round < 40; round++)
          for (const slot of await begin(slots)) end(slot, { ok: ++ended % everyNth !== 0, duration_ms: 20 })
        expect((await begin(slots)).length).to.be.within(min, max)
      }
    })
    it('stay at the normal limit while its tenant or the pool is busy, so that hanging webhooks leave slots for others', async () => {
      const slots = startSlots({ total: 200, perHighThroughputWebhook: 16, ...patient }) // A tenant may use 50 slots.
      const webhooks = ['w1', 'w2', 'w3'].flatMap((webhook) => ['a', 'b', 'c'].map((tenant) => [`${webhook}-${tenant}`, tenant] as const))
      for (const [webhook, of] of webhooks) for (let i = 0; i < 20; i++) end(await take(slots, webhook, of), quick)
      const begun = new Map<string, number>()
      for (const [webhook, of] of webhooks) begun.set(webhook, (await begin(slots, webhook, of)).length)
      expect([...begun.values()]).to.deep.equal([16, 16, 16, 4, 4, 4, 4, 4, 4])
    })
  })
  it('divide the limit of a webhook between the live dispatchers', async () => {
    const slots = startSlots({ dispatchers: () => 2 })
    await Promise.all([1, 2].map(() => take(slots, 'w')))
    expect(await isSettled(slots.acquire(hook('w'), tenant('a')))).to.equal(false)
  })
  it('give a tenant at most a quarter of the pool', async () => {
    const slots = startSlots()
    for (const w of ['w1', 'w2', 'w3']) await makeFast(slots, w)
    await Promise.all([take(slots, 'w1'), take(slots, 'w1'), take(slots, 'w2'), take(slots, 'w2')])
    expect(await isSettled(slots.acquire(hook('w3'), tenant('a')))).to.equal(false)
    expect(await take(slots, 'other', 'b')).to.have.property('release')
  })
  it('give slow webhooks together at most half of the pool', async () => {
    const slots = startSlots()
    await makeFast(slots, 'good', 'z')
    for (const t of ['a', 'b']) for (let i = 0; i < 4; i++) await take(slots, `hanging-${t}`, t)
    expect(await isSettled(slots.acquire(hook('hanging-c'), tenant('c')))).to.equal(false)
    expect(await isSettled(slots.acquire(hook('good'), tenant('z')))).to.equal(true)
  })
  it('count a webhook as slow as soon as its open requests have lasted for more than a second', async () => {
    let now = 0
    const slots = startSlots({ ...patient }, () => now)
    for (const t of ['a', 'b', 'c']) await makeFast(slots, `w-${t}`, t)
    for (const t of ['a', 'b']) for (let i = 0; i < 4; i++) await take(slots, `w-${t}`, t)
    now = 2_000
    await waitFor(() => slots.claimableRows(hook('new'), tenant('d')) === 0)
    expect(slots.claimableRows(hook('w-c'), tenant('c'))).to.be.greaterThan(0)
  })
  it('allow one request at a time after five failures in a row, and all again after a success', async () => {
    const slots = startSlots()
    for (let i = 0; i < 5; i++) end(await take(slots, 'w'), { ok: false, duration_ms: 1 })
    const probe = await take(slots, 'w')
    expect(await isSettled(slots.acquire(hook('w'), tenant('a')))).to.equal(false)
    end(probe, { ok: true, duration_ms: 1 })
    await waitFor(() => slots.inFlight === 1)
    expect(slots.claimableRows(hook('w'), tenant('a'))).to.be.greaterThan(1)
  })
  it('park a delivery if the memory for its webhook is full', async () => {
    const slots = startSlots()
    await Promise.all([1, 2, 3, 4].map(() => take(slots, 'w')))
    const waiting = [1, 2, 3, 4, 5].map(() => slots.acquire(hook('w'), tenant('a')))
    expect(await slots.acquire(hook('w'), tenant('a'))).to.equal('parked')
    expect(await isSettled(Promise.all(waiting))).to.equal(false)
    expect(slots.waiting).to.equal(5)
  })
  describe('with deliveries that wait in memory', () => {
    /** A memory of 64 deliveries, of which a webhook that does not respond well may use 5. */
    const memory = { maxWaitingBytes: 64 * deliveryBytes, ...patient }
    /** Acquires slots and counts those that wait and those that are parked. */
    const acquireMany = async (slots: Slots, webhook: string, owner: string, count: number) => {
      const tally = { waiting: count, parked: 0 }
      for (let i = 0; i < count; i++)
        void slots.acquire(hook(webhook), tenant(owner)).then((slot) => {
          tally.waiting--
          if (slot === 'parked') tally.parked++
        })
      await new Promise((resolve) => setImmediate(resolve))
      return tally
    }
    const fill = async (slots: Slots, webhook: string, owner: string, count: number) => {
      await makeFast(slots, webhook, owner)
      await Promise.all([1, 2, 3, 4].map(() => take(slots, webhook, owner)))
      return acquireMany(slots, webhook, owner, count)
    }
    const settle = () => new Promise((resolve) => setImmediate(resolve))

    it('park nothing of a burst that fits', async () => {
      expect(await fill(startSlots(memory), 'w', 'a', 64)).to.deep.equal({ waiting: 64, parked: 0 })
    })
    it('park what does not fit', async () => {
      expect(await fill(startSlots(memory), 'w', 'a', 100)).to.deep.equal({ waiting: 64, parked: 36 })
    })
    it('count the bytes of the bodies', async () => {
      const slots = startSlots(memory)
      await makeFast(slots, 'w')
      await Promise.all([1, 2, 3, 4].map(() => take(slots, 'w')))
      const big = Array.from({ length: 4 }, () => slots.acquire(hook('w'), tenant('a'), { fromTable: false, bytes: 20 * deliveryBytes }))
      expect(await big[3]).to.equal('parked')
      expect(await isSettled(big[2]!)).to.equal(false)
    })
    it('divide the memory between tenants, and the part of a tenant between its webhooks', async () => {
      const slots = startSlots({ ...memory, total: 64 })
      const greedy = await fill(slots, 'greedy', 'a', 64)
      const second = await fill(slots, 'second', 'a', 64)
      const other = await fill(slots, 'other', 'b', 64)
      await settle()
      expect([greedy.waiting, second.waiting, other.waiting]).to.deep.equal([16, 16, 32])
    })
    it('park the newest deliveries of the webhook that uses most, so that its oldest ones are not delayed', async () => {
      const slots = startSlots(memory)
      await makeFast(slots, 'w', 'a')
      const heldSlots = await Promise.all([1, 2, 3, 4].map(() => take(slots, 'w', 'a')))
      const waiting = Array.from({ length: 64 }, () => slots.acquire(hook('w'), tenant('a')))
      const other = await fill(slots, 'other', 'b', 8)
      expect(other.parked).to.equal(0)
      for (const newest of waiting.slice(56)) expect(await newest).to.equal('parked')
      end(heldSlots[0]!, { ok: true, duration_ms: 1 })
      expect(await waiting[0]).to.not.equal('parked')
    })
    it('keep only the part of an unresponsive webhook, as soon as its requests have lasted for a second', async () => {
      let now = 0
      const slots = startSlots(memory, () => now)
      const waiting = await fill(slots, 'w', 'a', 60)
      expect(waiting.parked).to.equal(0)
      now = 1_500
      await waitFor(() => waiting.parked === 55)
      expect(await acquireMany(slots, 'w', 'a', 3)).to.deep.equal({ waiting: 0, parked: 3 })
    })
    it('park the rest of a long backlog, so that the offset can move', async () => {
      let now = 0
      const slots = startSlots({ ...memory, longestWaitMs: 800 }, () => now)
      const waiting = await fill(slots, 'w', 'a', 60)
      now = 900
      await waitFor(() => waiting.parked === 60)
    })
  })
  it('park a delivery that has waited too long for its webhook', async () => {
    const slots = startSlots()
    await Promise.all([1, 2, 3, 4].map(() => take(slots, 'w')))
    expect(await slots.acquire(hook('w'), tenant('a'))).to.equal('parked')
  })
  it('never park a delivery that only waits for the pool', async () => {
    let now = 0
    const slots = startSlots({ total: 4, perWebhook: 10 }, () => now)
    for (const t of ['a', 'b', 'c', 'd', 'e']) await makeFast(slots, t, t)
    const heldSlots = await Promise.all(['a', 'b', 'c', 'd'].map((t) => take(slots, t, t)))
    const fifth = slots.acquire(hook('e'), tenant('e'))
    now = 600
    const sixth = slots.acquire(hook('e'), tenant('e'))
    await new Promise((resolve) => setTimeout(resolve, 250)) // Two sweeps pass in this time.
    expect(await isSettled(fifth)).to.equal(false)
    end(heldSlots[0]!, { ok: true, duration_ms: 1 })
    expect(await fifth).to.have.property('release')
    expect(await isSettled(sixth)).to.equal(false)
  })
  it('serve waiting webhooks round robin, so that a long queue does not delay a short one', async () => {
    const slots = startSlots({ total: 1, perWebhook: 4, ...patient })
    const first = await take(slots, 'busy', 'a')
    const order: string[] = []
    const acquire = (w: string, t: string) =>
      slots.acquire(hook(w), tenant(t)).then((slot) => {
        order.push(w)
        if (slot !== 'parked') end(slot, { ok: true, duration_ms: 1 })
      })
    const all = [acquire('busy', 'a'), acquire('busy', 'a'), acquire('busy', 'a'), acquire('quiet', 'b')]
    end(first, { ok: true, duration_ms: 1 })
    await Promise.all(all)
    expect(order.indexOf('quiet')).to.be.lessThan(2)
  })
  it('serve waiting tenants round robin, so that many webhooks of one tenant do not delay another tenant', async () => {
    const slots = startSlots({ total: 1, perWebhook: 4, ...patient })
    const first = await take(slots, 'busy', 'a')
    const order: string[] = []
    const acquire = (w: string, t: string) =>
      slots.acquire(hook(w), tenant(t)).then((slot) => {
        order.push(t)
        if (slot !== 'parked') end(slot, { ok: true, duration_ms: 1 })
      })
    const all = [...Array.from({ length: 50 }, (_, n) => acquire(`w${n}`, 'a')), acquire('quiet', 'b')]
    end(first, { ok: true, duration_ms: 1 })
    await Promise.all(all)
    expect(order.indexOf('b')).to.be.lessThan(2)
  })
  it('park new deliveries behind parked rows, and let deliveries from the table pass', async () => {
    const slots = startSlots()
    slots.markParked(hook('w'), tenant('a'))
    expect(await slots.acquire(hook('w'), tenant('a'))).to.equal('parked')
    expect(await slots.acquire(hook('w'), tenant('a'), { fromTable: true })).to.have.property('release')
    slots.setParkedWebhooks(new Set())
    expect(await slots.acquire(hook('w'), tenant('a'))).to.have.property('release')
  })
  it('park all waiting deliveries when they close', async () => {
    const slots = startSlots({ ...patient })
    await Promise.all([1, 2, 3, 4].map(() => take(slots, 'w')))
    const waiting = slots.acquire(hook('w'), tenant('a'))
    slots.close()
    expect(await waiting).to.equal('parked')
    expect(await slots.acquire(hook('other'), tenant('a'))).to.equal('parked')
  })
})
