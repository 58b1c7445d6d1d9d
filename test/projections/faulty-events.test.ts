import { expect } from 'chai'
import fc from 'fast-check'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId } from '../../src/events/ids.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { KeyDestroyed, SealBroken } from '../../src/lib/seal.ts'
import { FactRefused } from '../../src/ports/delivery-log.ts'
import { StoreUnavailable } from '../../src/ports/event-store.ts'
import { isEngineError, isEventError, isolateFaulty } from '../../src/projections/faulty-events.ts'
import { byType } from '../../src/projections/projection.ts'

const withCode = (code: string, message = 'x') => Object.assign(new Error(message), { code })

/** Returns events of the named streams, in the order of their positions. */
function eventsOf(streams: readonly string[]): RecordedEvent[] {
  const revisions = new Map<string, number>()
  return streams.map((name, i) => {
    const revision = (revisions.get(name) ?? -1) + 1
    revisions.set(name, revision)
    return {
      id: `event ${i}` as EventId,
      type: 'Happened',
      data: {},
      metadata: { schema: 1, actor: 'system:test', tenant: 't', time: '', $correlationId: '', $causationId: null },
      stream: `tenant-${name}` as StreamName,
      revision,
      position: String(i).padStart(4, '0') as Checkpoint,
    }
  })
}

describe('isolating a faulty event', () => {
  const batches = fc
    .array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 40 })
    .chain((streams) => fc.tuple(fc.constant(eventsOf(streams)), fc.subarray(streams.map((_, i) => `event ${i}`))))

  for (const named of [false, true])
    it(`does the work once and in order for all events except faulty ones and those after them in their streams${named ? ', when errors name their event' : ''}`, async () => {
      await fc.assert(
        fc.asyncProperty(batches, async ([events, poison]) => {
          const done: RecordedEvent[] = []
          const poisons = await isolateFaulty(
            async (events) => {
              const faultyEvent = events.find((event) => poison.includes(event.id))
              if (faultyEvent !== undefined) throw named ? new FactRefused(faultyEvent.id, null) : new Error(`choked on ${faultyEvent.id}`)
              done.push(...events)
            },
            events,
            () => true,
          )
          const first = new Map<StreamName, number>()
          for (const event of events) if (poison.includes(event.id) && !first.has(event.stream)) first.set(event.stream, event.revision)
          expect(done).to.deep.equal(events.filter((event) => event.revision < (first.get(event.stream) ?? 99)))
          expect(new Map(poisons.map(({ event }) => [event.stream, event.revision]))).to.deep.equal(first)
          expect(poisons).to.have.length(first.size)
        }),
      )
    })
  it('throws an error that is not the fault of an event', async () => {
    const failing = isolateFaulty(
      async () => Promise.reject(withCode('57P01', 'gone')),
      eventsOf(['a', 'b']),
      (error) => !isEngineError(error),
    )
    expect(await failing.catch((error: Error) => error.message)).to.equal('gone')
  })
})

describe('the cause of an error', () => {
  it('is the engine in the transaction for known SQLSTATE classes and network codes, and otherwise an event', () => {
    for (const code of [
      '08006',
      '25006',
      '28P01',
      '40001',
      '40P01',
      '53300',
      '55P03',
      '57P01',
      '57014',
      '58030',
      'ECONNREFUSED',
      'EAI_AGAIN',
    ])
      expect(isEngineError(withCode(code)), code).to.equal(true)
    for (const message of ['Connection terminated unexpectedly', 'timeout exceeded when trying to connect'])
      expect(isEngineError(new Error(message)), message).to.equal(true)
    expect(isEngineError(new StoreUnavailable('no response'))).to.equal(true)
    for (const code of ['22P02', '23505', '42703', '54000', 'P0001', 'ERR_INVALID_ARG_TYPE'])
      expect(isEngineError(withCode(code)), code).to.equal(false)
    for (const error of [new TypeError('x'), new SealBroken('x'), new KeyDestroyed('t'), 'a string', undefined])
      expect(isEngineError(error)).to.equal(false)
  })
  it('is an event in prepare for known codes, and otherwise the store', () => {
    for (const error of [
      new FactRefused('e' as EventId, null),
      withCode('22021'),
      new TypeError('x'),
      new SealBroken('x'),
      new KeyDestroyed('t'),
    ])
      expect(isEventError(error), String(error)).to.equal(true)
    for (const error of [
      new StoreUnavailable('x'),
      withCode('08006'),
      new Error('All host(s) tried for query failed'),
      withCode('ECONNRESET'),
    ])
      expect(isEventError(error), String(error)).to.equal(false)
  })
})

describe('handlers by type', () => {
  it('are called in the order of the events, and not for other types', async () => {
    const reports: string[] = []
    const { apply } = byType<RecordedEvent<'Happened', object> | RecordedEvent<'Other', object>>({
      Happened: async (_, event) => {
        await new Promise(setImmediate)
        reports.push(event.id)
      },
    })
    const events = eventsOf(['a', 'a', 'b', 'a'])
    await apply(async () => [], [events[0]!, { ...events[1]!, type: 'Other' }, { ...events[2]!, type: 'constructor' }, events[3]!])
    expect(reports).to.deep.equal(['event 0', 'event 3'])
  })
})
