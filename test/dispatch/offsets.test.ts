import { expect } from 'chai'
import fc from 'fast-check'
import { createOffsets, createOffsetTracker } from '../../src/dispatch/offsets.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('the offset tracker', () => {
  it('is at the first record that is not done, in whatever order records are done', () => {
    const offsets = fc.uniqueArray(fc.bigInt({ min: 1n, max: 10_000n }), { maxLength: 30 })
    fc.assert(
      fc.property(offsets, fc.infiniteStream(fc.nat()), (unsorted, choices) => {
        const sorted = [...unsorted].sort((a, b) => (a < b ? -1 : 1))
        const tracker = createOffsetTracker(1n)
        const open = sorted.map((offset) => ({ offset, done: tracker.add(offset) }))
        const undone = new Set(sorted)
        const check = () => {
          const first = sorted.findIndex((offset) => undone.has(offset))
          const before = first === -1 ? sorted : sorted.slice(0, first)
          expect(tracker.next).to.equal(before.length === 0 ? 1n : before.at(-1)! + 1n)
        }
        check()
        while (open.length > 0) {
          const [record] = open.splice(choices.next().value % open.length, 1)
          undone.delete(record!.offset)
          record!.done()
          check()
        }
      }),
    )
  })
  it('changes nothing when a record is marked as done twice', () => {
    const tracker = createOffsetTracker(0n)
    const [first, second] = [0n, 1n].map((offset) => tracker.add(offset))
    second!()
    second!()
    expect(tracker.next).to.equal(0n)
    first!()
    first!()
    expect(tracker.next).to.equal(2n)
  })
})

describe('saved offsets', () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())

  it('start at 0, and never at the end of the partition', async () => {
    expect(await createOffsets(db.pool, 'a').startAt(3)).to.equal(0n)
  })
  it('never decrease: a save that takes effect late changes nothing', async () => {
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
  it('are separate for each bus', async () => {
    await createOffsets(db.pool, 'c').save(new Map([[0, 9n]]))
    expect(await createOffsets(db.pool, 'd').startAt(0)).to.equal(0n)
  })
})
