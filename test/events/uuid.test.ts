import { expect } from 'chai'
import { uuidV5, uuidV5In } from '../../src/events/uuid.ts'

describe('UUIDv5', () => {
  it('agrees with the example of RFC 9562 (A.4)', () => {
    const dns = Buffer.from('6ba7b8109dad11d180b400c04fd430c8', 'hex')
    expect(uuidV5In(dns, 'www.example.com')).to.equal('2ed6657d-e927-568b-95e1-2665a8aea6a2')
  })
  it('never changes for the same parts', () => {
    expect(uuidV5('tenant', 'message', 'place', 'webhook')).to.equal('6708a5b5-4081-5067-a601-278d56669133')
  })
  it('differs if the same text is divided into other parts', () => {
    const ids = [uuidV5('a', 'bc'), uuidV5('ab', 'c'), uuidV5('abc'), uuidV5('a', 'b', 'c'), uuidV5('bc', 'a')]
    expect(new Set(ids).size).to.equal(ids.length)
  })
})
