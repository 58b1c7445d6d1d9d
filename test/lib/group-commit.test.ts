import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import { createGroupCommit, isDataError } from '../../src/lib/group-commit.ts'
import { waitFor } from '../support/wait-for.ts'

/** Returns a write function whose calls end when the test allows it. One call runs at a time. */
function heldWrites() {
  const groups: number[][] = []
  const gates: ((error?: Error) => void)[] = []
  return {
    groups,
    write: (items: readonly number[]) => {
      groups.push([...items])
      return new Promise<number[]>((resolve, reject) => {
        gates.push((error) => (error === undefined ? resolve(items.map((item) => item * 10)) : reject(error)))
      })
    },
    async finish(error?: Error) {
      const gate = await waitFor(() => gates.shift(), { what: 'a write' })
      gate(error)
    },
  }
}
const dataError = () => Object.assign(new Error('bad data'), { code: '22P05' })
const outcomeOf = (work: Promise<number>) =>
  work.then(
    (value) => value,
    (error: Error) => error.message,
  )

describe('group commit', () => {
  it('writes items together that are added together, and returns to each its own result', async () => {
    const groups: number[][] = []
    const group = createGroupCommit<number, number>({
      async write(items) {
        groups.push([...items])
        return items.map((item) => item * 10)
      },
    })
    expect(await Promise.all([3, 1, 2].map((item) => group.add(item)))).to.deep.equal([30, 10, 20])
    expect(groups).to.deep.equal([[3, 1, 2]])
  })
  it('collects the items that arrive during a write, and has one write in flight at a time', async () => {
    const writes = heldWrites()
    const group = createGroupCommit<number, number>({ write: writes.write })
    const first = group.add(1)
    await waitFor(() => writes.groups.length === 1)
    const furtherResults = [2, 3, 4].map((item) => group.add(item))
    await turn()
    await turn()
    expect(writes.groups).to.deep.equal([[1]])
    expect(group.size).to.equal(4)
    await writes.finish()
    expect(await first).to.equal(10)
    await writes.finish()
    expect(await Promise.all(furtherResults)).to.deep.equal([20, 30, 40])
    expect(writes.groups).to.deep.equal([[1], [2, 3, 4]])
    expect(group.size).to.equal(0)
  })
  it('bounds a group by count', async () => {
    const groups: number[][] = []
    const group = createGroupCommit<number, number>({
      maxCount: 2,
      async write(items) {
        groups.push([...items])
        return items
      },
    })
    await Promise.all([1, 2, 3, 4, 5].map((item) => group.add(item)))
    expect(groups).to.deep.equal([[1, 2], [3, 4], [5]])
  })
  it('bounds a group by bytes, but always writes at least one item', async () => {
    const groups: number[][] = []
    const group = createGroupCommit<number, number>({
      maxBytes: 10,
      bytesOf: (item) => item,
      async write(items) {
        groups.push([...items])
        return items
      },
    })
    await Promise.all([4, 6, 1, 25, 10].map((item) => group.add(item)))
    expect(groups).to.deep.equal([[4, 6], [1], [25], [10]])
  })
  it('refuses an item beyond the limit of waiting items, with the error of the caller', async () => {
    const writes = heldWrites()
    const group = createGroupCommit<number, number>({ write: writes.write, maxWaiting: 2, full: () => new Error('full') })
    const results = [group.add(1)]
    await waitFor(() => writes.groups.length === 1)
    results.push(group.add(2), group.add(3))
    expect(await outcomeOf(group.add(4))).to.equal('full')
    await writes.finish()
    await writes.finish()
    expect(await Promise.all(results)).to.deep.equal([10, 20, 30])
  })
  it('lets a faulty item fail alone, wherever it is in the group', async () => {
    for (let poison = 0; poison < 7; poison++) {
      const written: number[] = []
      const group = createGroupCommit<number, number>({
        isItemFault: isDataError,
        async write(items) {
          if (items.includes(poison)) throw dataError()
          written.push(...items)
          return items
        },
      })
      const outcomes = await Promise.all([0, 1, 2, 3, 4, 5, 6].map((item) => outcomeOf(group.add(item))))
      const expected = [0, 1, 2, 3, 4, 5, 6].map((item) => (item === poison ? 'bad data' : item))
      expect(outcomes).to.deep.equal(expected)
      expect(written.sort()).to.deep.equal([0, 1, 2, 3, 4, 5, 6].filter((item) => item !== poison))
    }
  })
  it('fails the whole group for an error that is no item’s fault, and continues with the next group', async () => {
    const writes = heldWrites()
    const group = createGroupCommit<number, number>({ write: writes.write, isItemFault: isDataError })
    const lostOutcomes = [1, 2].map((item) => outcomeOf(group.add(item)))
    await writes.finish(Object.assign(new Error('connection lost'), { code: '08006' }))
    expect(await Promise.all(lostOutcomes)).to.deep.equal(['connection lost', 'connection lost'])
    expect(writes.groups).to.deep.equal([[1, 2]])
    const next = group.add(3)
    await writes.finish()
    expect(await next).to.equal(30)
  })
  it('fails when a write returns fewer results than items', async () => {
    const group = createGroupCommit<number, number>({ write: async () => [1] })
    expect(await Promise.all([1, 2].map((item) => outcomeOf(group.add(item))))).to.deep.equal(
      Array(2).fill('2 items were written, but there are 1 results'),
    )
  })
  it('writes a patient item only after the linger time, together with others', async () => {
    const groups: number[][] = []
    const group = createGroupCommit<number, number>({
      lingerMs: 50,
      async write(items) {
        groups.push([...items])
        return items
      },
    })
    const started = performance.now()
    const first = group.add(1, { patient: true })
    for (let i = 0; i < 5; i++) await turn()
    expect(groups).to.deep.equal([])
    await Promise.all([first, group.add(2, { patient: true })])
    expect(performance.now() - started).to.be.greaterThan(45)
    expect(groups).to.deep.equal([[1, 2]])
  })
  it('does not linger when one waiting item is not patient', async () => {
    const groups: number[][] = []
    const group = createGroupCommit<number, number>({
      lingerMs: 60_000,
      async write(items) {
        groups.push([...items])
        return items
      },
    })
    const patient = group.add(1, { patient: true })
    await turn()
    await turn()
    expect(groups).to.deep.equal([])
    await group.add(2)
    await patient
    expect(groups).to.deep.equal([[1, 2]])
  })
  it('does not linger when enough items wait', async () => {
    const group = createGroupCommit<number, number>({ lingerMs: 60_000, enough: 2, write: async (items) => items })
    expect(await Promise.all([group.add(1, { patient: true }), group.add(2, { patient: true })])).to.deep.equal([1, 2])
  })
  it('does not linger when a group is full', async () => {
    const group = createGroupCommit<number, number>({ lingerMs: 60_000, maxCount: 2, write: async (items) => items })
    expect(await Promise.all([1, 2].map((item) => group.add(item, { patient: true })))).to.deep.equal([1, 2])
    const byBytes = createGroupCommit<number, number>({ lingerMs: 60_000, maxBytes: 5, bytesOf: (n) => n, write: async (items) => items })
    expect(await byBytes.add(9, { patient: true })).to.equal(9)
  })
  it('is idle when every item has been written', async () => {
    const writes = heldWrites()
    const group = createGroupCommit<number, number>({ write: writes.write, maxCount: 1 })
    await group.idle()
    const added = [group.add(1), group.add(2)]
    let isIdle = false
    const idle = group.idle().then(() => {
      isIdle = true
    })
    await writes.finish()
    await added[0]
    await turn()
    expect(isIdle).to.equal(false)
    await writes.finish()
    await idle
    expect(await Promise.all(added)).to.deep.equal([10, 20])
  })
  it('recognises an error that is an item’s own fault by its SQLSTATE', () => {
    const withCode = (code: string) => Object.assign(new Error('x'), { code })
    for (const code of ['22021', '23505', '54000']) expect(isDataError(withCode(code)), code).to.equal(true)
    for (const code of ['08006', '40P01', '57014', '53300', 'ECONNRESET']) expect(isDataError(withCode(code)), code).to.equal(false)
    expect(isDataError(new Error('x'))).to.equal(false)
    expect(isDataError('22021')).to.equal(false)
  })
})
