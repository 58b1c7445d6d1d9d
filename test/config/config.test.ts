import { expect } from 'chai'
import { processCount, readConfig } from '../../src/config/config.ts'

describe('the number of processes', () => {
  const countOf = (variables: Record<string, string>, cores: number) => processCount(readConfig(variables), cores)
  const given = { DATABASE_URL: 'postgres://db/kolbak', KOLBAK_MASTER_KEY: 'ab'.repeat(32), KOLBAK_JWT_SECRET: 'cd'.repeat(32) }

  it('is one for every two cores, but at least one', () => {
    expect([1, 2, 3, 4, 7, 64].map((cores) => countOf({}, cores))).to.deep.equal([1, 1, 1, 2, 3, 32])
    expect(countOf({ KOLBAK_PROCESSES: 'auto' }, 8)).to.equal(4)
  })
  it('is one on a Postgres of the operator, because its connections are limited', () => {
    expect(countOf(given, 64)).to.equal(1)
  })
  it('is the configured number, however many cores there are', () => {
    expect(countOf({ KOLBAK_PROCESSES: '3' }, 1)).to.equal(3)
    expect(countOf({ ...given, KOLBAK_PROCESSES: '64' }, 1)).to.equal(64)
  })
  for (const wrong of ['0', '65', '-1', '1.5', 'many', '1e1'])
    it(`is not ${wrong}`, () => {
      expect(() => readConfig({ KOLBAK_PROCESSES: wrong })).to.throw('KOLBAK_PROCESSES must be auto, or a whole number from 1 to 64.')
    })
})
