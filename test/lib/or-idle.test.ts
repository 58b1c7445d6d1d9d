import { expect } from 'chai'
import { orIdle } from '../../src/lib/or-idle.ts'

describe('a source that becomes silent', () => {
  it('yields all of its items, and null once for each silence after an item', async () => {
    let speak = () => {}
    let closed = false
    async function* source() {
      try {
        yield 1
        yield 2
        await new Promise<void>((resolve) => {
          speak = resolve
        })
        yield 3
      } finally {
        closed = true
      }
    }
    const seen: (number | null)[] = []
    for await (const item of orIdle(source(), 5)) {
      seen.push(item)
      if (item === null) speak()
    }
    expect(seen).to.deep.equal([1, 2, null, 3])
    expect(closed).to.equal(true)
  })
  it('is closed when its reader stops, and passes its error on to the reader', async () => {
    let closed = false
    async function* source() {
      try {
        yield 1
        throw new Error('broken')
      } finally {
        closed = true
      }
    }
    for await (const _item of orIdle(source(), 1_000)) break
    expect(closed).to.equal(true)
    const all = async () => {
      for await (const _item of orIdle(source(), 1_000));
    }
    expect(await all().catch((error: Error) => error.message)).to.equal('broken')
  })
})
