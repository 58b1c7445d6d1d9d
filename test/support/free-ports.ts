import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/**
 * The ports that are tried. They lie below those that systems give to outgoing connections and to servers that listen on port 0. Such a port could be
 * taken between the choice of a port and its use.
 */
const tried = { from: 20_000, count: 12_000 }

/** Returns different ports of 127.0.0.1 that are free now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = new Map<number, Server>()
  while (servers.size < count) {
    const port = tried.from + Math.floor(Math.random() * tried.count)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') return false
        throw error
      },
    )
    if (isFree) servers.set(port, server)
  }
  await Promise.all([...servers.values()].map((server) => new Promise((closed) => server.close(closed))))
  return [...servers.keys()]
}
export const freePort = async (): Promise<number> => (await freePorts(1))[0]!
