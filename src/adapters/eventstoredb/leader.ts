import gossipClients, { type GossipClient } from '@eventstore/db-client/generated/gossip_grpc_pb.js'
import gossip from '@eventstore/db-client/generated/gossip_pb.js'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { StoreUnavailable } from '../../ports/event-store.ts'
import { type Endpoint, isSameEndpoint, type Target } from './connection-string.ts'
import { mostTelling, toPortError } from './errors.ts'

/** The leader, or else the reason why none was found, as an error of the port. */
type Search = { readonly leader: Endpoint } | { readonly leader: null; readonly problem: unknown }

/** Finds the leader of a cluster by asking all nodes at once. */
interface LeaderFinder {
  /**
   * Returns the node that reports itself as the leader, or null when no node does so in time. The reports of other nodes are not enough,
   * because a node names a frozen leader until it has noticed the freeze. Never rejects.
   */
  find(): Promise<Search>
  /** Returns the reason why no node responds, as an error of the port, or null when a node responds. Never rejects. */
  silence(): Promise<unknown>
  close(): void
}

/** Milliseconds within which a node must report the leader of its cluster. */
const gossipMs = 1_000
/** The most nodes that are remembered in addition to the nodes of the connection string. */
const maxMembers = 16

/** Status codes of a call to which no node has responded. */
const silent: readonly number[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED]
/** The text that replaces the name of a stream in an error about missing permissions. */
const gossipStream = 'the gossip of its nodes'

interface GossipReply {
  readonly endpoint: Endpoint
  /** The leader in the view of this node. */
  readonly leader: Endpoint | null
  /** The error if the node did not respond, or null. */
  readonly error: ServiceError | null
}

export function createLeaderFinder({ endpoints, channelCredentials }: Target): LeaderFinder {
  const clients = new Map<string, { endpoint: Endpoint; client: GossipClient }>()

  const add = (endpoint: Endpoint) => {
    const address = `${endpoint.host}:${endpoint.port}`
    if (clients.has(address) || clients.size >= endpoints.length + maxMembers) return
    // With this back-off, a node that comes back is connected within 0.5 s. gRPC's default back-off reaches two minutes.
    const options = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 500 }
    clients.set(address, { endpoint, client: new gossipClients.GossipClient(address, channelCredentials, options) })
  }
  for (const endpoint of endpoints) add(endpoint)

  /** Asks one node. Never rejects. */
  const ask = ({ endpoint, client }: { endpoint: Endpoint; client: GossipClient }): Promise<GossipReply> =>
    new Promise((resolve) => {
      client.read(new shared.Empty(), new Metadata(), { deadline: Date.now() + gossipMs }, (error, cluster) => {
        if (error) return resolve({ endpoint, leader: null, error })
        let leader: Endpoint | null = null
        for (const member of cluster.getMembersList()) {
          const http = member.getHttpEndPoint()
          if (http === undefined) continue
          const address = { host: http.getAddress(), port: http.getPort() }
          add(address)
          if (member.getIsAlive() && member.getState() === gossip.MemberInfo.VNodeState.LEADER) leader = address
        }
        resolve({ endpoint, leader, error: null })
      })
    })

  return {
    find: () =>
      new Promise((resolve) => {
        const replying = [...clients.values()].map(async (node) => {
          const reply = await ask(node)
          const { leader } = reply
          if (leader !== null && isSameEndpoint(leader, node.endpoint)) resolve({ leader })
          return reply
        })
        void Promise.all(replying).then((replies) => resolve({ leader: null, problem: whyNoLeader(replies) }))
      }),
    async silence() {
      const replies = await Promise.all([...clients.values()].map(ask))
      const errors = replies.map(({ error }) => error)
      // A node that refuses the question has responded.
      return errors.every((error) => error !== null && silent.includes(error.code)) ? toPortError(mostTelling(errors), gossipStream) : null
    },
    close() {
      for (const { client } of clients.values()) client.close()
    },
  }
}

function whyNoLeader(replies: readonly GossipReply[]): unknown {
  const errors = replies.flatMap(({ error }) => error ?? [])
  if (errors.length === replies.length) return toPortError(mostTelling(errors), gossipStream)
  const namedLeader = replies.find(({ leader }) => leader !== null)?.leader
  const leading = replies.find(({ endpoint }) => namedLeader && isSameEndpoint(endpoint, namedLeader))
  if (leading?.error) {
    const { host, port } = leading.endpoint
    const reason = (toPortError(leading.error, gossipStream) as Error).message
    return new StoreUnavailable(`${host}:${port} leads the cluster of EventStoreDB and cannot be reached: ${reason}`, {
      cause: leading.error,
    })
  }
  return new StoreUnavailable('the cluster of EventStoreDB has no leader: more than half of its nodes must run and reach each other')
}
