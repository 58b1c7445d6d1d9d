import { expect } from 'chai'
import fc from 'fast-check'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'

const strict = createAddressPolicy({ allowedSubnets: [], allowHttp: false })
const local = createAddressPolicy({ allowedSubnets: ['127.0.0.0/8', '::1/128'].map(parseSubnet), allowHttp: false })

const refused = {
  'this network': ['0.0.0.0', '0.1.2.3'],
  loopback: ['127.0.0.1', '127.255.255.254', '::1'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1', 'fd12:3456::1'],
  'link-local': ['169.254.0.1', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
  'cloud metadata': ['169.254.169.254', '100.100.100.200', '192.0.0.192', '168.63.129.16', '::ffff:168.63.129.16', 'fd00:ec2::254'],
  'carrier-grade NAT': ['100.64.0.1', '100.127.255.255'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1', 'ff0e::1'],
  broadcast: ['255.255.255.255'],
  reserved: ['240.0.0.1', '192.0.0.1', '192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1', '192.88.99.1', '2001:db8::1', '100::1'],
  unspecified: ['::'],
  'IPv4-mapped': ['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::ffff:169.254.169.254'],
  'IPv4-compatible and -translated': ['::127.0.0.1', '::a9fe:a9fe', '::ffff:0:127.0.0.1'],
  'NAT64 of such': [
    '64:ff9b::7f00:1',
    '64:ff9b::10.0.0.1',
    '64:ff9b::169.254.169.254',
    '64:ff9b:1::7f00:1',
    '64:ff9b:1::808:808',
    '64:ff9b:1:7f00:0:100:808:808',
  ],
  '6to4 of such': ['2002:7f00:1::', '2002:a00:1::1', '2002:a9fe:a9fe::1'],
  // A Teredo address ends with the client's address, whose bits are inverted.
  'Teredo with a private address': ['2001:0:4136:e378:8000:63bf:80ff:fffe', '2001:0:808:808::5601:5601'],
  'site-local': ['fec0::1'],
  'not an address': ['', 'localhost', 'example.com', '1.2.3.4.5', '::g'],
}
const allowed = {
  'public IPv4': ['8.8.8.8', '1.1.1.1', '172.15.0.1', '172.32.0.1', '100.63.255.255', '100.128.0.1', '223.255.255.255'],
  'public IPv6': ['2606:4700:4700::1111', '2a00:1450:4001::1'],
  'public addresses in another form': ['::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::1', '2001:0:4136:e378:8000:63bf:f7f7:f7f7'],
}

describe('the address policy', () => {
  for (const [what, addresses] of Object.entries(refused))
    it(`refuses ${what}`, () => {
      for (const address of addresses) expect(strict.allows(address), address).to.equal(false)
    })
  for (const [what, addresses] of Object.entries(allowed))
    it(`allows ${what}`, () => {
      for (const address of addresses) expect(strict.allows(address), address).to.equal(true)
    })
  it('treats an IPv4 address in the same way in every form that embeds it', () => {
    const byte = fc.integer({ min: 0, max: 255 })
    const hex = (...bytes: number[]) => Buffer.from(bytes).toString('hex')
    fc.assert(
      fc.property(byte, byte, byte, byte, (a, b, c, d) => {
        const plain = strict.allows(`${a}.${b}.${c}.${d}`)
        const [high, low] = [hex(a, b), hex(c, d)]
        const turned = [hex(a ^ 255, b ^ 255), hex(c ^ 255, d ^ 255)]
        for (const form of [
          `::ffff:${high}:${low}`,
          `64:ff9b::${high}:${low}`,
          `2002:${high}:${low}::1`,
          `2001:0:808:808:0:0:${turned[0]}:${turned[1]}`,
          `[::ffff:${high}:${low}]`,
        ])
          expect(strict.allows(form), form).to.equal(plain)
      }),
      { numRuns: 500 },
    )
  })
  it('allows the configured subnets, in every form, and no others', () => {
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) expect(local.allows(address), address).to.equal(true)
    for (const address of ['10.0.0.1', '169.254.169.254', '::2', '::ffff:10.0.0.1']) expect(local.allows(address), address).to.equal(false)
  })
  it('allows plain http to the configured subnets, or everywhere if so configured', () => {
    expect(local.allowsPlainHttp('127.0.0.1')).to.equal(true)
    expect(local.allowsPlainHttp('8.8.8.8')).to.equal(false)
    const open = createAddressPolicy({ allowedSubnets: [], allowHttp: true })
    expect(open.allowsPlainHttp('8.8.8.8')).to.equal(true)
    expect(open.allows('127.0.0.1')).to.equal(false)
  })
  it('refuses a text that is not a subnet', () => {
    for (const text of ['', '127.0.0.1', '127.0.0.0/33', 'localhost/8', '::1/129'])
      expect(() => parseSubnet(text), text)
        .to.throw()
        .with.property('code', 'invalid_subnet')
    expect(parseSubnet(' 10.0.0.0/8 ')[1]).to.equal(8)
  })
})
