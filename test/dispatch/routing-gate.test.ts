import { expect } from 'chai'
import { createRoutingGate } from '../../src/dispatch/routing-gate.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import { silentLog } from '../../src/lib/log.ts'
import { waitFor } from '../support/wait-for.ts'

const at = (n: number) => String(n).padStart(19, '0') as Checkpoint

describe('the gate of routing', () => {
  it('opens when the read model of webhooks has reached the head, and not before', async () => {
    let reached: Checkpoint | null = null
    const looks: number[] = []
    const g = createRoutingGate({
      head: async () => at(5),
      reached: async () => {
        looks.push(1)
        return reached
      },
      log: silentLog,
    })
    let passed = false
    const through = g.open().then(() => {
      passed = true
    })
    await waitFor(() => looks.length > 3)
    reached = at(4)
    await waitFor(() => looks.length > 6)
    expect(passed).to.equal(false)
    reached = at(5)
    await through
    expect(g.isOpen).to.equal(true)
    await g.stop()
  })
  it('is open for a store that holds nothing yet', async () => {
    const g = createRoutingGate({ head: async () => null, reached: async () => null, log: silentLog })
    await g.open()
    await g.stop()
  })
  it('closes when the read model stays behind, since it must not look like "no webhook", and opens when it has caught up', async () => {
    let head = at(1)
    let reached = at(1)
    const g = createRoutingGate({ head: async () => head, reached: async () => reached, log: silentLog })
    await g.open()
    head = at(9)
    await waitFor(() => !g.isOpen)
    let passed = false
    const through = g.open().then(() => {
      passed = true
    })
    expect(passed).to.equal(false)
    reached = at(9)
    await through
    await g.stop()
  })
  it('tells whoever waits when it is stopped while it is closed', async () => {
    const g = createRoutingGate({ head: async () => at(1), reached: async () => null, log: silentLog })
    const waiting = g.open()
    await g.stop()
    expect(await waiting).to.equal(false)
    expect(await g.open()).to.equal(false)
  })
  it('goes on looking when the store fails to answer', async () => {
    let fails = 2
    const g = createRoutingGate({
      head: async () => {
        if (fails-- > 0) throw new Error('away')
        return null
      },
      reached: async () => null,
      log: silentLog,
    })
    await g.open()
    expect(fails).to.be.lessThan(1)
    await g.stop()
  })
})
