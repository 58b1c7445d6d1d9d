import { expect } from 'chai'
import { isFull } from '../support/is-full.ts'
import type { Task } from './tasks.ts'
import { inWorkers } from './workers.ts'

/** The number of seeds. Each is played in two profiles: without and with faults that may repeat a request. */
const seeds = isFull ? 25_000 : 500
const perTask = 250

describe(`the way of a message, in ${2 * seeds} schedules`, function () {
  this.timeout(3_600_000) // the model has a low priority, and may have to wait for the other lanes

  it('keeps the guarantees, whichever call fails and whichever process is killed or frozen', async () => {
    const tasks: Task[] = []
    for (let from = 1; from <= seeds; from += perTask) tasks.push({ seeds: [from, from + perTask - 1], profiles: ['benign', 'faulty'] })
    const outcomes = await inWorkers(tasks)
    expect(outcomes.flatMap(({ broken }) => (broken === null ? [] : [broken.text])).join('\n\n')).to.equal('')
    const requests = outcomes.reduce((sum, { posts }) => sum + posts, 0)
    const repeated = outcomes.reduce((sum, { repeated: repeatedCount }) => sum + repeatedCount, 0)
    // With fewer requests, the schedules would test too little.
    expect(requests).to.be.greaterThan(10 * seeds)
    expect(repeated).to.be.greaterThan(seeds / 50)
  })
  it('has the same result every time for the same seed', async () => {
    const task: Task = { seeds: [1, 20], profiles: ['faulty'] }
    const [first, second] = await inWorkers([task, task])
    expect(first).to.deep.equal(second)
  })
})
