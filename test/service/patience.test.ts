import { expect } from 'chai'
import { KolbakError } from '../../src/lib/errors.ts'
import { whenAvailable } from '../../src/service/patience.ts'
import { capturingLog } from '../support/capturing-log.ts'
import { errorOf } from '../support/event-store-events.ts'

describe('waiting for an engine', () => {
  const { signal } = new AbortController()
  /** Fails with each of the errors, and then returns. */
  const failingWith = (errors: readonly Error[]) => {
    let calls = 0
    return async () => {
      const error = errors[calls++]
      if (error !== undefined) throw error
      return calls
    }
  }
  it('logs each reason once, even if it occurs often, and logs when the engine is available', async () => {
    const log = capturingLog()
    const [refused, denied] = [new Error('nothing listens'), new Error('wrong password')]
    const result = await whenAvailable('eventstoredb', failingWith([refused, refused, denied, refused]), { log, signal, waits: true })
    expect(result).to.equal(5)
    const lines = log.lines.map((line) => JSON.parse(line) as { message: string; reason?: string })
    expect(lines.map(({ message, reason }) => [message, reason])).to.deep.equal([
      ['engine.unavailable', 'error: nothing listens'],
      ['engine.unavailable', 'error: wrong password'],
      ['engine.available', undefined],
    ])
  })
  it('logs nothing for an engine that is available at once', async () => {
    const log = capturingLog()
    await whenAvailable('eventstoredb', failingWith([]), { log, signal, waits: true })
    expect(log.lines).to.deep.equal([])
  })
  it('does not wait after a fault of the configuration, unless its code says that the engine does not respond', async () => {
    const log = capturingLog()
    const fault = new KolbakError('kafka_unreachable', 'no broker responds')
    expect(await errorOf(whenAvailable('kafka', failingWith([fault]), { log, signal, waits: true }))).to.equal(fault)
    expect(await whenAvailable('kafka', failingWith([fault]), { log, signal, waits: true }, ['kafka_unreachable'])).to.equal(2)
  })
  it('does not wait in a command that is run by hand', async () => {
    const fault = new Error('nothing listens')
    expect(await errorOf(whenAvailable('kafka', failingWith([fault]), { log: capturingLog(), signal, waits: false }))).to.equal(fault)
  })
})
