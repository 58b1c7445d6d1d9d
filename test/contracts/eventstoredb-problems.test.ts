import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createEventStoreDbStore } from '../../src/adapters/eventstoredb/event-store.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type EventStore, StoreUnavailable } from '../../src/ports/event-store.ts'
import { type CapturingLog, capturingLog } from '../support/capturing-log.ts'
import { type Authority, type Certificate, createAuthority } from '../support/certificates.ts'
import { aWebhook, errorOf } from '../support/event-store-events.ts'
import {
  type EventStoreDbCluster,
  type EventStoreDbProcess,
  startEventStoreDb,
  startEventStoreDbCluster,
} from '../support/eventstoredb/index.ts'
import { waitFor } from '../support/wait-for.ts'

const users = { kolbak: { password: 'p@ss:word?&', isAdmin: true }, guest: { password: 'guest', isAdmin: false } }
/** The names in the certificate of a test server. */
const ownNames = ['IP:127.0.0.1', 'DNS:localhost']
const tlsOf = ({ key, cert }: Certificate) => ({ key, certificate: cert })
const login = `kolbak:${encodeURIComponent(users.kolbak.password)}`

describe('the event store on EventStoreDB names what is wrong', () => {
  let folder: string
  let authority: Authority
  let caFile: string
  const servers: { stop(): Promise<void> }[] = []
  let secure: EventStoreDbProcess
  let plain: EventStoreDbProcess
  const started = async <T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
    const server = await starting
    servers.push(server)
    return server
  }
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kolbak-tls-'))
    authority = createAuthority()
    caFile = join(folder, 'ca.pem')
    await writeFile(caFile, authority.cert)
    secure = await started(startEventStoreDb({ tls: tlsOf(authority.issue(ownNames)), users }))
    plain = await started(startEventStoreDb())
  })
  after(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    await rm(folder, { recursive: true })
  })

  const open = (url: string) => createEventStoreDbStore({ url, dayStreamMaxAgeSeconds: 3_600, log: silentLog, appendTimeoutMs: 1_500 })
  /** Returns the URL of a server, with the login and the authority that its clients need. */
  const urlOf = (server: { readonly url: string }, { as = login, ca = caFile, cluster = false, host = '127.0.0.1' } = {}) => {
    const isTls = server.url.includes('tls=true')
    const hosts = /\/\/(.*)\?/.exec(server.url)?.[1]?.replaceAll('127.0.0.1', host)
    return `esdb${cluster ? '+discover' : ''}://${isTls ? `${as}@` : ''}${hosts}?tls=${isTls}${isTls && ca !== '' ? `&tlsCAFile=${ca}` : ''}`
  }
  const problemOf = async (url: string): Promise<string> => {
    const error = await errorOf(open(url))
    expect(error).to.be.instanceOf(StoreUnavailable)
    return (error as Error).message
  }

  it('opens with TLS and a user, with any characters in the password', async () => {
    for (const options of [{}, { cluster: true }, { host: 'localhost' }]) {
      const store = await open(urlOf(secure, options))
      expect(store.problem).to.equal(null)
      await store.close()
    }
  })

  describe('with the user', () => {
    it('when the password is wrong, or no user has this name', async () => {
      for (const as of ['kolbak:wrong', 'nobody:wrong'])
        for (const cluster of [false, true])
          expect(await problemOf(urlOf(secure, { as, cluster }))).to.equal(
            'EventStoreDB does not accept the user and password in EVENTSTOREDB_URL',
          )
    })
    it('when the user may not read $all', async () => {
      expect(await problemOf(urlOf(secure, { as: 'guest:guest' }))).to.match(
        /denies the user in EVENTSTOREDB_URL access to \$all: .*\$admins/,
      )
    })
  })

  // For one node the client library connects. For a cluster the search for the leader connects first.
  for (const cluster of [false, true])
    describe(`with ${cluster ? 'the nodes of a cluster' : 'one node'}`, () => {
      it('when the authority of the certificate is unknown', async () => {
        const other = join(folder, 'other.pem')
        await writeFile(other, createAuthority().cert)
        for (const ca of ['', other])
          expect(await problemOf(urlOf(secure, { ca, cluster })))
            .to.include('unknown authority')
            .and.to.include('tlsCAFile')
      })
      it('when the certificate has expired', async () => {
        const server = await started(startEventStoreDb({ tls: tlsOf(authority.issue(ownNames, -1)) }))
        expect(await problemOf(urlOf(server, { cluster }))).to.include('certificate of EventStoreDB has expired')
      })
      it('when the certificate is for another name', async () => {
        const server = await started(startEventStoreDb({ tls: tlsOf(authority.issue(['DNS:elsewhere.example'])) }))
        expect(await problemOf(urlOf(server, { cluster }))).to.include('is for another name')
      })
      it('when the client uses TLS and the port does not', async () => {
        const url = urlOf({ url: plain.url.replace('tls=false', 'tls=true') }, { cluster })
        expect(await problemOf(url))
          .to.include('does not speak TLS on this port')
          .and.to.include('?tls=false')
      })
      it('when the port uses TLS and the client does not', async () => {
        const url = urlOf({ url: secure.url.replace('tls=true', 'tls=false') }, { cluster })
        expect(await problemOf(url)).to.include('if the server speaks TLS, remove ?tls=false')
      })
      it('when the connection is closed or reset at once, because some servers and proxies that expect TLS do so', async () => {
        for (const end of ['end', 'resetAndDestroy'] as const) {
          const server = createServer((socket) => {
            socket.on('error', () => {})
            socket.once('data', () => socket[end]())
          })
          servers.push(await listening(server))
          const { port } = server.address() as { port: number }
          expect(await problemOf(urlOf({ url: `esdb://127.0.0.1:${port}?tls=false` }, { cluster }))).to.include(
            'ends the connection at once',
          )
          expect(await problemOf(urlOf({ url: `esdb://127.0.0.1:${port}?tls=true` }, { cluster }))).to.match(/at once|does not speak TLS/)
        }
      })
      it('when the host has no address', async () => {
        expect(await problemOf(urlOf(plain, { host: 'no-such-host.invalid', cluster }))).to.include('cannot be resolved')
      })
      it('when nothing listens', async () => {
        expect(await problemOf(urlOf({ url: 'esdb://127.0.0.1:1?tls=false' }, { cluster }))).to.include('nothing listens')
      })
      it('when it accepts connections and does not respond', async () => {
        const server = createServer((socket) => socket.on('error', () => {}))
        servers.push(await listening(server))
        const { port } = server.address() as { port: number }
        expect(await problemOf(urlOf({ url: `esdb://127.0.0.1:${port}?tls=false` }, { cluster }))).to.include('did not respond')
      })
    })
})

