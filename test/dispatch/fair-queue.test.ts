import { expect } from 'chai'
import { FairQueue } from '../../src/dispatch/fair-queue.ts'
import type { TenantId } from '../../src/events/ids.ts'

const webhook = (name: string) => ({ name, tenant: name[0] as TenantId })
type Queue = FairQueue<ReturnType<typeof webhook>>
const allCanStart = { canTenantStart: () => true, canWebhookStart: () => true }

describe('the fair queue', () => {
  const queueOf = (...names: string[]) => {
    const queue: Queue = new FairQueue()
    const webhooks = new Map(names.map((name) => [name, webhook(name)]))
    for (const entry of webhooks.values()) queue.add(entry)
    return { queue, webhooks }
  }
  const take = (queue: Queue, count: number, rules: Parameters<Queue['next']>[0] = allCanStart) =>
    Array.from({ length: count }, () => queue.next(rules)?.name)

  it('goes round robin over tenants, and within each tenant over its webhooks', () => {
    const { queue } = queueOf('a1', 'a2', 'a3', 'b1')
    expect(take(queue, 6)).to.deep.equal(['a1', 'b1', 'a2', 'b1', 'a3', 'b1'])
  })
  it('skips tenants and webhooks that cannot start a request', () => {
    const { queue } = queueOf('a1', 'b1', 'b2', 'c1')
    const rules = { canTenantStart: (tenant: TenantId) => tenant !== 'a', canWebhookStart: ({ name }: { name: string }) => name !== 'b1' }
    expect(take(queue, 4, rules)).to.deep.equal(['b2', 'c1', 'b2', 'c1'])
  })
  it('returns nothing when no webhook waits or can start a request', () => {
    const { queue, webhooks } = queueOf('a1', 'b1')
    expect(queue.next({ ...allCanStart, canWebhookStart: () => false })).to.equal(undefined)
    for (const entry of webhooks.values()) queue.remove(entry)
    expect(queue.next(allCanStart)).to.equal(undefined)
  })
  it('keeps the place of a webhook that is added again', () => {
    const { queue, webhooks } = queueOf('a1', 'a2')
    queue.add(webhooks.get('a1')!)
    expect(take(queue, 3)).to.deep.equal(['a1', 'a2', 'a1'])
  })
  it('forgets a webhook that is removed', () => {
    const { queue, webhooks } = queueOf('a1', 'a2', 'b1')
    queue.remove(webhooks.get('b1')!)
    queue.remove(webhooks.get('a1')!)
    expect(take(queue, 2)).to.deep.equal(['a2', 'a2'])
  })
})
