import { expect } from 'chai'
import { keptHeaders } from '../../src/dispatch/kept-headers.ts'

describe('the headers of a response that an attempt keeps', () => {
  const usual = { 'content-type': 'application/json', date: 'Mon, 30 Nov 2026 12:00:00 GMT', server: 'nginx' }
  it('are all of them after a failure, and none after a success that says nothing special', () => {
    expect(JSON.parse(keptHeaders(usual, false) ?? 'null')).to.deep.equal(usual)
    expect(keptHeaders(usual, true)).to.equal(null)
    expect(keptHeaders(null, false)).to.equal(null)
  })
  it('are all of them after a success with an id by which the receiver logs the request', () => {
    const fields = { ...usual, 'x-request-id': 'r-1' }
    expect(JSON.parse(keptHeaders(fields, true) ?? 'null')).to.deep.equal(fields)
  })
  it('have at most 2 KiB, whatever their characters are', () => {
    for (const character of ['a', '\u00ff', '"', '\u0001']) {
      const keptJson =
        keptHeaders({ 'content-type': 'text/plain', location: character.repeat(3_000), 'cf-ray': 'never reached' }, false) ?? ''
      expect(Buffer.byteLength(keptJson), JSON.stringify(character)).to.be.within(10, 2_048)
      expect(JSON.parse(keptJson)).to.deep.equal({ 'content-type': 'text/plain' })
    }
    expect(keptHeaders({ location: 'a'.repeat(3_000) }, false)).to.equal(null)
  })
})
