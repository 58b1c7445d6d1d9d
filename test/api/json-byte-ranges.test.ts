import { expect } from 'chai'
import fc from 'fast-check'
import { memberRange } from '../../src/api/json-byte-ranges.ts'

const spanText = (json: string, name: string) => {
  const bytes = Buffer.from(json)
  const span = memberRange(bytes, name)
  return span === null ? null : bytes.toString('utf8', span.start, span.end)
}

/** These generate JSON in unusual forms: any spacing, escaped letters, repeated members. */
const spacing = fc.stringMatching(/^[ \t\r\n]{0,3}$/)
const writtenName = fc
  .tuple(fc.constantFrom('payload', 'event', 'pay', 'payload2', '', '"', '\\', 'ü', '__proto__'), fc.boolean())
  .map(([name, escaped]) =>
    escaped ? `"${[...name].map((c) => `\\u${c.codePointAt(0)!.toString(16).padStart(4, '0')}`).join('')}"` : JSON.stringify(name),
  )
const writtenObject = fc
  .array(fc.tuple(writtenName, fc.json({ maxDepth: 4, stringUnit: 'binary' }), spacing, spacing, spacing, spacing), { maxLength: 6 })
  .map((members) => `{${members.map(([name, value, a, b, c, d]) => `${a}${name}${b}:${c}${value}${d}`).join(',')}}`)

describe('memberRange', () => {
  it('finds the value that JSON.parse would return, for any form of JSON', () => {
    fc.assert(
      fc.property(writtenObject, spacing, spacing, (object, before, after) => {
        const json = before + object + after
        const parsed: Record<string, unknown> = JSON.parse(json)
        const text = spanText(json, 'payload')
        if (!Object.hasOwn(parsed, 'payload')) expect(text).to.equal(null)
        else expect(JSON.parse(text ?? 'nothing')).to.deep.equal(parsed.payload)
      }),
      { numRuns: 2_000 },
    )
  })
  it('keeps the bytes as they were sent', () => {
    const payload = '{ "b" : 1.10,"a":12345678901234567890 ,"c":"\\u00fc\\/" }'
    expect(spanText(`{"event":"x","payload":${payload} ,"id":"1"}`, 'payload')).to.equal(payload)
  })
  it('uses the last of two members with the same name, as JSON.parse does', () => {
    expect(spanText('{"payload":{"a":1},"payload":{"a":2}}', 'payload')).to.equal('{"a":2}')
    expect(spanText('{"payload":{"a":1},"pa\\u0079load":{"a":2}}', 'payload')).to.equal('{"a":2}')
  })
  it('ignores the same name in nested objects and in strings', () => {
    expect(spanText('{"event":{"payload":{"a":1}},"x":"\\"payload\\":2,","payload":3}', 'payload')).to.equal('3')
  })
  it('returns null for a missing member', () => {
    expect(spanText('{ }', 'payload')).to.equal(null)
    expect(spanText('{"a":{"payload":1}}', 'payload')).to.equal(null)
  })
  it('handles a depth of 100,000', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    expect(spanText(`{"payload":${deep}}`, 'payload')).to.equal(deep)
  })
})
