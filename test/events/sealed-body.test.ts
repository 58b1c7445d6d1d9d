import { expect } from 'chai'
import type { MessageId, TenantId } from '../../src/events/ids.ts'
import { openBody, sealBody } from '../../src/events/sealed-body.ts'

describe('the sealed body of a message', () => {
  const [tenant, message] = ['tenant' as TenantId, 'message' as MessageId]
  const openedBodies: Buffer[] = []
  const vault = {
    seal: (aad: readonly string[], plain: Buffer) => Buffer.from(`${aad.join('/')} ${plain}`),
    open(_: readonly string[], sealed: Buffer) {
      openedBodies.push(sealed)
      return sealed
    },
  }

  it('is bound to its message by an AAD that must never change, because stored bodies could not be opened any more', () => {
    expect(sealBody(vault, tenant, message, Buffer.from('body')).toString()).to.equal('payload/tenant/message body')
  })
  it('is opened with the vault, unless this process has sealed it', () => {
    const body = Buffer.from('body')
    const sealedBody = sealBody(vault, tenant, message, body)
    expect(openBody(vault, tenant, message, sealedBody)).to.equal(body)
    expect(openedBodies).to.deep.equal([])
    const stored = Buffer.from(sealedBody)
    openBody(vault, tenant, message, stored)
    expect(openedBodies).to.deep.equal([stored])
  })
})
