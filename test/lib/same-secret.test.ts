import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { sameSecret } from '../../src/lib/same-secret.ts'
import { expectSameTime, timings } from '../support/timing.ts'

const secret = randomBytes(32).toString('hex')
/** Returns the text with another character at this index. */
const changedAt = (index: number, text: string) => text.slice(0, index) + (text[index] === '0' ? '1' : '0') + text.slice(index + 1)
const guesses = {
  'wrong in its first character': changedAt(0, secret),
  'wrong in its last character': changedAt(secret.length - 1, secret),
  'wrong in all characters': randomBytes(32).toString('hex'),
  'a little shorter': secret.slice(0, -1),
  'a little longer': `${secret}0`,
  right: [...secret].join(''), // this text is equal but another object, because the same object would need no comparison
}
/** Each comparison is repeated many times, because a single comparison is too short to measure. */
const comparing = (isSame: (guess: string, secret: string) => boolean) =>
  Object.fromEntries(
    Object.entries(guesses).map(([name, guess]) => [
      name,
      () => {
        let matches = 0
        for (let i = 0; i < 40; i++) if (isSame(guess, secret)) matches++
        return matches
      },
    ]),
  )

describe('two secrets', () => {
  it('are the same when their texts are equal', () => {
    for (const [name, guess] of Object.entries(guesses)) expect(sameSecret(guess, secret), name).to.equal(name === 'right')
  })
  it('take the same time to compare, wherever they differ', () => expectSameTime(comparing(sameSecret)))
  it('would take different times if they were compared character by character, which shows that the test can fail', async () => {
    const naive = (guess: string, expected: string) => {
      let i = 0
      while (i < expected.length && guess.charCodeAt(i) === expected.charCodeAt(i)) i++
      return i === expected.length && guess.length === expected.length
    }
    const { difference, noise } = (await timings(comparing(naive))).get('wrong in its last character')!
    expect(difference).to.be.greaterThan(noise)
  })
})
