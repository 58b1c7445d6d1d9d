import { setTimeout as sleep } from 'node:timers/promises'
import { EventStoreDBClient } from '@eventstore/db-client'
import { expect } from 'chai'
import { readConfig } from '../../src/config/config.ts'
import { silentLog } from '../../src/lib/log.ts'
import { verify } from '../../src/operator/verify.ts'
import { needsStoreCluster, type StoreCluster, type StoreNode, startStoreCluster, startStoreServer } from '../support/event-store-server.ts'
import { expectArrival } from '../support/expectations.ts'
import { isFull } from '../support/is-full.ts'
import { startLoad } from '../support/load.ts'
import { soonTakenOver } from '../support/patience.ts'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

const metricsToken = 'a-metrics-token-of-the-tests'

/** A fault of the cluster's nodes. */
interface Fault {
  readonly name: string
  /** Causes the fault. Resolves when there is a leader again, which may be the same node. */
  run(store: StoreCluster, leader: StoreNode): Promise<unknown>
  /** Whether the fault is also tested by default. Other faults are tested only in the whole matrix. */
  readonly isCommon?: boolean
}
const faults: readonly Fault[] = [
  {
    name: 'the leader is killed',
    isCommon: true,
    async run(store, leader) {
      await leader.kill()
      await store.leader(leader)
    },
  },
  {
    name: 'the leader is frozen',
    async run(store, leader) {
      await leader.freeze()
      await store.leader(leader)
      void sleep(isFull ? 25_000 : 8_000).then(() => leader.thaw())
    },
  },
  {
    name: 'the leader is stopped in order',
    async run(store, leader) {
      await leader.stop()
      await store.leader(leader)
    },
  },
  {
    name: 'two of three nodes are away for 15 s',
    async run(store, leader) {
      const [first, second] = store.nodes.filter((node) => node !== leader) as [StoreNode, StoreNode]
      await Promise.all([first.kill(), second.kill()])
      await sleep(15_000)
      await Promise.all([first.restart(), second.restart()])
      await store.leader()
    },
  },
  {
    name: 'all three nodes are killed',
    async run(store) {
      await Promise.all(store.nodes.map((node) => node.kill()))
      await sleep(2_000)
      await Promise.all(store.nodes.map((node) => node.restart()))
      await store.leader()
    },
  },
  {
    name: 'the three nodes are restarted one after another',
    async run(store) {
      for (const node of store.nodes) {
        await node.restart()
        await store.leader()
        await sleep(1_000)
      }
    },
  },
]

