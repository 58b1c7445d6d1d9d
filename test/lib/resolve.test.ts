import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { codeOf } from '../../src/lib/errors.ts'
import { createNameResolver, type Resolve } from '../../src/lib/resolve.ts'
import { type NameServer, startNameServer } from '../support/name-server.ts'
import { startStopwatch } from '../support/patience.ts'
import { waitFor } from '../support/wait-for.ts'

const six = '2606:4700:0:0:0:0:0:1111'

describe('resolving a name', () => {
  let folder: string
  let hostsFile: string
  let server: NameServer
  let resolve: Resolve
  const newResolver = () => createNameResolver({ hostsFile, nameServers: [server.address] })
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kolbak-hosts-'))
    hostsFile = join(folder, 'hosts')
    writeFileSync(hostsFile, '# a comment\n10.1.2.3\toverride.test Other.test # another\nfd00::1 other.test\nrubbish override.test\n')
    server = await startNameServer({
      'both.test': { A: ['8.8.8.8', '8.8.4.4'], AAAA: [six] },
      'four.test': { A: ['8.8.8.8'] },
      'six.test': { AAAA: [six] },
      'half.test': { A: ['8.8.8.8'], AAAA: 'silence' },
      'other-half.test': { A: 'silence', AAAA: [six] },
      'late.test': { A: ['8.8.8.8'], AAAA: { after: 300, addresses: [six] } },
      'denies-six.test': { A: { after: 100, addresses: ['8.8.8.8'] }, AAAA: 'denial' },
      'denies-four.test': { A: 'denial', AAAA: { after: 100, addresses: [six] } },
      'silent.test': { A: 'silence', AAAA: 'silence' },
      'override.test': { A: ['8.8.8.8'] },
    })
  })
  beforeEach(() => {
    resolve = newResolver()
  })
  after(async () => {
    await server.close()
    rmSync(folder, { recursive: true })
  })
  const textsOf = async (name: string) => (await resolve(name)).addresses.map(({ address }) => address).sort()

  it('returns the addresses of both families', async () => {
    expect(await textsOf('both.test')).to.deep.equal(['2606:4700::1111', '8.8.4.4', '8.8.8.8'])
    expect(await textsOf('four.test')).to.deep.equal(['8.8.8.8'])
    expect(await textsOf('six.test')).to.deep.equal(['2606:4700::1111'])
  })
  for (const name of ['half.test', 'other-half.test'])
    it(`does not wait for a family whose query gets no response (${name})`, async () => {
      const stopwatch = startStopwatch()
      const { addresses, lateAddresses } = await resolve(name)
      expect(stopwatch.elapsed()).to.be.lessThan(1_000)
      stopwatch.stop()
      expect(addresses).to.have.length(1)
      expect(await lateAddresses).to.deep.equal([])
    })
  it('returns the addresses of a late family through `lateAddresses`', async () => {
    const { addresses, lateAddresses } = await resolve('late.test')
    expect(addresses.map(({ address }) => address)).to.deep.equal(['8.8.8.8'])
    expect((await lateAddresses)?.map(({ address }) => address)).to.deep.equal(['2606:4700::1111'])
  })
  it('returns the addresses of one family even if the server denies the name for the other (RFC 4074, 4.2)', async () => {
    expect(await textsOf('denies-six.test')).to.deep.equal(['8.8.8.8'])
    expect(await textsOf('denies-four.test')).to.deep.equal(['2606:4700::1111'])
  })
  it('prefers entries of the hosts file to DNS, in upper or lower case', async () => {
    for (const name of ['override.test', 'OVERRIDE.test', 'override.test.']) expect(await textsOf(name), name).to.deep.equal(['10.1.2.3'])
    expect(await textsOf('other.test')).to.deep.equal(['10.1.2.3', 'fd00::1'])
    expect(server.questions).to.not.include('A override.test')
  })
  it('reads the hosts file again after a change', async () => {
    writeFileSync(hostsFile, '10.1.2.4 override.test\n')
    await waitFor(async () => {
      resolve = newResolver()
      return (await textsOf('override.test'))[0] === '10.1.2.4'
    })
  })
  it('fails with ENOTFOUND for a name that does not exist, and with EAI_AGAIN when the servers are silent', async () => {
    expect(await resolve('no-such-name.invalid').catch(codeOf)).to.equal('ENOTFOUND')
    expect(await resolve('silent.test').catch(codeOf)).to.equal('EAI_AGAIN')
  })
  it('sends one query for many calls at the same time', async () => {
    const before = server.questions.length
    await Promise.all(Array.from({ length: 20 }, () => resolve('four.test')))
    expect(server.questions.slice(before).sort()).to.deep.equal(['A four.test', 'AAAA four.test'])
  })
})
