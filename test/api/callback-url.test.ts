import { expect } from 'chai'
import { checkCallbackUrl } from '../../src/api/callback-url.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { codeOf } from '../../src/lib/errors.ts'

const strict = createAddressPolicy({ allowedSubnets: [], allowHttp: false })
const local = createAddressPolicy({ allowedSubnets: ['127.0.0.0/8', '::1/128'].map(parseSubnet), allowHttp: false })

describe('a callback URL', () => {
  /** The addresses that these names resolve to, because the tests do not use the network. */
  const names: Record<string, string[]> = { 'good.test': ['8.8.8.8', '2606:4700::1'], 'evil.test': ['8.8.8.8', '127.0.0.1'] }
  const check = (url: string, policy = strict) => checkCallbackUrl(url, policy, async (host) => names[host] ?? [])
  const codeFor = (url: string, policy = strict) =>
    check(url, policy).then(
      () => 'accepted',
      (error: unknown) => codeOf(error),
    )

  it('is accepted when all addresses of its name are public, or when the name does not resolve yet', async () => {
    for (const url of ['https://good.test/hook?a=1', 'https://8.8.8.8:8443/', 'https://[2606:4700::1]/', 'https://not-yet.test/'])
      expect(await codeFor(url), url).to.equal('accepted')
  })
  it('is refused when one of the addresses that it resolves to is not public', async () => {
    expect(await codeFor('https://evil.test/')).to.equal('address_refused')
  })
  it('is refused for a literal address that is not public, however it is written', async () => {
    for (const host of [
      '127.0.0.1',
      '127.1',
      '2130706433', // decimal
      '0177.0.0.1', // octal
      '0x7f.1',
      '0x7f000001',
      '127.0.0.1.',
      '１２７.0.0.1', // full-width digits
      '127。0。0。1',
      '%31%32%37.0.0.1',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '[0:0:0:0:0:ffff:a9fe:a9fe]',
      '169.254.169.254',
      '0',
    ])
      expect(await codeFor(`https://${host}/`), host).to.equal('address_refused')
  })
  it('must be an absolute http(s) URL without credentials', async () => {
    for (const url of [
      '',
      'example.com',
      '/hook',
      'ftp://good.test/',
      'file:///etc/passwd',
      'javascript:alert(1)',
      'https://',
      'https://[::1/',
    ])
      expect(await codeFor(url), url).to.equal('invalid_url')
    for (const url of ['https://user:pass@good.test/', 'https://user@good.test/', 'https://:pass@good.test/'])
      expect(await codeFor(url), url).to.equal('invalid_url')
  })
  it('may be plain http only for addresses for which that is allowed', async () => {
    expect(await codeFor('http://good.test/')).to.equal('address_refused')
    expect(await codeFor('http://not-yet.test/')).to.equal('address_refused')
    expect(await codeFor('http://127.0.0.1:3000/', local)).to.equal('accepted')
    expect(await codeFor('http://good.test/', local)).to.equal('address_refused')
    const open = createAddressPolicy({ allowedSubnets: [], allowHttp: true })
    for (const url of ['http://good.test/', 'http://not-yet.test/']) expect(await codeFor(url, open), url).to.equal('accepted')
    expect(await codeFor('http://127.0.0.1/', open)).to.equal('address_refused')
  })
  it('is refused with a sentence that names the variable to set, and no address', async () => {
    const message = await check('https://evil.test/').catch((error: Error) => error.message)
    expect(message).to.contain('KOLBAK_ALLOWED_SUBNETS').and.not.contain('127.0.0.1')
  })
  it('is refused for localhost, which the system resolves', async () => {
    const code = await checkCallbackUrl('https://localhost/', strict).catch(codeOf)
    expect(code).to.equal('address_refused')
  })
})
