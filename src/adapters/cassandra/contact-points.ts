/** The port on which a node of Cassandra listens for clients if none is configured. */
const defaultPort = 9_042

/**
 * Returns the port of the nodes that no contact point names. Cassandra tells their addresses but not their ports, so the driver connects to all of them
 * on one port: the port of the contact points, if they all have the same one.
 * @param contactPoints each as `host` or `host:port`
 */
export function portOf(contactPoints: readonly string[]): number {
  const ports = new Set(contactPoints.map((contactPoint) => Number(/^(?:\[.*\]|[^:]*):(\d+)$/.exec(contactPoint)?.[1] ?? defaultPort)))
  return ports.size === 1 ? [...ports][0]! : defaultPort
}
