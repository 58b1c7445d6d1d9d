import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { capacityOf, createRandom, type Policy, type Setting, simulate } from '../../bench/cell-model.ts'
import { standard, withBlocks } from '../../bench/cells.ts'

const policies: readonly Policy[] = ['first fit', 'least loaded', 'two choices', 'hash']
const small: Setting = { ...standard, days: 90, tenants: 400, eventsPerSecond: 40_000 }

describe('the simulation of cells', function () {
  this.timeout(120_000)
  for (const policy of policies)
    it(`places every tenant, and keeps every cell within its limit, by the policy ${policy}`, () => {
      for (let seed = 1; seed <= 5; seed++) {
        // The simulation itself throws if a tenant is lost, is in two cells, or gets another part of the load than it sends.
        const outcome = simulate({ ...small, seed, policy })
        expect(outcome.tenantsPlaced).to.equal(small.tenants)
        expect(outcome.lastRate).to.be.closeTo(small.eventsPerSecond, 0.1)
        expect(outcome.highestAfter).to.be.at.most(small.moveAbove + 1e-9)
        expect(outcome.cells * small.limit * small.moveAbove).to.be.at.least(small.eventsPerSecond)
      }
    })
  it('refuses parts for which no cell would have room', () => {
    expect(() => simulate({ ...small, largestPart: 0.75, target: 0.7 })).to.throw('larger than the target')
  })
  it('divides a tenant that is larger than a cell, so that each part fits', () => {
    const { largestTenant, largestTenantParts, dividedTenants } = simulate(small)
    expect(largestTenant).to.be.greaterThan(1)
    expect(largestTenant / largestTenantParts).to.be.at.most(small.largestPart)
    expect(dividedTenants).to.be.greaterThan(1)
  })
  it('needs more cells for a lower target, and waits longer for a higher rate limit', () => {
    const cellsOf = (target: number) => simulate({ ...small, target, moveAbove: target + 0.15 }).cells
    expect(cellsOf(0.5)).to.be.greaterThan(cellsOf(0.8))
    const waitOf = (rateLimit: number) => simulate({ ...small, rateLimit }).longestWait
    expect(waitOf(10)).to.be.greaterThan(waitOf(3))
  })
  it('gives the same result for the same seed, and another one for another seed', () => {
    expect(simulate(small)).to.deep.equal(simulate(small))
    expect(simulate({ ...small, seed: 2 })).to.not.deep.equal(simulate(small))
    const [a, b] = [createRandom(7), createRandom(7)]
    expect([a(), a(), a()]).to.deep.equal([b(), b(), b()])
  })
  it('computes the capacity of a cell from its disk and its processor', () => {
    const costs = { postgresMicros: 100, nodeMicros: 0, storedBytes: 1_000, walBytes: 0 }
    const capacity = capacityOf(costs, { cores: 2, diskBytes: 86_400_000_000, usable: 0.5 }, 1)
    expect(capacity).to.deep.equal({ byDisk: 500, byProcessor: 10_000 })
  })
  it('prints the figures of docs/scaling.md', () => {
    const text = readFileSync(join(import.meta.dirname, '../../docs/scaling.md'), 'utf8')
    expect(withBlocks(text), 'run `npm run bench:cells -- --write`').to.equal(text)
  })
})
