import { generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import { createTokens } from '../../src/api/tokens.ts'
import type { ClientId } from '../../src/events/ids.ts'

const secret = Buffer.alloc(32, 7)
const clientId = 'client_1' as ClientId
const claims = { clientId, generation: 3, scopes: ['read:keys', 'write:events'] as const }

describe('tokens', () => {
  let time = Date.parse('2026-01-01T00:00:00Z')
  const now = () => time
  const ours = () => createTokens({ secret, ttlSeconds: 3_600, now })
  const partsOf = (token: string) => token.split('.').map((part) => Buffer.from(part, 'base64url').toString())

  it('contain what was issued', () => {
    const { id, ...verified } = ours().verify(ours().issue(claims))!
    expect(id).to.match(/^[0-9a-f-]{36}$/)
    expect(verified).to.deep.equal({ clientId, generation: 3, scopes: new Set(claims.scopes), expiresAt: time + 3_600_000 })
  })
  it('contain no secret, and have fixed HS256, kid, iss and aud', () => {
    const [header = '', payload = ''] = partsOf(ours().issue(claims))
    expect(JSON.parse(header)).to.include({ alg: 'HS256', typ: 'JWT' }).and.have.property('kid').with.length(8)
    expect(JSON.parse(payload)).to.include({ iss: 'kolbak', aud: 'kolbak', sub: clientId, gen: 3, scope: 'read:keys write:events' })
  })
  it('expire, even if they were verified before', () => {
    const tokens = ours()
    const token = tokens.issue(claims)
    expect(tokens.verify(token)).to.not.equal(null)
    time += 3_600_000
    expect(tokens.verify(token)).to.equal(null)
    expect(ours().verify(token)).to.equal(null)
    time -= 3_600_000
  })

  const validClaims = { iss: 'kolbak', aud: 'kolbak', sub: clientId, exp: time / 1_000 + 60, gen: 3, scope: 'read:keys' }
  const [ourHeader = ''] = partsOf(ours().issue(claims))
  const { kid } = JSON.parse(ourHeader)
  const signed = (payload: object, options: jwt.SignOptions & { key?: Buffer } = {}) => {
    const { key = secret, ...rest } = options
    return jwt.sign(payload, key, { algorithm: 'HS256', keyid: kid, ...rest })
  }
  it('are accepted when a test signs them in the same way, which shows that the tests below can fail', () => {
    expect(ours().verify(signed(validClaims))).to.not.equal(null)
  })
  const without = (name: keyof typeof validClaims) => Object.fromEntries(Object.entries(validClaims).filter(([key]) => key !== name))
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const unsigned = (alg: string) => `${encoded({ alg, typ: 'JWT', kid })}.${encoded(validClaims)}`
  const ourSignature = signed(validClaims).split('.')[2] ?? ''
  const invalidTokens: Record<string, string> = {
    'with RS256, under a key of their own': jwt.sign(validClaims, pair.privateKey, { algorithm: 'RS256', keyid: kid }),
    'with HS384': signed(validClaims, { algorithm: 'HS384' }),
    'that bring their key along': jwt.sign(validClaims, Buffer.alloc(32, 9), {
      algorithm: 'HS256',
      header: { alg: 'HS256', kid, jwk: { kty: 'oct', k: Buffer.alloc(32, 9).toString('base64url') } } as jwt.JwtHeader,
    }),
    'signed with nothing': signed(validClaims, { key: Buffer.alloc(32) }),
    ...Object.fromEntries(['None', 'NONE', 'nOnE', ''].map((alg) => [`of the algorithm ${JSON.stringify(alg)}`, `${unsigned(alg)}.`])),
    'of no algorithm with our signature': `${unsigned('none')}.${ourSignature}`,
    'of RS256 with our signature': `${unsigned('RS256')}.${ourSignature}`,
    'of two parts': unsigned('HS256'),
    'with a cut signature': signed(validClaims).slice(0, -4),
    'that have run out': signed({ ...validClaims, exp: time / 1_000 - 1 }),
    'that are not valid yet': signed({ ...validClaims, nbf: time / 1_000 + 60 }),
    'with an end that is no number': `${encoded({ alg: 'HS256', typ: 'JWT', kid })}.${encoded({ ...validClaims, exp: '9999999999' })}.${ourSignature}`,
    'of a list of issuers': signed({ ...validClaims, iss: ['kolbak'] as never }),
    'without an issuer': signed(without('iss')),
    'without an audience': signed(without('aud')),
    'with a generation that is a text': signed({ ...validClaims, gen: '3' }),
    'with another secret': signed(validClaims, { key: Buffer.alloc(32, 8) }),
    'with HS512': signed(validClaims, { algorithm: 'HS512' }),
    'without a signature (alg none)': `${encoded({ alg: 'none', typ: 'JWT', kid })}.${encoded(validClaims)}.`,
    'with another kid': signed(validClaims, { keyid: 'other' }),
    'without a kid': jwt.sign(validClaims, secret, { algorithm: 'HS256' }),
    'of another issuer': signed({ ...validClaims, iss: 'someone' }),
    'for another audience': signed({ ...validClaims, aud: 'someone' }),
    'without an end': signed(without('exp')),
    'without a generation': signed(without('gen')),
    'without a client': signed(without('sub')),
    'with a changed payload': (([h = '', , s = '']) => `${h}.${encoded({ ...validClaims, scope: 'admin' })}.${s}`)(
      signed(validClaims).split('.'),
    ),
    'that are no JWT': 'abc',
    'that are too long to be ours': signed({ ...validClaims, filler: 'x'.repeat(5_000) }),
  }
  for (const [title, token] of Object.entries(invalidTokens))
    it(`${title} are refused`, () => {
      expect(ours().verify(token)).to.equal(null)
    })
  it('lose unknown scopes', () => {
    expect(ours().verify(signed({ ...validClaims, scope: 'read:keys fly' }))?.scopes).to.deep.equal(new Set(['read:keys']))
  })
})
