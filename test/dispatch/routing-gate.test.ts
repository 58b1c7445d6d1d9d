import { expect } from 'chai'
import { createRoutingGate } from '../../src/dispatch/routing-gate.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import { silentLog } from '../../src/lib/log.ts'
import { waitFor } from '../support/wait-for.ts'

const at = (n: number) => String(n).padStart(19, '0') as Checkpoint

describe('the routing gate', () => {
  it('opens once the read model of webhooks has reached the head', async () => {
    let reached: Checkpoint | null = null
    const looks: number[] = []
    const gate = createRoutingGate({
      head: async () => at(5),
      reached: async () => {
        looks.push(1)
        return reached
      },
      log: silentLog,
    })
    let passed = false
    const through = gate.open().then(() => {
      passed = true
    })
    await waitFor(() => looks.length > 3)
    reached = at(4)
    await waitFor(() => looks.length > 6)
    expect(passed).to.equal(false)
    reached = at(5)
    await through
    expect(gate.isOpen).to.equal(true)
    await gate.stop()
  })
  it('opens for an empty store', async () => {
    const gate = createRoutingGate({ head: async () => null, reached: async () => null, log: silentLog })
    expect(await gate.open()).to.equal(true)
    await gate.stop()
  })
  it('closes while the read model stays behind, and opens when it has caught up', async () => {
    let head = at(1)
    let reached = at(1)
    const gate = createRoutingGate({ head: async () => head, reached: async () => reached, log: silentLog })
    await gate.open()
    head = at(9)
    await waitFor(() => !gate.isOpen)
    let passed = false
    const through = gate.open().then(() => {
      passed = true
    })
    expect(passed).to.equal(false)
    reached = at(9)
    await through
    await gate.stop()
  })
  it('resolves with false for those who wait when it is stopped', async () => {
    const gate = createRoutingGate({ head: async () => at(1), reached: async () => null, log: silentLog })
    const waiting = gate.open()
    await gate.stop()
    expect(await waiting).to.equal(false)
    expect(await gate.open()).to.equal(false)
  })
  it('goes on checking when the store fails', async () => {
    let fails = 2
    const gate = createRoutingGate({
      head: async () => {
        if (fails-- > 0) throw new Error('away')
        return null
      },
      reached: async () => null,
      log: silentLog,
    })
    await gate.open()
    expect(fails).to.be.lessThan(1)
    await gate.stop()
  })
})
