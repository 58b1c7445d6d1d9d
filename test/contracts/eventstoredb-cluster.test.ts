import { randomUUID } from 'node:crypto'
import { EventStoreDBClient, jsonEvent, NO_STREAM, NotLeaderError } from '@eventstore/db-client'
import { expect } from 'chai'
import { errorOf } from '../support/event-store-events.ts'
import { type EventStoreDbCluster, type EventStoreDbProcess, startEventStoreDbCluster } from '../support/eventstoredb/index.ts'
import { waitFor } from '../support/wait-for.ts'

const credentials = { username: 'none', password: 'none' }
const aStream = () => `webhook-${randomUUID()}`
const anEvent = () => jsonEvent({ id: randomUUID(), type: 'Tested', data: {} })

describe("EventStoreDB's double as a cluster of three", () => {
  let cluster: EventStoreDbCluster
  beforeEach(async () => {
    cluster = await startEventStoreDbCluster()
  })
  afterEach(() => cluster.stop())

  /** Calls a node with a new client, which requires the leader as the adapter does. */
  const at = async <T>(node: EventStoreDbProcess, call: (client: EventStoreDBClient) => Promise<T>): Promise<T> => {
    const client = EventStoreDBClient.connectionString(node.url)
    try {
      return await call(client)
    } finally {
      await client.dispose()
    }
  }
  const append = (node: EventStoreDbProcess, stream: string) =>
    at(node, async (client) => {
      const result = await client.appendToStream(stream, [anEvent()], { credentials, requiresLeader: true, deadline: 3_000 })
      return Number(result.nextExpectedRevision)
    })
  const read = (node: EventStoreDbProcess, stream: string) =>
    at(node, async (client) => {
      const revisions: number[] = []
      for await (const { event } of client.readStream(stream, { credentials, requiresLeader: true }))
        revisions.push(Number(event?.revision))
      return revisions
    })

  it('returns the leader when a follower is called', async () => {
    const leader = await cluster.leader()
    const follower = cluster.nodes.find((node) => node !== leader)!
    const error = await errorOf(append(follower, aStream()))
    expect(error).to.be.instanceOf(NotLeaderError)
    expect(`esdb://127.0.0.1:${(error as NotLeaderError).leader.port}?tls=false`).to.equal(leader.url)
  })
  for (const [name, end] of [
    ['killed', (node: EventStoreDbProcess) => node.kill()],
    ['stopped in order', (node: EventStoreDbProcess) => node.stop()],
    ['frozen', async (node: EventStoreDbProcess) => node.freeze()],
  ] as const)
    it(`elects another leader, which has every confirmed event, when the first is ${name}`, async () => {
      const stream = aStream()
      const first = await cluster.leader()
      for (let revision = 0; revision < 5; revision++) expect(await append(first, stream)).to.equal(revision)
      await end(first)
      const second = await cluster.leader(first)
      expect(await read(second, stream)).to.deep.equal([0, 1, 2, 3, 4])
      expect(await append(second, stream)).to.equal(5)
      // A leader that was frozen has missed the election. Events that it accepts are never stored beside the events of the new leader.
      if (name === 'frozen') {
        first.thaw()
        await errorOf(append(first, stream))
        await waitFor(async () => (await first.role()) === 'follower')
        expect(await read(second, stream)).to.deep.equal([0, 1, 2, 3, 4, 5])
      }
    })
  it('has no leader while two of three nodes are down, and has the same events when one is back', async () => {
    const stream = aStream()
    const leader = await cluster.leader()
    await append(leader, stream)
    const otherNodes = cluster.nodes.filter((node) => node !== leader)
    await Promise.all(otherNodes.map((node) => node.kill()))
    await waitFor(async () => (await leader.role()) === 'unknown')
    expect(await errorOf(append(leader, stream))).to.have.property('code', 14)
    await otherNodes[0]!.restart()
    expect(await read(await cluster.leader(), stream)).to.deep.equal([0])
  })
  it('keeps its events and forgets the ids when all three nodes are killed and started again', async () => {
    const stream = aStream()
    const event = anEvent()
    const appendIt = async (options: object) =>
      at(await cluster.leader(), async (client) =>
        Number((await client.appendToStream(stream, [event], { credentials, requiresLeader: true, ...options })).nextExpectedRevision),
      )
    expect(await appendIt({})).to.equal(0)
    expect(await appendIt({})).to.equal(0)
    await Promise.all(cluster.nodes.map((node) => node.kill()))
    await Promise.all(cluster.nodes.map((node) => node.restart()))
    expect(await appendIt({ expectedRevision: NO_STREAM })).to.equal(0)
    expect(await appendIt({})).to.equal(1)
  })
})
