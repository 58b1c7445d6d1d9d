import { execFile } from 'node:child_process'
import { env } from 'node:process'
import { promisify } from 'node:util'
import { type Endpoint, isSameEndpoint, parseConnectionString } from '../../src/adapters/eventstoredb/connection-string.ts'
import { createLeaderFinder } from '../../src/adapters/eventstoredb/leader.ts'
import { startEventStoreDb, startEventStoreDbCluster } from './eventstoredb/index.ts'
import { startTcpProxy } from './tcp-proxy.ts'
import { waitFor } from './wait-for.ts'

/** A process of EventStoreDB in which a test causes faults: the double, or a node of a real server. */
export interface StoreNode {
  /** Ends the process normally. */
  stop(): Promise<void>
  /** Ends the process by `kill -9`. The data stay. */
  kill(): Promise<void>
  /** Starts the process again on the same port with the same data. If it still runs, it is stopped first. */
  restart(): Promise<void>
  /** Makes the process accept connections without ever responding. */
  freeze(): Promise<void> | void
  /** Ends the effect of `freeze`. */
  thaw(): Promise<void> | void
}
/** An EventStoreDB, which may be a cluster behind one address. */
export interface StoreServer extends StoreNode {
  /** The URL, which stays the same after restarts. */
  readonly url: string
  /** Cuts all connections. */
  drop(): Promise<void>
  /** Delays each response by this many milliseconds. */
  slow(ms: number): Promise<void>
}
export interface StoreCluster {
  /** The URL that names all three nodes. */
  readonly url: string
  readonly nodes: readonly StoreNode[]
  /** Waits for a leader and returns it. If `than` is given, waits for another leader than that node. */
  leader(than?: StoreNode): Promise<StoreNode>
  stop(): Promise<void>
}

/** A real EventStoreDB that a developer runs for the tests (CONTRIBUTING.md). */
export interface RealServer {
  readonly url: string
  /** The command that causes faults in its nodes. Without it, only the proxy of the tests causes faults. */
  readonly command: string | undefined
}
/** The real server that the variables name, or null when the tests use the double. */
export const realServer: RealServer | null =
  env.EVENTSTOREDB_URL === undefined ? null : { url: env.EVENTSTOREDB_URL, command: env.EVENTSTOREDB_CONTROL }

/** Starts an EventStoreDB of one node. For a real cluster, a proxy connects to its leader. */
export const startStoreServer = (options: { isEmpty: boolean }): Promise<StoreServer> =>
  realServer === null ? startEventStoreDb() : openRealServer(realServer, options)

/** Skips the tests of a cluster when the real server is a single node. Call it in the body of their suite. */
export function needsStoreCluster(): void {
  before(function () {
    if (realServer !== null && parseConnectionString(realServer.url).endpoints.length !== 3) this.skip()
  })
}
/** Starts a cluster of three nodes. */
export const startStoreCluster = (): Promise<StoreCluster> =>
  realServer === null ? startEventStoreDbCluster() : openRealCluster(realServer)

/** @param options `isEmpty`: the server must have no events, so the command `reset` is called */
export async function openRealServer(real: RealServer, { isEmpty }: { isEmpty: boolean }): Promise<StoreServer> {
  const nodes = nodesOf(real)
  if (isEmpty) await nodes.reset()
  const proxy = await startTcpProxy(nodes.leading)
  const hasCommand = real.command !== undefined
  let isKilled = false
  const start = async () => {
    await nodes.all('start')
    await nodes.responding()
    isKilled = false
  }
  return {
    // With `stop`, the tests disconnect from the server, which continues to run.
    url: real.url.replace(/^esdb(?:\+discover)?:\/\/(.*@)?[^/?]+/i, (_, user = '') => `esdb://${user}127.0.0.1:${proxy.port}`),
    async stop() {
      await proxy.close()
      if (isKilled) await start()
      nodes.close()
    },
    async kill() {
      proxy.refuse()
      if (!hasCommand) return
      await nodes.all('kill')
      isKilled = true
    },
    async restart() {
      proxy.refuse()
      if (hasCommand) {
        await nodes.all('stop')
        await start()
      }
      proxy.allow()
    },
    freeze: async () => (hasCommand ? nodes.all('freeze') : proxy.stall()),
    thaw: async () => (hasCommand ? nodes.all('thaw') : proxy.allow()),
    drop: async () => proxy.cut(),
    slow: async (ms) => proxy.delay(ms),
  }
}

/** Opens a real cluster, whose nodes have no events at first. There is no proxy, because nodes report each other's addresses. */
export async function openRealCluster(real: RealServer): Promise<StoreCluster> {
  const { control, reset, endpoints, leading, close } = nodesOf(real)
  await reset()
  const nodes = endpoints.map((_, i): StoreNode => {
    const tell = (verb: Verb) => () => control(verb, i)
    return {
      stop: tell('stop'),
      kill: tell('kill'),
      async restart() {
        await control('stop', i)
        await control('start', i)
      },
      freeze: tell('freeze'),
      thaw: tell('thaw'),
    }
  })
  return {
    url: real.url,
    nodes,
    leader: (than) =>
      waitFor(
        async () => {
          const leader = await leading()
          const node = nodes[endpoints.findIndex((endpoint) => isSameEndpoint(endpoint, leader))]
          return node === than ? undefined : node
        },
        { what: 'a leader' },
      ),
    async stop() {
      for (const node of nodes) await node.thaw()
      close()
    },
  }
}

type Verb = 'stop' | 'start' | 'kill' | 'freeze' | 'thaw' | 'reset'

/** The nodes of a real server, by their indexes in its URL. */
function nodesOf({ url, command }: RealServer) {
  const target = parseConnectionString(url)
  const { endpoints, isCluster } = target
  const finder = createLeaderFinder(target)
  const control = async (verb: Verb, node: number) => {
    if (command === undefined)
      throw new Error(`this test needs EVENTSTOREDB_CONTROL, a command that is called as \`command ${verb} ${node}\``)
    await promisify(execFile)(command, [verb, String(node)])
  }
  const all = async (verb: Verb) => {
    await Promise.all(endpoints.map((_, node) => control(verb, node)))
  }
  const leading = async (): Promise<Endpoint> => {
    if (!isCluster) return endpoints[0]!
    const { leader } = await finder.find()
    if (leader === null) throw new Error('no node leads')
    return leader
  }
  const responding = () =>
    waitFor(async () => (isCluster ? await leading() : (await finder.silence()) === null), { what: 'EventStoreDB to respond' })
  return {
    endpoints,
    control,
    all,
    leading,
    responding,
    async reset() {
      await all('reset')
      await responding()
    },
    close: () => finder.close(),
  }
}
