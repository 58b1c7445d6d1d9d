import { type BaseOptions, EventStoreDBClient } from '@eventstore/db-client'

export interface Connection {
  readonly client: EventStoreDBClient
  /** What every call carries. */
  readonly callOptions: Pick<BaseOptions, 'credentials' | 'requiresLeader'>
}

/**
 * A client for the connection string, and credentials to give with each call. Only an append with credentials of its own
 * goes by the RPC Append: without them the client 6.2.1 takes BatchAppend, which knows no deadline and keeps the appends
 * under way in a map of the whole module, so that a fault of one connection fails those of all (kurrent-io/KurrentDB-Client-NodeJS#523).
 * Without TLS the client sends no credentials whatever it is given. Throws when the string is not one.
 */
export function connect(url: string): Connection {
  const client = EventStoreDBClient.connectionString(url)
  const isPlain = /[?&]tls=false(&|$)/i.test(url)
  const [, username, password] = /^[^:]+:\/\/([^:@/]+):([^@]+)@/.exec(url.trim()) ?? []
  if (!isPlain && (username === undefined || password === undefined))
    throw new Error('a connection to EventStoreDB with TLS needs a user: esdb://user:password@host:port (or ?tls=false without TLS)')
  const credentials = isPlain
    ? { username: 'none', password: 'none' }
    : { username: decodeURIComponent(username!), password: decodeURIComponent(password!) }
  // The leader alone has what was just appended.
  return { client, callOptions: { credentials, requiresLeader: true } }
}
