import { expect } from 'chai'
import { Countdown } from '../../src/lib/countdown.ts'

describe('a countdown', () => {
  const started = (parts: number) => {
    const ends: boolean[] = []
    return { ends, countdown: new Countdown(parts, (allDone) => ends.push(allDone)) }
  }
  it('ends once, when its last part ends', () => {
    const { ends, countdown } = started(2)
    countdown.end()
    expect(ends).to.deep.equal([])
    countdown.end()
    countdown.end()
    expect(ends).to.deep.equal([true])
  })
  it('reports whether all parts have succeeded', () => {
    const { ends, countdown } = started(3)
    countdown.end()
    countdown.end(false)
    countdown.end()
    expect(ends).to.deep.equal([false])
  })
  it('ends at once if it has no parts', () => {
    expect(started(0).ends).to.deep.equal([true])
  })
})
