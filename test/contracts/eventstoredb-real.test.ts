import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { createEventStoreDbStore } from '../../src/adapters/eventstoredb/event-store.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type EventStore, StoreUnavailable } from '../../src/ports/event-store.ts'
import { aWebhook, errorOf, someEvents } from '../support/event-store-events.ts'
import { openRealCluster, openRealServer, type RealServer, type StoreServer } from '../support/event-store-server.ts'
import { freePorts } from '../support/free-ports.ts'
import { waitFor } from '../support/wait-for.ts'

// On a real EventStoreDB, the tests connect by a URL, and cause faults by a proxy and a command. Here the double takes the place of the real server.
describe('the helpers of tests on a real EventStoreDB', () => {
  let folder: string
  const stores: EventStore[] = []
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kolbak-real-'))
  })
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  const open = async (url: string, appendTimeoutMs = 10_000) => {
    const store = await createEventStoreDbStore({ url, dayStreamMaxAgeSeconds: 3_600, log: silentLog, appendTimeoutMs })
    stores.push(store)
    return store
  }
  /** @param ports one port for a single node, or six for a cluster */
  const realOn = async (ports: readonly number[]): Promise<RealServer> => {
    const nodes = ports.length === 1 ? ports : ports.slice(0, 3)
    const command = join(folder, 'control')
    const script = join(import.meta.dirname, '../support/eventstoredb/control-double.ts')
    const variables = `DOUBLE_PORTS=${ports} DOUBLE_FOLDER=${folder}`
    await writeFile(command, `#!/bin/sh\n${variables} exec ${execPath} ${script} "$@"\n`, { mode: 0o755 })
    return { url: `esdb://${nodes.map((port) => `127.0.0.1:${port}`).join(',')}?tls=false`, command }
  }

  const end = (real: RealServer, nodes: number) =>
    Promise.all(Array.from({ length: nodes }, (_, node) => promisify(execFile)(real.command!, ['kill', String(node)])))

  /** Expects that the stream, which has one event, cannot be read while the server is killed or frozen, and can be read again after that. */
  const expectOutages = async (server: StoreServer, store: EventStore, stream: StreamName) => {
    for (const [fault, repair] of [
      [() => server.kill(), () => server.restart()],
      [() => server.freeze(), () => server.thaw()],
    ] as const) {
      await fault()
      expect(await errorOf(store.read(stream))).to.be.instanceOf(StoreUnavailable)
      await repair()
      await waitFor(async () => (await store.read(stream)).length === 1)
    }
  }

  it('cause faults on a single node by the proxy and by the command', async () => {
    const real = await realOn(await freePorts(1))
    const server = await openRealServer(real, { isEmpty: true })
    try {
      const store = await open(server.url, 1_000)
      const stream = aWebhook()
      await store.append(stream, someEvents(1), 'none')
      await server.drop()
      expect(await store.read(stream)).to.have.length(1)
      await server.slow(200)
      const startedAt = performance.now()
      await store.read(stream)
      expect(performance.now() - startedAt).to.be.at.least(190)
      await server.slow(0)
      await expectOutages(server, store, stream)
      const reopened = await openRealServer(real, { isEmpty: true })
      expect(await (await open(reopened.url)).read(stream)).to.deep.equal([])
      await reopened.stop()
    } finally {
      await server.stop()
      await end(real, 1)
    }
  })
  it('cause faults on a single node by the proxy alone if there is no command', async () => {
    const real = await realOn(await freePorts(1))
    const starter = await openRealServer(real, { isEmpty: true })
    const server = await openRealServer({ url: real.url, command: undefined }, { isEmpty: false })
    try {
      const store = await open(server.url, 1_000)
      const stream = aWebhook()
      await store.append(stream, someEvents(1), 'none')
      await expectOutages(server, store, stream)
    } finally {
      await server.stop()
      await starter.stop()
      await end(real, 1)
    }
  })
  it('cause faults on the nodes of a cluster by the command', async () => {
    const real = await realOn(await freePorts(6))
    const cluster = await openRealCluster(real)
    try {
      const store = await open(cluster.url)
      const stream = aWebhook()
      await store.append(stream, someEvents(1), 'none')
      const first = await cluster.leader()
      await first.freeze()
      const second = await cluster.leader(first)
      expect((await store.append(stream, someEvents(1), 0)).revision).to.equal(1)
      await first.thaw()
      await second.kill()
      await cluster.leader(second)
      expect((await store.append(stream, someEvents(1), 1)).revision).to.equal(2)
    } finally {
      await cluster.stop()
      await end(real, 3)
    }
  })
})
