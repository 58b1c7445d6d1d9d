import type { EventStoreDBClient } from '@eventstore/db-client'
import { type Channel, Client } from '@grpc/grpc-js'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { StoreUnavailable } from '../../ports/event-store.ts'
import { type Endpoint, isSameEndpoint, type Target } from './connection-string.ts'
import type { StoreHealth } from './health.ts'
import { createLeaderFinder } from './leader.ts'

/** A client of one node. It is used until the node is given up. */
export interface Connection {
  readonly client: EventStoreDBClient
  readonly endpoint: Endpoint
  /** Returns a client for calls without the library, on the library's channel. */
  raw(): Promise<Client>
  /** Aborts when the node is given up. Its calls in flight are repeated on another connection. */
  readonly lost: AbortSignal
}

/**
 * The connection to the leader.
 *
 * The client library can search for a cluster's leader, but it is not used for this, for two reasons. When it finds no leader within ten
 * attempts, it rejects a promise that no code awaits, and this ends the process (see `handleError` in its `Client/index.js`). It also keeps a
 * leader that accepts connections and does not respond (its `shouldReconnect` has no deadline). So each client here is for a single node, for which
 * the library does not search.
 * https://github.com/kurrent-io/KurrentDB-Client-NodeJS/issues
 */
export interface Connections {
  /** Resolves with the connection as soon as there is a leader; rejects only when closed. */
  current(): Promise<Connection>
  /** Gives the node up, and searches for the leader again. Does nothing for a single node, because it has no replacement. */
  giveUp(connection: Connection, error: unknown): void
  /** The reason for which there is no connection. Null when there is one, and before the first failure. */
  readonly problem: unknown
  /** Starts to check each second that the leader still leads and responds. Readers need this, because they make no call that would fail. */
  watch(): void
  close(): Promise<void>
}

/** Milliseconds between two checks of who leads. */
const watchMs = 1_000

export function createConnections(target: Target, log: Log, health: StoreHealth): Connections {
  const finder = createLeaderFinder(target)
  const leadership = health.source({ explains: true })
  const closing = new AbortController()
  let opening: Promise<Connection> | null = null
  let open: { connection: Connection; lost: AbortController } | null = null
  let hasGivenUp = false
  let problem: unknown = null
  const disposals = new Set<Promise<void>>()

  const connect = (endpoint: Endpoint): Connection => {
    const lost = new AbortController()
    const connection = connectionTo(target, endpoint, lost.signal)
    open = { connection, lost }
    problem = null
    return connection
  }
  const look = async (): Promise<Connection> => {
    if (!target.isCluster) return connect(target.endpoints[0]!)
    const delays = createBackoff(50, 500)
    while (!closing.signal.aborted) {
      const search = await finder.find()
      if (closing.signal.aborted) break
      const { leader } = search
      if (leader !== null) {
        leadership.succeeded()
        if (hasGivenUp) log.info({ leader: `${leader.host}:${leader.port}` }, 'event_store.leader_found')
        return connect(leader)
      }
      problem = search.problem
      leadership.failed(problem)
      await pause(delays.next(), closing.signal)
    }
    throw new StoreUnavailable('the event store is closed')
  }
  const current = () => {
    opening ??= look()
    opening.catch(() => {}) // the promise may be rejected while no caller awaits it
    return opening
  }
  const dispose = ({ client }: Connection) => {
    const disposal = closeClient(client).finally(() => disposals.delete(disposal))
    disposals.add(disposal)
  }
  const check = async (watched: Connection) => {
    if (!target.isCluster) {
      const silence = await finder.silence()
      if (silence === null) leadership.succeeded()
      else leadership.failed(silence)
      return
    }
    const search = await finder.find()
    if (search.leader === null) leadership.failed(search.problem)
    else if (isSameEndpoint(search.leader, watched.endpoint)) leadership.succeeded()
    else giveUp(watched, 'another node leads')
  }
  const watching = async () => {
    while (!closing.signal.aborted) {
      await pause(watchMs, closing.signal)
      const watched = await current().catch(() => null) // it rejects only when closed
      if (watched !== null && !closing.signal.aborted) await check(watched)
    }
  }
  const giveUp = (connection: Connection, error: unknown) => {
    if (!target.isCluster || open?.connection !== connection) return
    const { lost } = open
    log.warn({ node: `${connection.endpoint.host}:${connection.endpoint.port}`, error }, 'event_store.node_given_up')
    hasGivenUp = true
    problem = null
    open = null
    opening = null
    lost.abort()
    dispose(connection)
  }
  return {
    current,
    giveUp,
    get problem() {
      return open === null ? problem : null
    },
    watch() {
      void watching()
    },
    async close() {
      closing.abort()
      if (open !== null) dispose(open.connection)
      open?.lost.abort()
      finder.close()
      await Promise.all(disposals)
    },
  }
}

function connectionTo(target: Target, endpoint: Endpoint, lost: AbortSignal): Connection {
  const client = target.clientOf(endpoint)
  let raw: { channel: Channel; client: Client } | undefined
  return {
    client,
    endpoint,
    lost,
    async raw() {
      // The library opens another channel after some failures.
      const channel = await channelOf(client)
      if (raw?.channel !== channel) raw = { channel, client: new Client('', target.channelCredentials, { channelOverride: channel }) }
      return raw.client
    },
  }
}

/**
 * Ends a client's calls and its channel. The library's `dispose` is not used, for two reasons. It waits for each stream to end, and a
 * stream that was given up with events still unread never ends. It also leaves the channel open, which then continues to ping the node.
 */
async function closeClient(client: EventStoreDBClient): Promise<void> {
  const { disposableStreams } = client as unknown as { disposableStreams: ReadonlySet<{ cancel(): void }> }
  for (const stream of disposableStreams) stream.cancel()
  const channel = await channelOf(client)
  channel.close()
}

/** The library declares its channel as private. */
const channelOf = (client: EventStoreDBClient): Promise<Channel> => (client as unknown as { getChannel(): Promise<Channel> }).getChannel()