describe('a cluster of EventStoreDB without a leader', () => {
  let cluster: EventStoreDbCluster
  let store: EventStore
  let log: CapturingLog
  const open = () => createEventStoreDbStore({ url: cluster.url, dayStreamMaxAgeSeconds: 3_600, log, appendTimeoutMs: 2_000 })
  beforeEach(async () => {
    cluster = await startEventStoreDbCluster()
    log = capturingLog()
    store = await open()
  })
  afterEach(async () => {
    await store.close()
    await cluster.stop()
  })
  const linesOf = (message: string) => log.lines.filter((line) => line.includes(`"message":"${message}"`))

  it('is reported as a problem of the store until there is a leader; its start and its end are logged once', async () => {
    const reading = new AbortController()
    const readers = ['webhook', 'key'] as const
    const ended = Promise.all(
      readers.map(async (family) => {
        for await (const _ of store.subscribe({ families: [family], after: null, signal: reading.signal }));
      }),
    )
    const leader = await cluster.leader()
    const otherNodes = cluster.nodes.filter((node) => node !== leader)
    await Promise.all(otherNodes.map((node) => node.kill()))
    await waitFor(() => store.problem !== null, { what: 'the problem' })
    expect(store.problem).to.match(/cluster of EventStoreDB has no leader/)
    const failures = await Promise.all([store.head(['webhook']), store.read(aWebhook()), open()].map(errorOf))
    for (const failure of failures) expect(failure).to.have.property('message', store.problem)
    await otherNodes[0]!.restart()
    await waitFor(() => store.problem === null, { what: 'the end of the problem' })
    await store.head(['webhook'])
    expect(linesOf('event_store.unavailable')[0]).to.include('has no leader')
    expect(new Set(linesOf('event_store.unavailable')).size).to.equal(linesOf('event_store.unavailable').length)
    expect(linesOf('event_store.available')).to.have.length(1)
    reading.abort()
    await ended
  })
  it('is no problem if another node becomes the leader at once', async () => {
    const leader = await cluster.leader()
    await leader.kill()
    await cluster.leader(leader)
    await store.head(['webhook'])
    expect(linesOf('event_store.unavailable')).to.deep.equal([])
  })
})

const listening = (server: Server): Promise<{ stop(): Promise<void> }> =>
  new Promise((resolve) => {
    const sockets = new Set<{ destroy(): void }>()
    server.on('connection', (socket) => sockets.add(socket))
    const stop = async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
    server.listen(0, '127.0.0.1', () => resolve({ stop }))
  })
