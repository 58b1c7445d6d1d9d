import { expect } from 'chai'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventBatch } from '../../src/ports/event-store.ts'
import { type Gathering, gather } from '../../src/projections/gather.ts'

const aMinute = 60_000

/** A subscription that yields what a test gives it. */
function createSource() {
  const queued: EventBatch[] = []
  let wake = () => {}
  let isEnded = false
  let position = 0
  return {
    give(...types: string[]) {
      queued.push({ events: types.map((type) => ({ type }) as RecordedEvent), checkpoint: String(++position) as Checkpoint })
      wake()
    },
    end() {
      isEnded = true
      wake()
    },
    async *batches(): AsyncGenerator<EventBatch> {
      for (;;) {
        const next = queued.shift()
        if (next !== undefined) yield next
        else if (isEnded) return
        else
          await new Promise<void>((resolve) => {
            wake = resolve
          })
      }
    },
  }
}

describe('the gathering of events', () => {
  const isUrgent: Gathering['isUrgent'] = ({ type }) => type === 'urgent'
  const begin = (gathering: Partial<Gathering> = {}) => {
    const source = createSource()
    const gathered = gather(source.batches(), { ms: aMinute, urgentMs: 0, isUrgent, ...gathering })
    const next = async () => {
      const { value }: IteratorResult<EventBatch, undefined> = await gathered.next()
      return value === undefined ? 'end' : { types: value.events.map(({ type }) => type), checkpoint: value.checkpoint }
    }
    return { source, next }
  }

  it('ends when an urgent event comes, and yields all events up to it', async () => {
    const { source, next } = begin()
    const batch = next()
    source.give('usual')
    source.give('usual')
    source.give('usual', 'urgent')
    expect(await batch).to.deep.equal({ types: ['usual', 'usual', 'usual', 'urgent'], checkpoint: '3' })
  })

  it('ends when the first event has waited long enough', async () => {
    const { source, next } = begin({ ms: 20 })
    source.give('usual')
    source.give('usual')
    expect(await next()).to.deep.equal({ types: ['usual', 'usual'], checkpoint: '2' })
    source.give('usual')
    expect(await next()).to.deep.equal({ types: ['usual'], checkpoint: '3' })
  })

  it('yields the first urgent event at once, and those that follow it at most every `urgentMs`', async () => {
    const { source, next } = begin({ urgentMs: 100 })
    source.give('urgent')
    expect(await next()).to.deep.equal({ types: ['urgent'], checkpoint: '1' })
    const startedAt = performance.now()
    source.give('urgent')
    source.give('urgent')
    expect(await next()).to.deep.equal({ types: ['urgent', 'urgent'], checkpoint: '3' })
    expect(performance.now() - startedAt).to.be.greaterThan(80)
  })

  it('ends when the batch is large, and passes a checkpoint without events on at once', async () => {
    const { source, next } = begin()
    source.give()
    expect(await next()).to.deep.equal({ types: [], checkpoint: '1' })
    for (let i = 0; i < 5; i++) source.give(...Array.from({ length: 500 }, () => 'usual'))
    expect(await next()).to.deep.include({ checkpoint: '5' })
  })

  it('ends with its source, and leaves out a batch whose wait has not ended', async () => {
    const { source, next } = begin()
    const batch = next()
    source.give('usual')
    source.end()
    expect(await batch).to.equal('end')
  })
})
