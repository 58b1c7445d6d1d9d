import { expect } from 'chai'
import { createBackoff, keepRunning, pause, untilDone } from '../../src/lib/retry.ts'
import { createWake } from '../../src/lib/wake.ts'

const anHour = 3_600_000

describe('pause', () => {
  it('ends at once and without an error when its signal aborts or has aborted', async () => {
    const stop = new AbortController()
    const paused = pause(anHour, stop.signal)
    stop.abort()
    await paused
    await pause(anHour, stop.signal)
  })
})

describe('backoff', () => {
  it('doubles up to its maximum, and starts again at its minimum after a reset', () => {
    const delays = createBackoff(10, 50)
    expect(Array.from({ length: 5 }, () => delays.next())).to.deep.equal([10, 20, 40, 50, 50])
    delays.reset()
    expect(delays.next()).to.equal(10)
  })
})

describe('untilDone', () => {
  it('repeats failing work until it succeeds, and reports each failure', async () => {
    let tries = 0
    const reported: string[] = []
    const result = await untilDone(
      async () => {
        if (++tries < 3) throw new Error(`failure ${tries}`)
        return 'done'
      },
      { onError: (error) => reported.push((error as Error).message) },
    )
    expect(result).to.equal('done')
    expect(reported).to.deep.equal(['failure 1', 'failure 2'])
  })
  it('throws a final error, or the last error when its signal has aborted', async () => {
    const failing = (signal?: AbortSignal, final = false) =>
      untilDone(() => Promise.reject(new Error('failure')), {
        ...(signal === undefined ? {} : { signal }),
        onError() {},
        isFinal: () => final,
      }).catch((error: Error) => error.message)
    expect(await failing(undefined, true)).to.equal('failure')
    expect(await failing(AbortSignal.abort())).to.equal('failure')
  })
})

describe('keepRunning', () => {
  it('runs its body again after it returned and after it failed, until its signal aborts', async () => {
    const stop = new AbortController()
    const reported: number[] = []
    let runCount = 0
    await keepRunning(
      async () => {
        if (++runCount === 5) stop.abort()
        if (runCount === 2 || runCount === 3) throw new Error('failure')
      },
      { signal: stop.signal, onError: (_, delayMs) => reported.push(delayMs) },
    )
    expect(runCount).to.equal(5)
    expect(reported).to.deep.equal([50, 100])
  })
  it('does not report a failure that is caused by the abort', async () => {
    const stop = new AbortController()
    const reported: unknown[] = []
    await keepRunning(
      async () => {
        stop.abort()
        throw new Error('aborted')
      },
      { signal: stop.signal, onError: (error) => reported.push(error) },
    )
    expect(reported).to.deep.equal([])
  })
})

describe('a wake', () => {
  it('wakes a waiter at once', async () => {
    const latch = createWake()
    const waiting = latch.wait(anHour)
    latch.notify()
    await waiting
  })
  it('keeps a notification for the next waiter, and only for that one', async () => {
    const latch = createWake()
    latch.notify()
    latch.notify()
    await latch.wait(anHour)
    const started = performance.now()
    await latch.wait(20)
    expect(performance.now() - started).to.be.greaterThan(15)
  })
  it('ends no later than after its time or when its signal aborts', async () => {
    const latch = createWake()
    await latch.wait(1)
    const stop = new AbortController()
    const waiting = latch.wait(anHour, stop.signal)
    stop.abort()
    await waiting
    await latch.wait(anHour, stop.signal)
  })
})
