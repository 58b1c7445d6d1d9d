import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import { createRefreshingCache } from '../../src/api/refreshing-cache.ts'

interface State {
  version: number
}

function world() {
  let version = 1
  let loads = 0
  let exists = true
  let failing = false
  let time = 0
  const copies = createRefreshingCache(
    async (_key: string): Promise<State | null> => {
      loads++
      if (failing) throw new Error('the database is away')
      return exists ? { version } : null
    },
    { now: () => time },
  )
  return {
    copies,
    loads: () => loads,
    at: (ms: number) => {
      time = ms
    },
    change: () => version++,
    remove: () => {
      exists = false
    },
    fail: (now: boolean) => {
      failing = now
    },
  }
}

describe('recent copies', () => {
  it('are given without a load while they are fresh, and never when they are a second old', async () => {
    const { copies, loads, at, change } = world()
    expect(copies.peek('a')).to.equal(undefined)
    expect(await copies.get('a')).to.deep.equal({ version: 1 })
    change()
    at(499)
    expect(copies.peek('a')).to.deep.equal({ version: 1 })
    expect(loads()).to.equal(1)
    at(1_000)
    expect(copies.peek('a')).to.equal(undefined)
    expect(await copies.get('a')).to.deep.equal({ version: 2 })
  })
  it('are renewed meanwhile once they are half through their age', async () => {
    const { copies, loads, at, change } = world()
    await copies.get('a')
    change()
    at(600)
    expect(copies.peek('a')).to.deep.equal({ version: 1 })
    await turn()
    expect(loads()).to.equal(2)
    expect(copies.peek('a')).to.deep.equal({ version: 2 })
    at(1_500)
    expect(copies.peek('a'), 'counted from the renewal').to.deep.equal({ version: 2 })
  })
  it('are loaded once for all who ask at the same time', async () => {
    const { copies, loads } = world()
    const found = await Promise.all([copies.get('a'), copies.get('a'), copies.get('a')])
    expect(found).to.deep.equal([{ version: 1 }, { version: 1 }, { version: 1 }])
    expect(loads()).to.equal(1)
  })
  it('are not made of what is not there, so that it is found as soon as it is', async () => {
    const { copies, loads, remove } = world()
    remove()
    expect(await copies.get('a')).to.equal(null)
    expect(await copies.get('a')).to.equal(null)
    expect(loads()).to.equal(2)
    expect(copies.has('a')).to.equal(false)
  })
  it('outlive a failed renewal until they are too old, and then whoever asks is told', async () => {
    const { copies, at, fail } = world()
    await copies.get('a')
    fail(true)
    at(700)
    expect(copies.peek('a')).to.deep.equal({ version: 1 })
    await turn()
    at(1_100)
    const failed = await copies.get('a').catch((error: unknown) => error)
    expect(failed).to.be.instanceOf(Error)
    fail(false)
    expect(await copies.get('a')).to.deep.equal({ version: 1 })
  })
})
