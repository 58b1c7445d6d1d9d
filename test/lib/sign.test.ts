import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { signatureHeaders, signingKey } from '../../src/lib/sign.ts'

const secretOf = (bytes: number) => `whsec_${randomBytes(bytes).toString('base64')}`

describe('signing', () => {
  it('makes signatures that the official library verifies, for any body and secret', () => {
    fc.assert(
      fc.property(fc.json(), fc.integer({ min: 24, max: 64 }), (json, bytes) => {
        const secret = secretOf(bytes)
        const headers = signatureHeaders([signingKey(secret)], 'msg_1', Buffer.from(json), Date.now())
        new Webhook(secret).verify(json, headers)
      }),
    )
  })
  it('makes the same signature as the official library', () => {
    const secret = secretOf(32)
    const now = Date.parse('2026-01-01T00:00:00.999Z')
    const headers = signatureHeaders([signingKey(secret)], 'evt_1', Buffer.from('{"ä":1}'), now)
    expect(headers['webhook-timestamp']).to.equal('1767225600')
    expect(headers['webhook-signature']).to.equal(new Webhook(secret).sign('evt_1', new Date(now), '{"ä":1}'))
  })
  it('makes one signature for each key', () => {
    const [current, former] = [secretOf(24), secretOf(24)]
    const headers = signatureHeaders([signingKey(current), signingKey(former)], 'evt_1', Buffer.from('{}'), Date.now())
    expect(headers['webhook-signature'].split(' ')).to.have.length(2)
    new Webhook(current).verify('{}', headers)
    new Webhook(former).verify('{}', headers)
    expect(() => new Webhook(secretOf(24)).verify('{}', headers)).to.throw()
  })
})
