import { setImmediate } from 'node:timers/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import { createPartitionView } from '../../src/adapters/postgres/message-bus-partition.ts'
import type { BusRecord } from '../../src/ports/message-bus.ts'

interface Step {
  kind: 'own' | 'foreign' | 'gap' | 'fetch' | 'turns'
  count: number
  /** Whether the next poll already returns the records. */
  polled: boolean
}

/** A log in memory: the committed records, and the last assigned offset. */
function memoryLog(options: { readLimit: number; failures: readonly boolean[] }) {
  const records: BusRecord[] = []
  let last = -1n
  let reads = 0
  return {
    records,
    get last() {
      return last
    },
    commit(count: number): BusRecord[] {
      const added = Array.from({ length: count }, (_, i) => ({ offset: last + 1n + BigInt(i), bytes: Buffer.from('12345678') }))
      records.push(...added)
      last += BigInt(count)
      return added
    },
    /** Leaves a gap of offsets, as a rollback does. */
    skip(count: number) {
      last += BigInt(count)
    },
    async read(known: bigint, through: bigint | null) {
      await setImmediate()
      if (options.failures[reads++]) throw new Error('the connection is lost')
      const matching = records.filter(({ offset }) => offset > known && (through === null || offset <= through))
      await setImmediate()
      return { records: matching.slice(0, options.readLimit), complete: matching.length < options.readLimit }
    },
    async settled() {
      await setImmediate()
      return last < 0n ? null : last
    },
  }
}

describe('the view of an owned partition', () => {
  const count = fc.integer({ min: 1, max: 6 })
  const polled = fc.boolean()
  const failures = fc.constantFrom<boolean[]>([], [], [], [], [], [true], [false, true])
  const ownProduce = fc.record({ kind: fc.constant('own' as const), count, polled })
  const gap = fc.record({ kind: fc.constant('gap' as const), count, polled })
  const foreign = fc.record({ kind: fc.constant('foreign' as const), count, polled })
  const pace = fc.record({ kind: fc.constantFrom('fetch' as const, 'turns' as const), count, polled })

  const run = async (steps: readonly Step[], startAt: number, log: ReturnType<typeof memoryLog>, polls: boolean) => {
    const lost = new AbortController()
    const view = createPartitionView({
      startAt: BigInt(startAt),
      lost: lost.signal,
      waitMs: 60,
      maxHeld: { records: 12, bytes: 1_000 },
      reader: { read: log.read, settled: log.settled, onError() {} },
    })
    const offsets: bigint[] = []
    const fetches: Promise<void>[] = []
    const fetch = async (max: number) => {
      const fetched = await view.fetch(max)
      expect(fetched.length).to.be.at.most(max)
      offsets.push(...fetched.map(({ offset }) => offset))
    }
    for (const step of steps)
      if (step.kind === 'fetch') fetches.push(fetch(step.count))
      else if (step.kind === 'turns') for (let i = 0; i < step.count; i++) await setImmediate()
      else {
        const previous = log.last
        if (step.kind === 'gap') log.skip(step.count)
        else {
          const added = log.commit(step.count)
          if (step.kind === 'own') view.passOn(previous, added)
        }
        if (step.polled) view.seen(log.last)
      }
    const expected = log.records.map(({ offset }) => offset).filter((offset) => offset >= BigInt(startAt))
    await Promise.all(fetches)
    for (let tries = 0; offsets.length < expected.length && tries < 60; tries++) {
      if (polls) view.seen(log.last)
      await fetch(7)
    }
    expect(offsets).to.deep.equal(expected)
    lost.abort()
  }

  it('returns every record once and in order, whether records are handed over or read', async () => {
    const steps = fc.array(fc.oneof(ownProduce, foreign, gap, pace), { maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(4), fc.integer({ min: 1, max: 8 }), failures, (s, startAt, readLimit, failing) =>
        run(s, startAt, memoryLog({ readLimit, failures: failing }), true),
      ),
      { numRuns: 150 },
    )
  })

  it('needs no poll for records that this process has produced or that existed at its start', async () => {
    const steps = fc.array(
      fc.oneof(
        ownProduce.map((step) => ({ ...step, polled: false })),
        pace,
      ),
      { maxLength: 30 },
    )
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(20), fc.integer({ min: 1, max: 8 }), (s, before, readLimit) => {
        const log = memoryLog({ readLimit, failures: [] })
        log.commit(before)
        return run(s, 0, log, false)
      }),
      { numRuns: 150 },
    )
  })
})
