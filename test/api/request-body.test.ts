import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect } from 'chai'
import { CallerGone, readBody } from '../../src/api/request-body.ts'

const request = (headers: Record<string, string> = {}) => Object.assign(new IncomingMessage(new Socket()), { headers })
const failureOf = (reading: Promise<Buffer>) =>
  reading.then(
    () => null,
    (error: unknown) => error,
  )

describe('the body of a request', () => {
  it('is read completely', async () => {
    const req = request()
    const reading = readBody(req, 10)
    for (const part of ['01234', '56789']) req.push(Buffer.from(part))
    req.push(null)
    expect((await reading).toString()).to.equal('0123456789')
  })
  it('is refused as soon as it is too large, for any announced length', async () => {
    const req = request({ 'content-length': '5' })
    const reading = readBody(req, 10)
    req.push(Buffer.alloc(11))
    expect(await failureOf(reading)).to.have.property('code', 'body_too_large')
    const announced = request({ 'content-length': '11' })
    expect(await failureOf(readBody(announced, 10))).to.have.property('code', 'body_too_large')
  })
  it('fails with CallerGone when the caller hangs up before or during the read', async () => {
    const req = request()
    const reading = readBody(req, 10)
    req.push(Buffer.from('0'))
    req.destroy()
    expect(await failureOf(reading)).to.be.instanceOf(CallerGone)
    expect(await failureOf(readBody(req, 10))).to.be.instanceOf(CallerGone)
  })
})
