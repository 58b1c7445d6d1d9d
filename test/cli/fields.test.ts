import { expect } from 'chai'
import { parseValue } from '../../src/cli/fields.ts'
import { JsonText, parseExactly, stringify } from '../../src/cli/json-text.ts'

describe('the values of options', () => {
  const boolean = { type: 'boolean' }
  const whole = { type: 'integer', minimum: 1, maximum: 100 }
  const number = { type: ['number', 'null'], exclusiveMinimum: 0, maximum: 604_800 }
  const time = { type: 'string', format: 'date-time' }
  const word = { enum: ['keep', 'deactivate', null] }
  const list = { type: ['array', 'null'], items: number, maxItems: 3 }
  const id = { type: 'string', pattern: '^[A-Z]+$', 'x-rule': 'capitals' }
  for (const [schema, text, value] of [
    [boolean, 'true', true],
    [boolean, 'false', false],
    [whole, '7', 7],
    [number, '0.5', 0.5],
    [time, '2026-03-31T00:42:50+02:00', '2026-03-31T00:42:50+02:00'],
    [word, 'keep', 'keep'],
    [list, '5, 0.5', [5, 0.5]],
    [list, '', []],
    [id, 'ABC', 'ABC'],
  ] as const)
    it(`are read: ${text} as ${JSON.stringify(value)}`, () => {
      expect(parseValue(schema, text)).to.deep.equal(value)
    })
  for (const [schema, text, must] of [
    [boolean, 'True', 'true or false'],
    [boolean, '1', 'true or false'],
    [boolean, '', 'true or false'],
    [whole, '7.5', 'a whole number, at least 1 and at most 100'],
    [whole, '0', 'at least 1'],
    [whole, '101', 'at most 100'],
    [whole, '1e1', 'a whole number'],
    [whole, '0x10', 'a whole number'],
    [whole, ' 7', 'a whole number'],
    [number, '0', 'above 0'],
    [number, 'five', 'a number'],
    [number, 'Infinity', 'a number'],
    [time, 'yesterday', 'an RFC 3339 time'],
    [time, '2026-03-31', 'an RFC 3339 time'],
    [time, '2026-02-30T00:00:00Z', 'an RFC 3339 time'],
    [word, 'Keep', 'one of keep, deactivate'],
    [word, 'null', 'one of keep, deactivate'],
    [list, '5,,5', 'a number'],
    [list, '1,2,3,4', 'a list of at most 3'],
    [id, 'abc', 'capitals'],
    [{ type: 'object' }, '[1]', 'a JSON object'],
    [{ type: 'object' }, '{x', 'It is not JSON'],
  ] as const)
    it(`are refused with a sentence: ${JSON.stringify(text)}, because it must be ${must}`, () => {
      expect(() => parseValue(schema, text)).to.throw(must)
    })
  it('keep a payload as it was typed', () => {
    const typed = '{"b": 12.50, "a":123456789012345678901}'
    const payload = parseValue({ type: 'object' }, typed)
    expect(payload).to.be.instanceOf(JsonText)
    expect(stringify({ id: 'x', source: undefined, payload })).to.equal(`{"id":"x","payload":${typed}}`)
  })
  it('keep numbers of a response as they were posted', () => {
    const text = '{"total":12.50,"big":123456789012345678901,"e":1e3,"n":7}'
    expect(JSON.stringify(parseExactly(text))).to.equal(text)
  })
})
