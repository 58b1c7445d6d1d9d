import type { EventStoreDBClient } from '@eventstore/db-client'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { StoreUnavailable } from '../../ports/event-store.ts'
import { type Endpoint, isSameEndpoint, type Target } from './connection-string.ts'
import { createLeaderFinder } from './leader.ts'

/** A client of one node, until that node is given up. */
export interface Connection {
  readonly client: EventStoreDBClient
  readonly endpoint: Endpoint
  /** Aborts when the node is given up. Its calls in flight are repeated on another connection. */
  readonly lost: AbortSignal
}

/**
 * The connection to the leader.
 *
 * The client library can search for a cluster's leader, but it is not used for this, for two reasons. When it finds no leader within ten
 * attempts, a promise that nothing awaits rejects and ends the process (`handleError` in its `Client/index.js` awaits the channel that is
 * being opened). It also stays with a leader that accepts connections and does not answer (its `shouldReconnect` knows no deadline). So
 * each client here is for a single node, and the library never searches for such a client.
 * https://github.com/kurrent-io/KurrentDB-Client-NodeJS/issues
 */
export interface Connections {
  /** Resolves with the connection as soon as there is a leader; rejects only when closed. */
  current(): Promise<Connection>
  /** Gives the node up, and searches for the leader again. Does so only in a cluster, because a single node has no replacement. */
  giveUp(connection: Connection, error: unknown): void
  /** The reason for which there is no connection. Null when there is one, and before the first failure. */
  readonly problem: unknown
  /**
   * Checks until the signal aborts whether another node leads. Readers need this, because they only wait and make no call that would fail.
   */
  watch(signal: AbortSignal): void
  close(): Promise<void>
}

/** Milliseconds between two checks of who leads, while readers wait. */
const watchMs = 1_000

export function createConnections(target: Target, log: Log): Connections {
  const finder = target.isCluster ? createLeaderFinder(target) : null
  const closing = new AbortController()
  let opening: Promise<Connection> | null = null
  let open: { connection: Connection; lost: AbortController } | null = null
  let hasGivenUp = false
  let problem: unknown = null
  let watchers = 0
  const disposals = new Set<Promise<void>>()

  const connect = (endpoint: Endpoint): Connection => {
    const lost = new AbortController()
    const connection = { client: target.clientOf(endpoint), endpoint, lost: lost.signal }
    open = { connection, lost }
    problem = null
    return connection
  }
  const look = async (): Promise<Connection> => {
    if (finder === null) return connect(target.endpoints[0]!)
    const delays = createBackoff(50, 500)
    while (!closing.signal.aborted) {
      const leader = await finder.find()
      if (closing.signal.aborted) break
      if (leader !== null) {
        if (hasGivenUp) log.info({ leader: `${leader.host}:${leader.port}` }, 'event_store.leader_found')
        return connect(leader)
      }
      problem = finder.lastError
      await pause(delays.next(), closing.signal)
    }
    throw new StoreUnavailable('the event store is closed')
  }
  const dispose = ({ client }: Connection) => {
    const disposal = closeClient(client).finally(() => disposals.delete(disposal))
    disposals.add(disposal)
  }
  const watching = async () => {
    while (watchers > 0 && !closing.signal.aborted) {
      await pause(watchMs, closing.signal)
      const watched = open?.connection
      if (watched === undefined || finder === null || closing.signal.aborted) continue
      const leader = await finder.find()
      if (leader !== null && !isSameEndpoint(leader, watched.endpoint)) giveUp(watched, 'another node leads')
    }
  }
  const giveUp = (connection: Connection, error: unknown) => {
    if (finder === null || open?.connection !== connection) return
    const { lost } = open
    log.warn({ node: `${connection.endpoint.host}:${connection.endpoint.port}`, error }, 'event_store.node_given_up')
    hasGivenUp = true
    problem = error
    open = null
    opening = null
    lost.abort()
    dispose(connection)
  }
  return {
    current() {
      opening ??= look()
      opening.catch(() => {}) // every caller awaits it; later it may be rejected while nothing awaits it
      return opening
    },
    giveUp,
    get problem() {
      return open === null ? problem : null
    },
    watch(signal) {
      if (finder === null || signal.aborted) return
      watchers++
      signal.addEventListener('abort', () => watchers--, { once: true })
      if (watchers === 1) void watching()
    },
    async close() {
      closing.abort()
      if (open !== null) dispose(open.connection)
      open?.lost.abort()
      finder?.close()
      await Promise.all(disposals)
    },
  }
}

/** Ends a client's calls and its channel. The library's `dispose` leaves the channel open, which then goes on pinging the node. */
async function closeClient(client: EventStoreDBClient): Promise<void> {
  const { getChannel } = client as unknown as { getChannel(): Promise<{ close(): void }> }
  await client.dispose()
  const channel = await getChannel()
  channel.close()
}
