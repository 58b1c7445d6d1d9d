import { performance } from 'node:perf_hooks'
import { expect } from 'chai'
import fc from 'fast-check'
import { createIntake } from '../../src/adapters/kafka/intake.ts'
import { createSessionLease } from '../../src/adapters/kafka/session-lease.ts'
import type { BusRecord } from '../../src/ports/message-bus.ts'
import { waitFor } from '../support/wait-for.ts'

const recordAt = (offset: number): BusRecord => ({ offset: BigInt(offset), bytes: Buffer.from('12345678') })

describe('the intake of a partition', () => {
  it('returns each record once and in order, even if the client fetches records again', async () => {
    const step = fc.record({ back: fc.nat(8), count: fc.nat(12), fetch: fc.nat(9) })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(5), async (steps, startAt) => {
        const lost = new AbortController()
        let paused = false
        const intake = createIntake({
          startAt: BigInt(startAt),
          lost: lost.signal,
          waitMs: 0,
          full: { records: 10, bytes: 1_000 },
          onRoom() {
            paused = false
          },
        })
        const offsets: bigint[] = []
        for (const { back, count, fetch } of steps) {
          if (!paused) {
            const from = Math.max(0, Number(intake.next) - back)
            expect(
              intake.add(
                BigInt(from),
                Array.from({ length: count }, (_, i) => recordAt(from + i)),
              ),
            ).to.equal(true)
            paused = intake.isFull
          }
          for (const { offset } of await intake.fetch(fetch)) offsets.push(offset)
        }
        while (BigInt(startAt + offsets.length) < intake.next) for (const { offset } of await intake.fetch(3)) offsets.push(offset)
        expect(offsets).to.deep.equal(offsets.map((_, i) => BigInt(startAt + i)))
        expect(paused).to.equal(false)
      }),
      { numRuns: 100 },
    )
  })

  it('takes no records after a gap, and returns none after the partition is lost', async () => {
    const lost = new AbortController()
    const intake = createIntake({ startAt: 5n, lost: lost.signal, waitMs: 5_000, full: { records: 10, bytes: 1_000 }, onRoom() {} })
    expect(intake.add(6n, [recordAt(6)])).to.equal(false)
    const waiting = intake.fetch(10)
    lost.abort()
    expect(await waiting).to.deep.equal([])
    intake.add(5n, [recordAt(5)])
    expect(await intake.fetch(10)).to.deep.equal([])
  })
})

describe('the lease of a session', () => {
  it('ends by itself, and its time counts from the sending of the heartbeat', async () => {
    let lapses = 0
    const hold = createSessionLease({ sessionTimeoutMs: 2_000, onLapse: () => lapses++ })
    expect(hold.isHeld()).to.equal(false)
    const sentAt = performance.now() - 1_000
    hold.renew(sentAt)
    expect(hold.isHeld()).to.equal(true)
    await waitFor(() => lapses === 1)
    expect(hold.isHeld()).to.equal(false)
    expect(performance.now() - sentAt).to.be.at.least(1_750)
  })

  it('stays lost after it has lapsed, even if no timer has run before the next heartbeat', () => {
    let lapses = 0
    const hold = createSessionLease({ sessionTimeoutMs: 500, onLapse: () => lapses++ })
    hold.renew(performance.now())
    const until = performance.now() + 550
    while (performance.now() < until); // the loop keeps the process busy, so that no timer can run
    expect(hold.isHeld()).to.equal(false)
    hold.renew(performance.now())
    expect(lapses).to.equal(1)
    expect(hold.isHeld()).to.equal(true)
    hold.end()
    expect(hold.isHeld()).to.equal(false)
  })

  it('lapses at once when the response to the heartbeat comes too late', () => {
    let lapses = 0
    const hold = createSessionLease({ sessionTimeoutMs: 500, onLapse: () => lapses++ })
    hold.renew(performance.now() - 600)
    expect(lapses).to.equal(1)
    expect(hold.isHeld()).to.equal(false)
  })
})
