import { expect } from 'chai'
import fc from 'fast-check'
import { createPatternIndex } from '../../src/dispatch/pattern-index.ts'
import { patternMatches } from '../../src/events/pattern.ts'

const matched = (pattern: string, name: string): boolean => {
  const index = createPatternIndex<string>()
  index.add(pattern, 'w')
  return index.match(name).length === 1
}

describe('matching a pattern', () => {
  for (const [pattern, name, expected] of [
    ['order.created', 'order.created', true],
    ['order.created', 'order.created.v2', false],
    ['order.*', 'order.created', true],
    ['order.*', 'order.line.added', true],
    ['order.*', 'order', false],
    ['order.*', 'orders.created', false],
    ['order.line.*', 'order.created', false],
    ['*', 'order.created', true],
    ['*', 'kolbak.test', false],
    ['kolbak.*', 'kolbak.test', true],
    ['kolbak.test', 'kolbak.test', true],
  ] as const)
    it(`${pattern} ${expected ? 'matches' : 'does not match'} ${name}`, () => {
      expect(matched(pattern, name)).to.equal(expected)
      expect(patternMatches(pattern, name)).to.equal(expected)
    })

  it('follows the rule of patternMatches for any pattern and name', () => {
    const word = fc.stringMatching(/^[a-z]{1,3}$/)
    const name = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('.'))
    const pattern = fc.oneof(
      name,
      name.map((n) => `${n}.*`),
      fc.constant('*'),
    )
    fc.assert(fc.property(pattern, name, (p, n) => matched(p, n) === patternMatches(p, n)))
  })

  it('finds every webhook once, and no webhook that was removed', () => {
    const index = createPatternIndex<string>()
    index.add('a.b', 'exact')
    index.add('a.*', 'prefix')
    index.add('*', 'all')
    index.add('*', 'gone')
    index.remove('*', 'gone')
    expect(index.match('a.b')).to.have.members(['exact', 'prefix', 'all'])
  })
})
