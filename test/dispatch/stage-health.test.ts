import { expect } from 'chai'
import { StageHealth } from '../../src/dispatch/stage-health.ts'
import { silentLog } from '../../src/lib/log.ts'

describe('the health of the stages', () => {
  const watched = () => {
    const clock = { now: 0 }
    const lines: string[] = []
    const line = (level: string) => (_: object, message: string) => lines.push(`${level} ${message}`)
    const log = { ...silentLog, warn: line('warn'), error: line('error') }
    return { clock, lines, health: new StageHealth(log, { now: () => clock.now }) }
  }
  const away = Object.assign(new Error('no connection'), { code: 'ECONNREFUSED' })

  it('reports no problem while a stage has failed for less than ten seconds, and logs warnings', () => {
    const { clock, lines, health } = watched()
    health.failed('routing', away)
    clock.now = 9_999
    health.failed('routing', away)
    expect(health.problem).to.equal(null)
    expect(lines).to.deep.equal(['warn routing.failed', 'warn routing.failed'])
  })
  it('reports a stage that has failed for ten seconds, and logs errors', () => {
    const { clock, lines, health } = watched()
    health.failed('routing', away)
    clock.now = 12_000
    health.failed('routing', away)
    expect(health.problem).to.equal('Routing has failed for 12 s (ECONNREFUSED): see routing.failed in the log.')
    expect(lines).to.deep.equal(['warn routing.failed', 'error routing.failed'])
  })
  it('reports no problem once the stage succeeds', () => {
    const { clock, health } = watched()
    health.failed('routing', away)
    clock.now = 12_000
    health.succeeded('routing')
    expect(health.problem).to.equal(null)
    health.failed('routing', away)
    expect(health.problem, 'the time counts from the first failure after the success').to.equal(null)
  })
  it('measures each stage by itself', () => {
    const { clock, health } = watched()
    health.failed('routing', away)
    health.failed('claiming', new TypeError('a bug'))
    clock.now = 12_000
    health.succeeded('routing')
    expect(health.problem).to.equal('Claiming scheduled deliveries has failed for 12 s (TypeError): see due.failed in the log.')
  })
})
