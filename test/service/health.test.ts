import { expect } from 'chai'
import type { ProjectionStatus } from '../../src/projections/runner.ts'
import { createProbe } from '../../src/service/engine-probes.ts'
import { healthReport, withEngines } from '../../src/service/health.ts'

const working = { problem: null }
const storeCheck = { name: 'event store', ok: true, message: 'takes commands' }

describe('the health of a process', () => {
  const status = (change: Partial<ProjectionStatus>): ProjectionStatus => ({
    name: 'tenants',
    state: 'running',
    error: null,
    checkpoint: null,
    lagSeconds: 0,
    quarantined: 0,
    building: null,
    ...change,
  })
  for (const [title, change, ready, message] of [
    ['a projection runs', {}, true, 'running, 0 s behind, 0 streams quarantined'],
    ['a projection is run elsewhere', { state: 'waiting', lagSeconds: null }, true, 'waiting, 0 streams quarantined'],
    ['a projection has quarantined streams', { quarantined: 2 }, true, 'running, 0 s behind, 2 streams quarantined'],
    [
      'a projection fails',
      { state: 'failed', error: 'ECONNREFUSED', lagSeconds: 3.5 },
      false,
      'failed: ECONNREFUSED, 3.5 s behind, 0 streams quarantined',
    ],
    [
      'a newer version of Kolbak has taken over a projection',
      { state: 'failed', error: 'newer_version' },
      true,
      'failed: newer_version, 0 s behind, 0 streams quarantined',
    ],
  ] as const)
    it(`is ${ready ? 'ready' : 'not ready'} when ${title}`, () => {
      const checks = [storeCheck, { name: 'projection tenants', ok: ready, message }]
      expect(healthReport(working, null, [status(change)])).to.deep.equal({ ready, checks })
    })
  it('is not ready while its dispatcher has a problem, and is ready if it runs neither a dispatcher nor projections', () => {
    expect(healthReport(working, { problem: 'Routing has failed for 12 s.' }, [status({})])).to.deep.include({ ready: false })
    const names = healthReport(working, { problem: null }, [status({})]).checks.map(({ name }) => name)
    expect(names).to.deep.equal(['event store', 'dispatcher', 'projection tenants'])
    expect(healthReport(working, null, [])).to.deep.equal({ ready: true, checks: [storeCheck] })
  })
  it('is not ready while the audit log does not extend a head that was given out', () => {
    const problem = 'The audit log ends at 30, but a head of 44 was given out.'
    const checks = [storeCheck, { name: 'audit log', ok: false, message: problem }]
    expect(healthReport(working, null, [], { problem })).to.deep.equal({ ready: false, checks })
  })
  it('is not ready while the event store has a problem, and gives its reason', () => {
    const problem = 'the cluster has no leader'
    const checks = [{ name: 'event store', ok: false, message: problem }]
    expect(healthReport({ problem }, null, [])).to.deep.equal({ ready: false, checks })
  })
  it('is not ready when an engine has not responded for ten seconds, and names the engine and the reason', async () => {
    let at = 0
    let callCount = 0
    let outcome: () => Promise<unknown> = async () => undefined
    const probe = createProbe(
      'message bus',
      () => {
        callCount++
        return outcome()
      },
      { now: () => at, waitMs: 1 },
    )
    const report = () => withEngines(healthReport(working, null, []), [probe])
    const responding = { name: 'message bus', ok: true, message: 'responds' }
    expect(await report()).to.deep.equal({ ready: true, checks: [storeCheck, responding] })
    at = 1_000
    await report()
    expect(callCount, 'a response counts for two seconds').to.equal(1)
    outcome = () => Promise.reject(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))
    at = 5_000
    expect(await report()).to.include({ ready: true })
    at = 16_000
    const message = 'does not respond correctly for 11 s (ECONNREFUSED)'
    expect(await report()).to.deep.equal({ ready: false, checks: [storeCheck, { name: 'message bus', ok: false, message }] })
    outcome = async () => undefined
    at = 19_000
    expect(await report()).to.include({ ready: true })
    outcome = () => new Promise(() => {})
    at = 30_000
    expect(await report()).to.include({ ready: true })
    at = 42_000
    expect((await report()).checks.at(-1)?.message).to.equal('does not respond correctly for 12 s (no response)')
  })
})
