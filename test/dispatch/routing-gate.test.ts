import { expect } from 'chai'
import { createRoutingGate } from '../../src/dispatch/routing-gate.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import { silentLog } from '../../src/lib/log.ts'
import { waitFor } from '../support/wait-for.ts'

const at = (n: number) => String(n).padStart(19, '0') as Checkpoint

describe('the routing gate', () => {
  /** Returns a webhook cache whose checkpoint the test sets. */
  const standing = (checkpoint: Checkpoint | null = null) => {
    const readModel = { checkpoint, isBehind: false, refreshes: 0 }
    const cache = {
      checkpoint: null as Checkpoint | null,
      isBehind: false,
      async refresh() {
        readModel.refreshes++
        cache.checkpoint = readModel.checkpoint
        cache.isBehind = readModel.isBehind
      },
    }
    return { readModel, cache }
  }
  const settledSoon = (promise: Promise<unknown>) =>
    Promise.race([promise.then(() => true), new Promise((resolve) => setTimeout(() => resolve(false), 100))])

  it('opens once the read model of webhooks has reached the head of the start, and never queries the head again', async () => {
    const { readModel, cache } = standing()
    let headQueries = 0
    const head = async () => {
      headQueries++
      return at(5)
    }
    const gate = createRoutingGate({ head, webhookCache: cache, log: silentLog })
    const opening = gate.open()
    readModel.checkpoint = at(4)
    const before = readModel.refreshes
    await waitFor(() => readModel.refreshes > before + 2)
    expect(await settledSoon(opening)).to.equal(false)
    expect(gate.isOpen).to.equal(false)
    readModel.checkpoint = at(5)
    expect(await opening).to.equal(true)
    expect(gate.isOpen).to.equal(true)
    await gate.refresh()
    expect(headQueries).to.equal(1)
    await gate.stop()
  })
  it('opens for an empty store', async () => {
    const gate = createRoutingGate({ head: async () => null, webhookCache: standing().cache, log: silentLog })
    expect(await gate.open()).to.equal(true)
    await gate.stop()
  })
  it('refreshes until the read model has every acknowledged change, and is not open while it waits', async () => {
    const { readModel, cache } = standing(at(1))
    const gate = createRoutingGate({ head: async () => at(1), webhookCache: cache, log: silentLog })
    await gate.open()
    expect(await gate.refresh()).to.equal(true)
    readModel.isBehind = true
    const refreshed = gate.refresh()
    expect(await settledSoon(refreshed)).to.equal(false)
    await waitFor(() => !gate.isOpen)
    readModel.isBehind = false
    expect(await refreshed).to.equal(true)
    expect(gate.isOpen).to.equal(true)
    await gate.stop()
  })
  it('resolves waiting calls with false when it is stopped', async () => {
    const { readModel, cache } = standing()
    const gate = createRoutingGate({ head: async () => at(1), webhookCache: cache, log: silentLog })
    readModel.isBehind = true
    const waiting = [gate.open(), gate.refresh()]
    await gate.stop()
    expect(await Promise.all(waiting)).to.deep.equal([false, false])
    expect(await gate.open()).to.equal(false)
  })
  it('continues after a failed query of the head of the store', async () => {
    let fails = 2
    const head = async () => {
      if (fails-- > 0) throw new Error('away')
      return null
    }
    const gate = createRoutingGate({ head, webhookCache: standing().cache, log: silentLog })
    expect(await gate.open()).to.equal(true)
    await gate.stop()
  })
})
