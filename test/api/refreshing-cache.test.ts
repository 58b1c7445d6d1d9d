import { setImmediate as eventLoopTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { createRefreshingCache } from '../../src/api/refreshing-cache.ts'

interface State {
  version: number
}

function createWorld() {
  let version = 1
  let loads = 0
  let exists = true
  let failing = false
  let time = 0
  const cache = createRefreshingCache(
    async (_key: string): Promise<State | null> => {
      loads++
      if (failing) throw new Error('the database is away')
      return exists ? { version } : null
    },
    { now: () => time },
  )
  return {
    cache,
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

describe('a refreshing cache', () => {
  it('returns fresh values without a load, and never a value that is a second old', async () => {
    const { cache, loads, at, change } = createWorld()
    expect(cache.peek('a')).to.equal(undefined)
    expect(await cache.get('a')).to.deep.equal({ version: 1 })
    change()
    at(499)
    expect(cache.peek('a')).to.deep.equal({ version: 1 })
    expect(loads()).to.equal(1)
    at(1_000)
    expect(cache.peek('a')).to.equal(undefined)
    expect(await cache.get('a')).to.deep.equal({ version: 2 })
  })
  it('refreshes a value in the background after half of its maximum age', async () => {
    const { cache, loads, at, change } = createWorld()
    await cache.get('a')
    change()
    at(600)
    expect(cache.peek('a')).to.deep.equal({ version: 1 })
    await eventLoopTurn()
    expect(loads()).to.equal(2)
    expect(cache.peek('a')).to.deep.equal({ version: 2 })
    at(1_500)
    expect(cache.peek('a'), 'the age counts from the refresh').to.deep.equal({ version: 2 })
  })
  it('loads a value once for all concurrent readers', async () => {
    const { cache, loads } = createWorld()
    const values = await Promise.all([cache.get('a'), cache.get('a'), cache.get('a')])
    expect(values).to.deep.equal([{ version: 1 }, { version: 1 }, { version: 1 }])
    expect(loads()).to.equal(1)
  })
  it('does not cache a missing value, so that it is found as soon as it exists', async () => {
    const { cache, loads, remove } = createWorld()
    remove()
    expect(await cache.get('a')).to.equal(null)
    expect(await cache.get('a')).to.equal(null)
    expect(loads()).to.equal(2)
    expect(cache.has('a')).to.equal(false)
  })
  it('keeps a value after a failed refresh until the value is too old, and then reports the error', async () => {
    const { cache, at, fail } = createWorld()
    await cache.get('a')
    fail(true)
    at(700)
    expect(cache.peek('a')).to.deep.equal({ version: 1 })
    await eventLoopTurn()
    at(1_100)
    const failed = await cache.get('a').catch((error: unknown) => error)
    expect(failed).to.be.instanceOf(Error)
    fail(false)
    expect(await cache.get('a')).to.deep.equal({ version: 1 })
  })
})
