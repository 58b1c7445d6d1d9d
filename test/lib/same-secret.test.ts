import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { sameSecret } from '../../src/lib/same-secret.ts'
import { expectSameTime, timings } from '../support/timing.ts'

const kept = randomBytes(32).toString('hex')
const other = (text: string, at: number) => text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1)
const guesses = {
  'wrong in its first character': other(kept, 0),
  'wrong in its last character': other(kept, kept.length - 1),
  'wrong in all characters': randomBytes(32).toString('hex'),
  'a little shorter': kept.slice(0, -1),
  'a little longer': `${kept}0`,
  right: [...kept].join(''), // this text is equal but another object, because the same object would need no comparison
}
/** Each comparison is repeated many times, because a single comparison is too short to measure. */
const comparing = (same: (given: string, kept: string) => boolean) =>
  Object.fromEntries(
    Object.entries(guesses).map(([name, guess]) => [
      name,
      () => {
        let matches = 0
        for (let i = 0; i < 40; i++) if (same(guess, kept)) matches++
        return matches
      },
    ]),
  )

describe('two secrets', () => {
  it('are the same when their texts are equal', () => {
    for (const [name, guess] of Object.entries(guesses)) expect(sameSecret(guess, kept), name).to.equal(name === 'right')
  })
  it('take the same time to compare, wherever they differ', () => expectSameTime(comparing(sameSecret)))
  it('would take different times if they were compared character by character, which shows that the test can fail', async () => {
    const naive = (given: string, kept: string) => {
      let i = 0
      while (i < kept.length && given.charCodeAt(i) === kept.charCodeAt(i)) i++
      return i === kept.length && given.length === kept.length
    }
    const { difference, noise } = (await timings(comparing(naive))).get('wrong in its last character')!
    expect(difference).to.be.greaterThan(noise)
  })
})
