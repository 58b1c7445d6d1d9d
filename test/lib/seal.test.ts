import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { createVault, isSealedText, SealBroken, type Vault } from '../../src/lib/seal.ts'

const dataKey = randomBytes(32)
const fingerprintKey = randomBytes(32)
const make = (changes: Partial<Parameters<typeof createVault>[0]> = {}): Vault =>
  createVault({ key_id: 7, dataKey, keyOf: (id) => (id === 7 ? dataKey : undefined), fingerprintKey, ...changes })

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
const aad = fc.array(fc.string({ maxLength: 8, unit: 'binary' }), { maxLength: 4 })

describe('sealed values', () => {
  const sealer = make()
  it('open to the value that was sealed, even in another process', () => {
    fc.assert(
      fc.property(aad, bytes, (place, plain) => {
        const sealed = sealer.seal(place, plain)
        expect(sealer.open(place, sealed).equals(plain)).to.equal(true)
        expect(make().open(place, sealed).equals(plain)).to.equal(true)
      }),
    )
  })
  it('cannot be opened as another value, however the parts of the AAD are divided', () => {
    fc.assert(
      fc.property(aad, aad, bytes, (place, other, plain) => {
        fc.pre(JSON.stringify(place) !== JSON.stringify(other))
        expect(() => sealer.open(other, sealer.seal(place, plain))).to.throw(SealBroken)
      }),
    )
    const sealed = sealer.seal(['a', 'b'], Buffer.from('x'))
    for (const other of [['a\u0000b'], ['ab'], ['a,b'], ['a', 'b', ''], ['b', 'a']])
      expect(() => sealer.open(other, sealed)).to.throw(SealBroken)
  })
  it('do not open when any byte was changed', () => {
    const sealed = sealer.seal(['a'], Buffer.from('some content'))
    for (let i = 0; i < sealed.length; i++) {
      const changed = Buffer.from(sealed)
      changed[i] = changed[i]! ^ 1
      expect(() => sealer.open(['a'], changed), `byte ${i}`).to.throw(SealBroken)
    }
  })
  it('do not open when bytes are missing or added', () => {
    const sealed = sealer.seal(['a'], Buffer.from('some content'))
    for (let length = 0; length < sealed.length; length++)
      expect(() => sealer.open(['a'], sealed.subarray(0, length)), `${length} bytes`).to.throw(SealBroken)
    expect(() => sealer.open(['a'], Buffer.concat([sealed, Buffer.of(0)]))).to.throw(SealBroken)
  })
  it('do not open under another key, or when their key is missing', () => {
    const sealed = sealer.seal(['a'], Buffer.from('x'))
    expect(() => make({ keyOf: () => randomBytes(32) }).open(['a'], sealed)).to.throw(SealBroken)
    expect(() => make({ keyOf: () => undefined }).open(['a'], sealed)).to.throw(SealBroken, 'data key 7')
  })
  it('differ each time the same value is sealed', () => {
    const seen = new Set(Array.from({ length: 1_000 }, () => sealer.seal(['a'], Buffer.from('x')).toString('hex')))
    expect(seen.size).to.equal(1_000)
  })
  it('never use a nonce twice under one salt', () => {
    const seen = new Set(Array.from({ length: 1_000 }, () => sealer.seal(['a'], Buffer.from('x')).toString('hex', 5, 33)))
    expect(seen.size).to.equal(1_000)
  })
  it('share a salt for an hour', () => {
    let now = 0
    const timed = make({ now: () => now })
    const saltOf = (sealed: Buffer) => sealed.toString('hex', 5, 21)
    const first = timed.seal(['a'], Buffer.from('x'))
    now = 3_599_999
    expect(saltOf(timed.seal(['a'], Buffer.from('x')))).to.equal(saltOf(first))
    now = 3_600_000
    expect(saltOf(timed.seal(['a'], Buffer.from('x')))).to.not.equal(saltOf(first))
    expect(timed.open(['a'], first).toString()).to.equal('x')
  })
})

describe('sealed texts', () => {
  const sealer = make()
  it('open to the text that was sealed', () => {
    fc.assert(
      fc.property(aad, fc.string({ unit: 'binary', maxLength: 100 }), (place, plain) => {
        const sealed = sealer.sealText(place, plain)
        expect(isSealedText(sealed)).to.equal(true)
        expect(sealer.openText(place, sealed)).to.equal(plain.toWellFormed())
      }),
    )
  })
  it('can be distinguished from texts that are not sealed', () => {
    expect(isSealedText('https://example.com')).to.equal(false)
    expect(() => sealer.openText(['a'], 'https://example.com')).to.throw(SealBroken)
    expect(() => sealer.openText(['a'], 'sealed:')).to.throw(SealBroken)
  })
})

describe('fingerprints', () => {
  it('are equal for equal content under the same key, and reveal nothing without the key', () => {
    const fingerprint = make().fingerprint(['a', Buffer.from('b')])
    expect(fingerprint).to.match(/^[0-9a-f]{64}$/)
    expect(make().fingerprint(['a', Buffer.from('b')])).to.equal(fingerprint)
    expect(make().fingerprint(['a', Buffer.from('c')])).to.not.equal(fingerprint)
    expect(make({ fingerprintKey: randomBytes(32) }).fingerprint(['a', Buffer.from('b')])).to.not.equal(fingerprint)
  })
})
