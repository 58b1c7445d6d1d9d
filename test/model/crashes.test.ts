import { expect } from 'chai'
import { isFull } from '../support/is-full.ts'
import type { Task } from './tasks.ts'
import { inWorkers } from './workers.ts'

const processes = ['api', 'dispatcher1', 'dispatcher2', 'projector1', 'projector2']
/** The number of calls at which one task crashes a process. */
const span = 16
/** The number of first calls at which each process is crashed. The small plan has at most 600 calls of a process. */
const mostSeeds = isFull ? 600 : 16

describe('a crash at each call', function () {
  this.timeout(3_600_000) // the model has a low priority, and may have to wait for the other lanes

  it(`loses nothing when each process is killed or frozen before or after each of its first ${mostSeeds} calls`, async () => {
    const tasks: Task[] = []
    for (const process of processes)
      for (let from = 1; from <= mostSeeds; from += span)
        for (const seed of isFull ? [1, 2] : [2])
          tasks.push({ seeds: [seed, seed], profiles: ['faulty'], crashes: { process, calls: [from, from + span - 1] } })
    const outcomes = await inWorkers(tasks)
    expect(outcomes.flatMap(({ broken }) => (broken === null ? [] : [broken.text])).join('\n\n')).to.equal('')
    const fired = outcomes.reduce((sum, { crashes }) => sum + crashes, 0)
    expect(fired).to.be.greaterThan(mostSeeds * 4) // Some processes make fewer calls.
  })
})
