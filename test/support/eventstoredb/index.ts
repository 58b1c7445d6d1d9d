import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { createInterface } from 'node:readline'
import type { StoreCluster, StoreNode, StoreServer } from '../event-store-server.ts'
import { freePorts } from '../free-ports.ts'
import { waitFor } from '../wait-for.ts'
import type { FaultSettings, Method } from './faults.ts'
import type { Role } from './replication.ts'
import type { DoubleOptions } from './server.ts'

/** A double of EventStoreDB that runs in a separate process. */
export interface EventStoreDbProcess extends StoreServer {
  /** Changes the faults of the double. */
  fail(settings: Partial<FaultSettings>): Promise<void>
  /** Removes expired events from $all. */
  scavenge(): Promise<void>
  /** Returns the number of calls of each method since the start of the double. */
  calls(): Promise<Record<Method, number>>
  /** Returns the role of the node in the cluster, or null when the node does not respond. */
  role(): Promise<Role | null>
}

/** @param options `data` is a folder that is kept; by default the double uses a temporary folder */
export async function startEventStoreDb(options: Partial<DoubleOptions> = {}): Promise<EventStoreDbProcess> {
  const data = options.data ?? (await mkdtemp(join(tmpdir(), 'kolbak-eventstoredb-')))
  let child: ChildProcess | undefined
  let port = options.port ?? 0
  let control = 0

  const start = async () => {
    const main = join(import.meta.dirname, 'main.ts')
    child = spawn(execPath, [main, JSON.stringify({ ...options, data, port } satisfies DoubleOptions)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const line = await Promise.race([
      once(createInterface(child.stdout!), 'line').then(([text]) => text as string),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`the double of EventStoreDB ended with ${code} before it responded`))),
    ])
    ;({ port, control } = JSON.parse(line) as { port: number; control: number })
  }
  const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    if (child === undefined || !isRunning()) return
    const exited = once(child, 'exit')
    child.kill(signal)
    child.kill('SIGCONT') // a frozen process could not end
    await exited
  }
  const command = async (path: string, body?: object, signal?: AbortSignal) => {
    const response = await fetch(`http://127.0.0.1:${control}${path}`, {
      method: 'POST',
      ...(body && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    })
    if (!response.ok) throw new Error(`the double of EventStoreDB responded with ${response.status} to ${path}`)
    return (await response.json()) as { calls: Record<Method, number>; role: Role }
  }

  await start()
  return {
    url: `esdb://127.0.0.1:${port}?tls=${options.tls !== undefined}`,
    async stop() {
      await end('SIGTERM')
      if (options.data === undefined) await rm(data, { recursive: true, force: true })
    },
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGTERM')
      await start()
    },
    freeze() {
      child?.kill('SIGSTOP')
    },
    thaw() {
      child?.kill('SIGCONT')
    },
    async drop() {
      await command('/drop')
    },
    async fail(settings) {
      await command('/faults', settings)
    },
    async slow(delayMs) {
      await command('/faults', { delayMs })
    },
    async scavenge() {
      await command('/scavenge')
    },
    calls: async () => (await command('/state')).calls,
    async role() {
      if (!isRunning()) return null
      return command('/state', {}, AbortSignal.timeout(500)).then(
        ({ role }) => role,
        () => null, // it is frozen, or it is ending now
      )
    },
  }
}

export interface EventStoreDbCluster extends StoreCluster {
  readonly nodes: readonly EventStoreDbProcess[]
  leader(than?: StoreNode): Promise<EventStoreDbProcess>
}

/** Starts a cluster of three processes, and waits for its first leader. */
export async function startEventStoreDbCluster(
  options: Pick<DoubleOptions, 'tls' | 'users' | 'log'> & { readonly login?: string } = {},
): Promise<EventStoreDbCluster> {
  const { login, ...rest } = options
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-eventstoredb-'))
  const ports = await freePorts(6)
  const members = [0, 1, 2].map((i) => ({ port: ports[i]!, internal: ports[i + 3]! }))
  const nodes = await Promise.all(
    members.map(({ port }, ownIndex) =>
      startEventStoreDb({ ...rest, data: join(folder, String(ownIndex)), port, cluster: { members, own: ownIndex } }),
    ),
  )
  const leader = async (than?: StoreNode): Promise<EventStoreDbProcess> => {
    let leading: EventStoreDbProcess | undefined
    await waitFor(async () => {
      const roles = await Promise.all(nodes.map((node) => (node === than ? null : node.role())))
      leading = nodes[roles.indexOf('leader')]
      return leading !== undefined
    })
    return leading!
  }
  await leader()
  return {
    url: `esdb://${login === undefined ? '' : `${login}@`}${members.map(({ port }) => `127.0.0.1:${port}`).join(',')}?tls=${rest.tls !== undefined}`,
    nodes,
    leader,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
