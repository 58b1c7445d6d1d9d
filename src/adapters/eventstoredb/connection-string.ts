import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { EventStoreDBClient } from '@eventstore/db-client'
import { type ChannelCredentials, credentials as grpcCredentials, Metadata } from '@grpc/grpc-js'
import { KolbakError } from '../../lib/errors.ts'

/** Address of one node. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}
export const isSameEndpoint = (a: Endpoint, b: Endpoint): boolean => a.host === b.host && a.port === b.port

/** The content of EVENTSTOREDB_URL. */
export interface Target {
  /** The nodes that the string names, or the one DNS name for all of them. */
  readonly endpoints: readonly Endpoint[]
  /** Whether the engine is a cluster, whose leader is found by gossip. Otherwise it is a single node. */
  readonly isCluster: boolean
  /** The credentials of each call. Without TLS the client never sends them. */
  readonly user: { readonly username: string; readonly password: string }
  /** Returns the headers of a call that is made without the library's client. */
  headers(): Metadata
  /** Returns a client of this one node. */
  clientOf(endpoint: Endpoint): EventStoreDBClient
  /** Credentials of the channels on which nodes are asked for the leader. */
  readonly channelCredentials: ChannelCredentials
}

const example = 'esdb://user:password@host:port'
const pattern = /^esdb(?<discover>\+discover)?:\/\/(?:(?<username>[^:@/]+):(?<password>[^@]+)@)?(?<hosts>[^/?@]+)\/?(?<query>\?.*)?$/i

/** Reads the connection string. Throws KolbakError `invalid_config`, which never shows the password. */
export function parseConnectionString(url: string): Target {
  const { discover, username, password, hosts = '', query = '' } = pattern.exec(url.trim())?.groups ?? {}
  const isPlain = /[?&]tls=false(&|$)/i.test(query)
  const endpoints = hosts.split(',').map((text): Endpoint => {
    const [, host = '', port = '2113'] = /^(.+?)(?::(\d+))?$/.exec(text.trim()) ?? []
    return { host, port: Number(port) }
  })
  const userInfo = username === undefined ? '' : `${username}:${password}@`
  const clientOf = (endpoint: Endpoint): EventStoreDBClient => {
    try {
      return EventStoreDBClient.connectionString(`esdb://${userInfo}${endpoint.host}:${endpoint.port}${query}`)
    } catch (error) {
      // The client's error for an invalid string contains the whole string with the password. So it is not passed on as the cause.
      const reason = error instanceof Error && !('connectionString' in error) ? `: ${error.message}` : ''
      throw new KolbakError('invalid_config', `EVENTSTOREDB_URL is not a connection string such as ${example}${reason}.`)
    }
  }
  if (endpoints[0]?.host === '' || endpoints[0] === undefined || endpoints.some(({ host }) => /[:\s]/.test(host)))
    throw new KolbakError('invalid_config', `EVENTSTOREDB_URL is not a connection string such as ${example}.`)
  clientOf(endpoints[0]) // this call throws for a setting that the client does not know
  if (!isPlain && username === undefined)
    throw new KolbakError('invalid_config', `EVENTSTOREDB_URL needs a user because it speaks TLS: ${example} (without TLS: ?tls=false).`)
  const user = isPlain
    ? { username: 'none', password: 'none' }
    : { username: decodeURIComponent(username!), password: decodeURIComponent(password!) }
  return {
    endpoints,
    isCluster: discover !== undefined || endpoints.length > 1,
    user,
    headers() {
      const headers = new Metadata()
      headers.set('requires-leader', 'true')
      if (!isPlain) headers.set('authorization', `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`)
      return headers
    },
    clientOf,
    channelCredentials: isPlain ? grpcCredentials.createInsecure() : tlsOf(new URLSearchParams(query)),
  }
}

function tlsOf(settings: URLSearchParams): ChannelCredentials {
  const fileOf = (name: string): Buffer | null => {
    const [, path] = [...settings].find(([key]) => key.toLowerCase() === name.toLowerCase()) ?? []
    return path === undefined ? null : readFileSync(isAbsolute(path) ? path : resolve(path))
  }
  return grpcCredentials.createSsl(fileOf('tlsCAFile'), fileOf('userKeyFile'), fileOf('userCertFile'))
}
