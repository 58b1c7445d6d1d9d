import { expect } from 'chai'
import fc from 'fast-check'
import { createOffsets, createOffsetTracker } from '../../src/dispatch/offsets.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('the offset tracker', () => {
  it('stands at the first record that is not done, whatever the order in which they are done', () => {
    const records = fc.uniqueArray(fc.record({ offset: fc.bigInt({ min: 1n, max: 10_000n }), parts: fc.integer({ min: 0, max: 3 }) }), {
      selector: (r) => r.offset,
      maxLength: 30,
    })
    fc.assert(
      fc.property(records, fc.infiniteStream(fc.nat()), (unsorted, choices) => {
        const sorted = [...unsorted].sort((a, b) => (a.offset < b.offset ? -1 : 1))
        const tracker = createOffsetTracker(1n)
        const open = sorted.flatMap(({ offset, parts }) => {
          const done = tracker.add(offset, parts)
          return Array.from({ length: parts }, () => ({ offset, done }))
        })
        const left = new Map(sorted.map((r) => [r.offset, r.parts]))
        const check = () => {
          const first = sorted.find((r) => left.get(r.offset)! > 0)
          const before = first === undefined ? sorted : sorted.slice(0, sorted.indexOf(first))
          expect(tracker.next).to.equal(before.length === 0 ? 1n : before.at(-1)!.offset + 1n)
          expect(tracker.pending).to.equal(sorted.filter((r) => left.get(r.offset)! > 0).length)
        }
        check()
        while (open.length > 0) {
          const [part] = open.splice(choices.next().value % open.length, 1)
          left.set(part!.offset, left.get(part!.offset)! - 1)
          part!.done()
          check()
        }
      }),
    )
  })
})

describe('saved offsets', () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())

  it('begin at 0, never at the latest', async () => {
    expect(await createOffsets(db.pool, 'a').startAt(3)).to.equal(0n)
  })
  it('go only forwards: a save that lands late changes nothing', async () => {
    const saved = createOffsets(db.pool, 'b')
    await saved.save(
      new Map([
        [0, 10n],
        [1, 5n],
      ]),
    )
    await saved.save(new Map([[0, 7n]]))
    expect(await saved.startAt(0)).to.equal(10n)
    expect(await saved.saved()).to.deep.equal(
      new Map([
        [0, 10n],
        [1, 5n],
      ]),
    )
  })
  it('are kept apart for each bus', async () => {
    await createOffsets(db.pool, 'c').save(new Map([[0, 9n]]))
    expect(await createOffsets(db.pool, 'd').startAt(0)).to.equal(0n)
  })
})
