import { expect } from 'chai'
import { processCount, readConfig } from '../../src/config/config.ts'

describe('the number of processes', () => {
  const countOf = (variables: Record<string, string>, cores: number) => processCount(readConfig(variables), cores)
  const required = { DATABASE_URL: 'postgres://db/kolbak', KOLBAK_MASTER_KEY: 'ab'.repeat(32), KOLBAK_JWT_SECRET: 'cd'.repeat(32) }

  it('is one for every two cores, but at least one', () => {
    expect([1, 2, 3, 4, 7, 64].map((cores) => countOf({}, cores))).to.deep.equal([1, 1, 1, 2, 3, 32])
    expect(countOf({ KOLBAK_PROCESSES: 'auto' }, 8)).to.equal(4)
  })
  it('is one on a Postgres of the operator, because its connections are limited', () => {
    expect(countOf(required, 64)).to.equal(1)
  })
  it('is the configured number, however many cores there are', () => {
    expect(countOf({ KOLBAK_PROCESSES: '3' }, 1)).to.equal(3)
    expect(countOf({ ...required, KOLBAK_PROCESSES: '64' }, 1)).to.equal(64)
  })
  for (const wrong of ['0', '65', '-1', '1.5', 'many', '1e1'])
    it(`is not ${wrong}`, () => {
      expect(() => readConfig({ KOLBAK_PROCESSES: wrong })).to.throw('KOLBAK_PROCESSES must be auto, or a whole number from 1 to 64.')
    })
})

describe('a variable of the environment', () => {
  const keys = { KOLBAK_MASTER_KEY: 'ab'.repeat(32), KOLBAK_JWT_SECRET: 'cd'.repeat(32) }
  const sentenceOf = (variables: Record<string, string>): string => {
    try {
      readConfig(variables)
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }
  for (const [name, value] of [
    ['DATABASE_URL', 'foo'],
    ['DATABASE_URL', 'localhost:5432'],
    ['DATABASE_URL', '/var/run/postgresql kolbak'],
    ['DATABASE_URL', 'postgres://u:p@one:1,two:2/kolbak'],
    ['DATABASE_URL', 'postgres://u:p@host:99999/kolbak'],
    ['DATABASE_URL', 'postgres://u:p@host/kolbak?sslmode=allways'],
    ['KOLBAK_TRUST_PROXY', 'nonsense'],
    ['KOLBAK_TRUST_PROXY', 'loopback, 10.0.0.0/33'],
    ['KAFKA_BROKERS', 'localhost:99999'],
    ['KAFKA_BROKERS', 'kafka://localhost:9092'],
    ['CASSANDRA_CONTACT_POINTS', 'localhost,,other'],
    ['KOLBAK_ALLOWED_SUBNETS', '10.0.0.0/99'],
    ['KOLBAK_MASTER_KEY', 'short'],
    ['PORT', '80.5'],
  ] as const)
    it(`is refused with one sentence if ${name} is ${value}`, () => {
      expect(sentenceOf({ ...keys, [name]: value }))
        .to.match(new RegExp(`^${name} [^.]*(\\.[^ ][^.]*)*\\.$`))
        .and.not.include('..')
    })
  for (const [name, value] of [
    ['DATABASE_URL', 'postgres://db/kolbak'],
    ['DATABASE_URL', 'postgresql://user:p%40ss@[::1]:5432/kolbak?sslmode=verify-full'],
    ['DATABASE_URL', 'postgres://user@/kolbak?host=/var/run/postgresql'],
    ['DATABASE_URL', 'postgres:///kolbak?host=/var/run/postgresql'],
    ['KOLBAK_TRUST_PROXY', '1'],
    ['KOLBAK_TRUST_PROXY', 'loopback, 10.0.0.0/8,::1/128'],
    ['KAFKA_BROKERS', 'one:9092, two:9093'],
    ['CASSANDRA_CONTACT_POINTS', 'one,two:9042'],
  ] as const)
    it(`is taken if ${name} is ${value}`, () => {
      expect(sentenceOf({ ...keys, CASSANDRA_DATACENTER: 'dc1', [name]: value })).to.equal('')
    })
})
