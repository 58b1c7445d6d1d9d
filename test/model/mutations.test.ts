import { expect } from 'chai'
import { isFull } from '../support/is-full.ts'
import { mutations } from './mutations.ts'
import { inWorkers } from './workers.ts'

/** A mistake is to be seen within so many seeds. */
const most = isFull ? 2_500 : 500

describe('the model', function () {
  this.timeout(isFull ? 3_600_000 : 900_000)

  it(`sees ${mutations.length} mistakes, each by what it breaks`, async () => {
    const outcomes = await inWorkers(
      mutations.map(
        ({ name, from = 1, inProfile: profiles = ['benign', 'faulty'] }) =>
          ({ seeds: [from, from + most - 1], profiles, mutation: name }) as const,
      ),
    )
    const unseen = mutations.filter((_, i) => outcomes[i]?.broken === null).map(({ name }) => name)
    expect(unseen).to.deep.equal([])
  })
})
