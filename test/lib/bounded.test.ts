import { expect } from 'chai'
import { createLimiter, mapBounded } from '../../src/lib/bounded.ts'

describe('bounded work', () => {
  it('runs at most the given number at once, and returns the results in order', async () => {
    let running = 0
    let mostAtOnce = 0
    const results = await mapBounded(
      Array.from({ length: 50 }, (_, i) => i),
      7,
      async (i) => {
        mostAtOnce = Math.max(mostAtOnce, ++running)
        await new Promise(setImmediate)
        running--
        return i * 2
      },
    )
    expect(mostAtOnce).to.equal(7)
    expect(results).to.deep.equal(Array.from({ length: 50 }, (_, i) => i * 2))
  })

  it('begins no more work after a failure, and throws the error once the work in flight has ended', async () => {
    let begun = 0
    let ended = 0
    const work = mapBounded(
      Array.from({ length: 50 }, (_, i) => i),
      3,
      async (i) => {
        begun++
        await new Promise(setImmediate)
        ended++
        if (i === 4) throw new Error('item 4 failed')
      },
    )
    const failure = await work.then(
      () => null,
      (error: unknown) => error,
    )
    expect(String(failure)).to.equal('Error: item 4 failed')
    expect(begun).to.be.below(9)
    expect(ended).to.equal(begun)
  })

  it('runs waiting work in the order of its arrival', async () => {
    const inSlot = createLimiter(2)
    const order: number[] = []
    await Promise.all(
      [0, 1, 2, 3, 4].map((i) =>
        inSlot(async () => {
          await new Promise(setImmediate)
          order.push(i)
          if (i === 1) throw new Error('item 1 failed')
        }).catch(() => {}),
      ),
    )
    expect(order).to.deep.equal([0, 1, 2, 3, 4])
  })
})
