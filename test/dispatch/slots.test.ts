import { expect } from 'chai'
import { createSlots, type Slot, type SlotLimits } from '../../src/dispatch/slots.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import { waitFor } from '../support/wait-for.ts'

const limits: SlotLimits = { total: 16, perWebhook: 4, perQuickWebhook: 4, dispatchers: () => 1, queue: 5, queueMs: 60 }
const hook = (name: string) => name as WebhookId
const tenant = (name: string) => name as TenantId

const end = (slot: Slot, outcome: { ok: boolean; duration_ms: number }) => {
  slot.answered(outcome)
  slot.release()
}

describe('slots', () => {
  let open: (ReturnType<typeof createSlots> & { stop(): void })[] = []
  const make = (change: Partial<SlotLimits> = {}, now?: () => number) => {
    const made = createSlots({ ...limits, ...change }, now)
    open.push(made)
    return made
  }
  afterEach(() => {
    for (const s of open) s.stop()
    open = []
  })
  const take = async (s: ReturnType<typeof createSlots>, webhook: string, of = 'a'): Promise<Slot> => {
    const slot = await s.enter(hook(webhook), tenant(of))
    if (slot === 'parked') throw new Error('parked')
    return slot
  }
  /** Makes a webhook known as fast. */
  const warm = async (s: ReturnType<typeof createSlots>, webhook: string, of = 'a') =>
    end(await take(s, webhook, of), { ok: true, duration_ms: 5 })
  const settled = async (promise: Promise<unknown>) =>
    Promise.race([promise.then(() => true), new Promise((r) => setImmediate(() => r(false)))])

  it('bound the requests of one webhook; the next goes when one ends', async () => {
    const s = make()
    const held = await Promise.all([1, 2, 3, 4].map(() => take(s, 'w')))
    const fifth = s.enter(hook('w'), tenant('a'))
    expect(await settled(fifth)).to.equal(false)
    end(held[0]!, { ok: true, duration_ms: 1 })
    expect(await fifth).to.not.equal('parked')
    expect(s.inFlight).to.equal(4)
  })
  it('free a webhook when its answer has come, and the pool only when the attempt is recorded', async () => {
    const s = make({ total: 8, perWebhook: 2, queueMs: 10_000 })
    for (const t of ['a', 'b', 'c', 'd']) await warm(s, t, t)
    const [first] = await Promise.all(['a', 'a', 'b', 'b', 'c', 'c', 'd'].map((t) => take(s, t, t)))
    first?.answered({ ok: true, duration_ms: 1 })
    expect(await settled(s.enter(hook('a'), tenant('a')))).to.equal(true)
    const next = s.enter(hook('d'), tenant('d'))
    expect(await settled(next)).to.equal(false)
    first?.release()
    expect(await settled(next)).to.equal(true)
    first?.release()
    expect(s.inFlight).to.equal(8)
  })
  it('have rows claimed ahead by what a webhook does, none where it does not do well, and give them back when it stops', async () => {
    let at = 0
    const s = make({ total: 64, perWebhook: 4, queue: 500 }, () => at)
    const answering = async (webhook: string, duration_ms: number) => {
      for (let i = 0; i < 9; i++) end(await take(s, webhook, webhook), { ok: true, duration_ms })
      return s.room(hook(webhook), tenant(webhook))
    }
    expect(await answering('quick', 1)).to.equal(4 + 300)
    expect(await answering('usual', 20)).to.equal(4 + 20)
    expect(await answering('slow', 900)).to.equal(4 + 1)
    const ahead = Array.from({ length: 24 }, () => s.enter(hook('usual'), tenant('usual'), { fromTable: true }))
    const begun = await Promise.all(ahead.slice(0, 4))
    expect(s.room(hook('usual'), tenant('usual')), 'more than half of them wait').to.equal(0)
    at = 1_500 // none of the four has been answered
    for (const one of ahead.slice(4)) expect(await one).to.equal('parked')
    expect(s.room(hook('usual'), tenant('usual'))).to.equal(0)
    for (const slot of begun) end(slot as Slot, { ok: false, duration_ms: 1_500 })
  })
  describe('of a webhook that answers quickly', () => {
    const quick = { ok: true, duration_ms: 20 }
    /** As many as may begin; the next, which waits, ends at once when its turn comes. */
    const begin = async (s: ReturnType<typeof createSlots>, webhook = 'w', of = 'a'): Promise<Slot[]> => {
      const begun: Slot[] = []
      for (;;) {
        const next = s.enter(hook(webhook), tenant(of)).then((slot) => slot as Slot)
        if (await settled(next)) begun.push(await next)
        else {
          void next.then((slot) => end(slot, quick))
          return begun
        }
      }
    }
    it('are more while it does, and no more than before once it is slow', async () => {
      const s = make({ total: 200, perQuickWebhook: 8, queueMs: 10_000 })
      for (const most of [4, 8, 8]) {
        const held = await begin(s)
        expect(held).to.have.length(most)
        for (const slot of held) end(slot, quick)
      }
      for (let i = 0; i < 9; i++) end(await take(s, 'w'), { ok: true, duration_ms: 500 })
      expect(await begin(s)).to.have.length(4)
    })
    it('stay most of them when it refuses one in ten, and not when it refuses half', async () => {
      for (const [everyNth, min, max] of [
        [10, 8, 16],
        [2, 4, 7],
      ] as const) {
        const s = make({ total: 200, perQuickWebhook: 16, queueMs: 10_000 })
        let answered = 0
        for (let round = 0; round < 40; round++)
          for (const slot of await begin(s)) end(slot, { ok: ++answered % everyNth !== 0, duration_ms: 20 })
        expect((await begin(s)).length).to.be.within(min, max)
      }
    })
    it('are no more than those of any other while its tenant, or all, have much under way: several that hang at once leave the rest enough', async () => {
      const s = make({ total: 200, perQuickWebhook: 16, queueMs: 10_000 }) // a tenant has 50
      const known = ['w1', 'w2', 'w3'].flatMap((webhook) => ['a', 'b', 'c'].map((of) => [`${webhook}-${of}`, of] as const))
      for (const [webhook, of] of known) for (let i = 0; i < 20; i++) end(await take(s, webhook, of), quick)
      const begun = new Map<string, number>()
      for (const [webhook, of] of known) begun.set(webhook, (await begin(s, webhook, of)).length)
      expect([...begun.values()]).to.deep.equal([16, 16, 16, 4, 4, 4, 4, 4, 4])
    })
  })
  it('share a webhook between the live dispatchers', async () => {
    const s = make({ dispatchers: () => 2 })
    await Promise.all([1, 2].map(() => take(s, 'w')))
    expect(await settled(s.enter(hook('w'), tenant('a')))).to.equal(false)
  })
  it('give a tenant no more than a quarter of the pool', async () => {
    const s = make()
    for (const w of ['w1', 'w2', 'w3']) await warm(s, w)
    await Promise.all([take(s, 'w1'), take(s, 'w1'), take(s, 'w2'), take(s, 'w2')])
    expect(await settled(s.enter(hook('w3'), tenant('a')))).to.equal(false)
    expect(await take(s, 'other', 'b')).to.have.property('release')
  })
  it('give webhooks that are not known to be fast no more than half of the pool', async () => {
    const s = make()
    await warm(s, 'good', 'z')
    for (const t of ['a', 'b']) for (let i = 0; i < 4; i++) await take(s, `hanging-${t}`, t)
    expect(await settled(s.enter(hook('hanging-c'), tenant('c')))).to.equal(false)
    expect(await settled(s.enter(hook('good'), tenant('z')))).to.equal(true)
  })
  it('count a webhook as slow whose requests under way have lasted long, before they end', async () => {
    let now = 0
    const s = make({ queueMs: 10_000 }, () => now)
    for (const t of ['a', 'b', 'c']) await warm(s, `w-${t}`, t)
    for (const t of ['a', 'b']) for (let i = 0; i < 4; i++) await take(s, `w-${t}`, t)
    now = 2_000
    await waitFor(() => s.room(hook('new'), tenant('d')) === 0)
    expect(s.room(hook('w-c'), tenant('c'))).to.be.greaterThan(0)
  })
  it('let one request at a time probe a webhook that has failed five times, and all again after a success', async () => {
    const s = make()
    for (let i = 0; i < 5; i++) end(await take(s, 'w'), { ok: false, duration_ms: 1 })
    const probe = await take(s, 'w')
    expect(await settled(s.enter(hook('w'), tenant('a')))).to.equal(false)
    end(probe, { ok: true, duration_ms: 1 })
    await waitFor(() => s.inFlight === 1)
    expect(s.room(hook('w'), tenant('a'))).to.be.greaterThan(1)
  })
  it("park what finds its webhook's queue full", async () => {
    const s = make()
    await Promise.all([1, 2, 3, 4].map(() => take(s, 'w')))
    const waiting = [1, 2, 3, 4, 5].map(() => s.enter(hook('w'), tenant('a')))
    expect(await s.enter(hook('w'), tenant('a'))).to.equal('parked')
    expect(await settled(Promise.all(waiting))).to.equal(false)
    expect(s.waiting).to.equal(5)
  })
  it('park what has waited too long for its webhook', async () => {
    const s = make()
    await Promise.all([1, 2, 3, 4].map(() => take(s, 'w')))
    expect(await s.enter(hook('w'), tenant('a'))).to.equal('parked')
  })
  it('never park what waits for the whole pool alone', async () => {
    let now = 0
    const s = make({ total: 4, perWebhook: 10 }, () => now)
    for (const t of ['a', 'b', 'c', 'd', 'e']) await warm(s, t, t)
    const held = await Promise.all(['a', 'b', 'c', 'd'].map((t) => take(s, t, t)))
    const fifth = s.enter(hook('e'), tenant('e'))
    now = 600
    const sixth = s.enter(hook('e'), tenant('e'))
    await new Promise((resolve) => setTimeout(resolve, 250)) // two sweeps pass
    expect(await settled(fifth)).to.equal(false)
    end(held[0]!, { ok: true, duration_ms: 1 })
    expect(await fifth).to.have.property('release')
    expect(await settled(sixth)).to.equal(false)
  })
  it('serve waiting webhooks in turn: a long queue does not stand in front of a short one', async () => {
    const s = make({ total: 1, perWebhook: 4, queueMs: 10_000 })
    const first = await take(s, 'busy', 'a')
    const order: string[] = []
    const enter = (w: string, t: string) =>
      s.enter(hook(w), tenant(t)).then((slot) => {
        order.push(w)
        if (slot !== 'parked') end(slot, { ok: true, duration_ms: 1 })
      })
    const all = [enter('busy', 'a'), enter('busy', 'a'), enter('busy', 'a'), enter('quiet', 'b')]
    end(first, { ok: true, duration_ms: 1 })
    await Promise.all(all)
    expect(order.indexOf('quiet')).to.be.lessThan(2)
  })
  it('serve waiting tenants in turn: many webhooks of one do not stand in front of the one of another', async () => {
    const s = make({ total: 1, perWebhook: 4, queueMs: 10_000 })
    const first = await take(s, 'busy', 'a')
    const order: string[] = []
    const enter = (w: string, t: string) =>
      s.enter(hook(w), tenant(t)).then((slot) => {
        order.push(t)
        if (slot !== 'parked') end(slot, { ok: true, duration_ms: 1 })
      })
    const all = [...Array.from({ length: 50 }, (_, n) => enter(`w${n}`, 'a')), enter('quiet', 'b')]
    end(first, { ok: true, duration_ms: 1 })
    await Promise.all(all)
    expect(order.indexOf('b')).to.be.lessThan(2)
  })
  it('send new deliveries behind parked rows, and let those of the table pass', async () => {
    const s = make()
    s.setParked(hook('w'), tenant('a'))
    expect(await s.enter(hook('w'), tenant('a'))).to.equal('parked')
    expect(await s.enter(hook('w'), tenant('a'), { fromTable: true })).to.have.property('release')
    s.parkedAre(new Set())
    expect(await s.enter(hook('w'), tenant('a'))).to.have.property('release')
  })
  it('tell whoever waits to park when they close', async () => {
    const s = make({ queueMs: 10_000 })
    await Promise.all([1, 2, 3, 4].map(() => take(s, 'w')))
    const waiting = s.enter(hook('w'), tenant('a'))
    s.close()
    expect(await waiting).to.equal('parked')
    expect(await s.enter(hook('other'), tenant('a'))).to.equal('parked')
  })
})
