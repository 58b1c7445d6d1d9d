import gossipClients, { type GossipClient } from '@eventstore/db-client/generated/gossip_grpc_pb.js'
import gossip from '@eventstore/db-client/generated/gossip_pb.js'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import { Metadata } from '@grpc/grpc-js'
import { type Endpoint, isSameEndpoint, type Target } from './connection-string.ts'

/** Finds the node of a cluster that leads, by asking all nodes at once. */
interface LeaderFinder {
  /**
   * Returns the node that reports itself as the leader, or null when no node does so in time. The reports of other nodes are not enough,
   * because a node names a frozen leader until it has noticed the freeze. Never rejects.
   */
  find(): Promise<Endpoint | null>
  /** Why a node could not answer at the last search, or null when all nodes answered. */
  readonly lastError: unknown
  close(): void
}

/** Milliseconds within which a node must report the leader of its cluster. */
const gossipMs = 1_000
/** The most nodes that are remembered in addition to the nodes of the connection string. */
const maxMembers = 16

export function createLeaderFinder({ endpoints, channelCredentials }: Target): LeaderFinder {
  const clients = new Map<string, { endpoint: Endpoint; client: GossipClient }>()
  let lastError: unknown = null

  const add = (endpoint: Endpoint) => {
    const address = `${endpoint.host}:${endpoint.port}`
    if (clients.has(address) || clients.size >= endpoints.length + maxMembers) return
    // A node that comes back is connected within 0.5 s, and not after gRPC's usual back-off of up to two minutes.
    const options = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 500 }
    clients.set(address, { endpoint, client: new gossipClients.GossipClient(address, channelCredentials, options) })
  }
  for (const endpoint of endpoints) add(endpoint)

  /** Returns the leader that this node reports, or null. */
  const ask = (client: GossipClient): Promise<Endpoint | null> =>
    new Promise((resolve, reject) => {
      client.read(new shared.Empty(), new Metadata(), { deadline: Date.now() + gossipMs }, (error, cluster) => {
        if (error) return reject(error)
        let leader: Endpoint | null = null
        for (const member of cluster.getMembersList()) {
          const http = member.getHttpEndPoint()
          if (http === undefined) continue
          const endpoint = { host: http.getAddress(), port: http.getPort() }
          add(endpoint)
          if (member.getIsAlive() && member.getState() === gossip.MemberInfo.VNodeState.LEADER) leader = endpoint
        }
        resolve(leader)
      })
    })

  return {
    find: () =>
      new Promise((resolve) => {
        let unanswered = clients.size
        const settle = () => {
          if (--unanswered === 0) resolve(null)
        }
        lastError = null
        for (const { endpoint, client } of [...clients.values()])
          ask(client)
            .then(
              (leader) => {
                if (leader !== null && isSameEndpoint(leader, endpoint)) resolve(leader)
              },
              (error: unknown) => {
                lastError = error
              },
            )
            .finally(settle)
      }),
    get lastError() {
      return lastError
    },
    close() {
      for (const { client } of clients.values()) client.close()
    },
  }
}