describe('two processes on a cluster of EventStoreDB', () => {
  needsStoreCluster()
  const processes = withServices({
    each: true,
    sharedDatabase: true,
    variables: { ...soonTakenOver, KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3', KOLBAK_LOG_HEAD_SECONDS: '1', KOLBAK_LOG_BATCH_SECONDS: '1' },
  })
  let store: StoreCluster
  beforeEach(async () => {
    store = await startStoreCluster()
  })
  afterEach(() => store.stop())

  for (const { name, run } of faults.filter((fault) => isFull || fault.isCommon))
    for (const round of isFull ? [1, 2, 3] : [1])
      it(`lose nothing, refuse no post and continue to deliver when ${name} (run ${round})`, async () => {
        const variables = { EVENTSTOREDB_URL: store.url }
        const [firstProcess, secondProcess] = await Promise.all([processes.start(variables), processes.start(variables)])
        const api = await clientOf(firstProcess.url)
        const webhook = await processes.subscribe(api, '/all')
        const loads = [
          startLoad(firstProcess.url, `Bearer ${api.token}`, { perSecond: 60 }),
          startLoad(secondProcess.url, `Bearer ${api.token}`, { perSecond: 60, from: 100_000 }),
        ]
        const accepted = () => loads.flatMap((load) => load.accepted)
        await waitFor(() => accepted().length > 240)

        const usualGapMs = longestGap(processes.receiver.received('/all').map((request) => request.at))
        const brokenAt = performance.now()
        await run(store, await store.leader())
        const leadsAt = performance.now()
        const commandMs = await untilChanged(api, webhook.id, leadsAt)
        const before = accepted().length
        await waitFor(() => accepted().length > before + 240)
        await Promise.all(loads.map((load) => load.stop()))

        await expectArrival(processes.receiver, '/all', accepted())
        const statuses = [...new Set(loads.flatMap((load) => [...load.responses.keys()]))]
        const standStillMs = longestGap(
          processes.receiver
            .received('/all')
            .map((request) => request.at)
            .filter((at) => at > brokenAt),
        )
        console.log(`      stood still ${Math.round(standStillMs)} ms, commands after ${Math.round(commandMs)} ms`)
        expect(statuses, 'statuses of all posts').to.deep.equal([202])
        expect([firstProcess, secondProcess].map(({ child }) => child.exitCode)).to.deep.equal([null, null])
        // On a busy machine, the gaps between deliveries are long even without a fault.
        expect(standStillMs, 'milliseconds without a delivery').to.be.below(Math.max(2_000, 5 * usualGapMs))
        expect(commandMs, 'milliseconds until a command is taken after another node leads').to.be.below(Math.max(6_000, 15 * usualGapMs))
        await waitFor(async () => (await repeatedIds(store.url)).length === 0, { what: 'every id to be stored once in its stream' })
        const config = readConfig(processes.variables({ ...variables, KOLBAK_DATA_DIR: processes.dataDir }))
        expect((await verify(config, silentLog, { batches: 1_000 })).faults, 'faults in the audit log').to.deep.equal([])
      })
})

describe('processes whose cluster of EventStoreDB has no leader', () => {
  needsStoreCluster()
  const processes = withServices({ each: true, sharedDatabase: true, variables: { ...soonTakenOver, KOLBAK_METRICS_TOKEN: metricsToken } })
  let store: StoreCluster
  beforeEach(async () => {
    store = await startStoreCluster()
  })
  afterEach(() => store.stop())

  /** Returns the failed health checks of a process. The list is empty when it is ready. */
  const failedChecks = async ({ url }: { url: string }) => {
    const response = await fetch(`${url}/health/ready`, { headers: { authorization: `Bearer ${metricsToken}` } })
    const { error } = (await response.json()) as { error: { details: { path: string; message: string }[] } | null }
    expect(response.status).to.equal(error === null ? 200 : 503)
    return error?.details ?? []
  }

  it('are not ready, name the reason, log it once and accept messages; they become ready when there is a leader', async () => {
    const variables = { EVENTSTOREDB_URL: store.url }
    const [whole, apiOnly] = [await processes.start(variables), await processes.start({ ...variables, KOLBAK_ROLES: 'api' })]
    const areReady = async () => (await Promise.all([whole, apiOnly].map(failedChecks))).every(({ length }) => length === 0)
    await waitFor(areReady)
    const api = await clientOf(apiOnly.url)
    const leader = await store.leader()
    const otherNodes = store.nodes.filter((node) => node !== leader)
    await Promise.all(otherNodes.map((node) => node.kill()))
    for (const service of [whole, apiOnly])
      await waitFor(async () => {
        const check = (await failedChecks(service)).find(({ path }) => path === 'event store')
        return check?.message === 'the cluster of EventStoreDB has no leader: more than half of its nodes must run and reach each other'
      })
    expect((await api.call('POST', '/v1/events', { event: 'a.b', payload: {} })).status).to.equal(202)
    expect((await api.call('POST', '/v1/webhooks', { callback_url: processes.receiver.url('/'), event: '*' })).status).to.equal(503)
    await otherNodes[0]!.restart()
    await waitFor(areReady, { what: 'the processes to be ready' })
    await processes.subscribe(api, '/')
    for (const { logLines } of [whole, apiOnly]) {
      const reasons = logLines.filter(({ msg }) => msg === 'event_store.unavailable').map(({ error }) => (error as Error).message)
      expect(reasons[0]).to.include('has no leader')
      expect(new Set(reasons).size, reasons.join('; ')).to.equal(reasons.length)
      expect(logLines.filter(({ msg }) => msg === 'event_store.available')).to.have.length(1)
      expect(logLines.filter(({ msg }) => msg === 'http.failed')).to.have.length.at.most(1)
    }
  })
})

describe('processes that start first on a new EventStoreDB', () => {
  const processes = withServices({ each: true, sharedDatabase: true })
  it('all become ready when many start at the same moment', async () => {
    const server = await startStoreServer({ isEmpty: true })
    try {
      const started = await Promise.all([1, 2, 3, 4].map(() => processes.start({ EVENTSTOREDB_URL: server.url })))
      for (const { url, child } of started) {
        await waitFor(async () => (await fetch(`${url}/health/ready`)).status === 200, { what: `${url} to be ready` })
        expect(child.exitCode).to.equal(null)
      }
    } finally {
      await server.stop()
    }
  })
})

/** Tries to change the webhook until the response is a 200. Returns the milliseconds from `since` to that response. */
async function untilChanged(api: Client, webhook: string, since: number): Promise<number> {
  let n = 0
  await waitFor(async () => (await api.call('PATCH', `/v1/webhooks/${webhook}`, { description: `change ${n++}` })).status === 200)
  return performance.now() - since
}

const longestGap = (times: readonly number[]): number => Math.max(0, ...times.map((time, i) => (i === 0 ? 0 : time - times[i - 1]!)))

/** Reads all events. Returns `<stream> <id>` of each event that its stream holds twice. */
async function repeatedIds(url: string): Promise<string[]> {
  const client = EventStoreDBClient.connectionString(`${url}${url.includes('?') ? '&' : '?'}maxDiscoverAttempts=100`)
  try {
    const seen = new Set<string>()
    const repeated: string[] = []
    for await (const { event } of client.readAll()) {
      if (event === undefined || event.streamId.startsWith('$')) continue
      const name = `${event.streamId} ${event.id}`
      if (seen.has(name)) repeated.push(name)
      seen.add(name)
    }
    return repeated
  } finally {
    await client.dispose()
  }
}
