import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { isFull } from '../support/is-full.ts'
import { src } from './code.ts'
import { plantedMistakes } from './planted-mistakes.ts'
import { markersIn } from './planting.ts'
import { inWorkers } from './workers.ts'

/** A mistake must be found within this many seeds. */
const maxSeeds = isFull ? 2_500 : 500

describe('the model', function () {
  this.timeout(3_600_000) // the model has a low priority, and may have to wait for the other lanes

  it(`finds ${plantedMistakes.length} planted mistakes, each by an invariant that it breaks`, async () => {
    const outcomes = await inWorkers(
      plantedMistakes.map(
        ({ name, from = 1, profiles = ['benign', 'faulty'] }) => ({ seeds: [from, from + maxSeeds - 1], profiles, mistake: name }) as const,
      ),
    )
    const missed = plantedMistakes.filter((_, i) => outcomes[i]?.broken === null).map(({ name }) => name)
    expect(missed).to.deep.equal([])
  })
  it('has a planted mistake for every marked line of src', () => {
    const marked = globSync('**/*.ts', { cwd: src }).flatMap((file) => markersIn(readFileSync(join(src, file), 'utf8')))
    const usedMarks = plantedMistakes.flatMap(({ changes }) => changes.flatMap(({ marker = [] }) => marker))
    expect(marked.sort()).to.deep.equal(usedMarks.sort())
  })
})
