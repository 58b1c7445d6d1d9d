import { expect } from 'chai'
import { createHistoryCatchUp } from '../../src/dispatch/history-catch-up.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import { capturingLog } from '../support/capturing-log.ts'

const head = async () => '5'.padStart(19, '0') as Checkpoint

describe('the wait for the delivery history', () => {
  it('ends once the history has the head of the store', async () => {
    const log = capturingLog()
    const waits: string[] = []
    const waiter = { waitFor: async (name: string, position: string) => waits.push(`${name} ${Number(position)}`) > 0 }
    await createHistoryCatchUp({ head, waiter, log }).reachHead()
    expect(waits).to.deep.equal(['deliveries 5'])
    expect(log.lines).to.deep.equal([])
  })
  it('ends for an empty store', async () => {
    const waiter = { waitFor: () => Promise.reject(new Error('there is nothing to wait for')) }
    const log = capturingLog()
    await createHistoryCatchUp({ head: async () => null, waiter, log }).reachHead()
    expect(log.lines).to.deep.equal([])
  })
  for (const [what, failing] of [
    ['a projector that is down', { head, waiter: { waitFor: async () => false } }],
    ['a store that does not respond', { head: () => new Promise<never>(() => {}), waiter: { waitFor: async () => true } }],
    ['a store that is down', { head: () => Promise.reject(new Error('down')), waiter: { waitFor: async () => true } }],
  ] as const)
    it(`ends in spite of ${what}, with a warning, and does not start again soon`, async () => {
      const log = capturingLog()
      const catchUp = createHistoryCatchUp({ ...failing, log, longestWaitMs: 20 })
      await catchUp.reachHead()
      await catchUp.reachHead()
      expect(log.lines).to.have.length(1)
      expect(log.lines[0]).to.contain('routing.history_behind')
    })
})
