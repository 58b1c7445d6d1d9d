import { isIP, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls'
import { LRUCache } from 'lru-cache'
import type { Address, AddressPolicy } from '../lib/addresses.ts'
import { codeOf } from '../lib/errors.ts'
import type { Resolution, Resolve } from '../lib/resolve.ts'
import { failureOf, RequestFailed } from './failure.ts'
import { alternatingFamilies, startRace } from './race.ts'

/** The scheme, host and port to which a connection leads. */
export interface Endpoint {
  /** The origin of the URL. It identifies the endpoint. */
  readonly origin: string
  readonly isTls: boolean
  /** A name, or an IP address without brackets. */
  readonly host: string
  readonly port: number
}
/** The milliseconds that each step of a new connection took. */
export interface ConnectTimings {
  /** Null if the URL has an IP address. */
  readonly dns_ms: number | null
  readonly connect_ms: number
  /** Null for plain HTTP. */
  readonly tls_ms: number | null
}
export interface OpenedSocket {
  /** A paused socket that has a listener for errors. */
  readonly socket: Socket
  readonly timings: ConnectTimings
}
/** Opens a connection. Throws RequestFailed. */
export type Connect = (endpoint: Endpoint) => Promise<OpenedSocket>

const refused = new RequestFailed({
  reason: 'address_refused',
  detail:
    'An address of the host is neither public nor in KOLBAK_ALLOWED_SUBNETS, or the URL uses http and the host may be reached only with https. ' +
    'Nothing was sent.',
})

/**
 * Returns a function that connects, but only to addresses that the policy allows. It checks an IP address in the URL, every resolved address, and
 * the address of the connected socket. A check of the name alone would not be enough, because the name may resolve to another address a moment later.
 */
export function createConnector(options: {
  readonly policy: AddressPolicy
  readonly resolve: Resolve
  /** The most milliseconds for resolving the name, connecting and the TLS handshake together. */
  readonly timeoutMs: number
  /** PEM certificates of the authorities to trust, instead of the public authorities. */
  readonly ca?: string | undefined
}): Connect {
  const { policy, resolve, timeoutMs, ca } = options
  // All connections share one context, because making a context reads the certificates of all public authorities.
  let secureContext: SecureContext | undefined
  const sessions = new LRUCache<string, Buffer>({ max: 2_000 })
  const lastAddresses = new LRUCache<string, string>({ max: 10_000 })

  const connectTcp = async (endpoint: Endpoint, signal: AbortSignal, onResolved: () => void): Promise<Socket> => {
    const { host, port, isTls } = endpoint
    const allowed = ({ address }: Address) => policy.allows(address) && (isTls || policy.allowsPlainHttp(address))
    const family = isIP(host)
    const { addresses, lateAddresses }: Resolution =
      family === 0 ? await resolve(host) : { addresses: [{ address: host, family: family === 4 ? 4 : 6 }] }
    if (!addresses.every(allowed)) throw refused
    signal.throwIfAborted()
    onResolved()
    const race = startRace(port)
    signal.addEventListener('abort', race.stop)
    race.add(alternatingFamilies(addresses, lastAddresses.get(host)))
    if (lateAddresses === undefined) race.allAdded()
    else
      void lateAddresses.then((otherFamily) => {
        race.add(otherFamily.filter(allowed))
        race.allAdded()
      })
    const socket = await race.winner
    const { remoteAddress = '' } = socket
    if (!allowed({ address: remoteAddress, family: 4 })) {
      socket.destroy()
      throw refused
    }
    if (addresses.length > 1 || lateAddresses !== undefined) lastAddresses.set(host, remoteAddress)
    return socket
  }

  const startTls = (socket: Socket, { host, port }: Endpoint): Promise<Socket> => {
    // SNI (RFC 6066, section 3) and certificates have the name without its trailing dot.
    const name = host.replace(/\.$/, '')
    const key = `${name}:${port}`
    const session = sessions.get(key)
    secureContext ??= createSecureContext(ca === undefined ? {} : { ca })
    const { promise, resolve: succeed, reject } = Promise.withResolvers<Socket>()
    const secure = connectTls({
      socket,
      host: name,
      secureContext,
      ALPNProtocols: ['http/1.1'],
      // Without this option, NODE_TLS_REJECT_UNAUTHORIZED=0 would switch the check of certificates off.
      rejectUnauthorized: true,
      ...(isIP(host) === 0 ? { servername: name } : {}),
      ...(session === undefined ? {} : { session }),
    })
    secure.on('session', (newSession: Buffer) => sessions.set(key, newSession))
    secure.once('secureConnect', () => succeed(secure))
    secure.on('error', (error) => {
      const failure = failureOf(error)
      if (failure.reason !== 'connection_reset') reject(error)
      else reject(new RequestFailed({ ...failure, detail: 'The host closed the connection during the TLS handshake.' }, { cause: error }))
    })
    return promise
  }

  return async (endpoint) => {
    const stopping = new AbortController()
    let tcp: Socket | undefined
    let unfinishedStep = 'The name of the host did not resolve'
    const timer = setTimeout(() => {
      stopping.abort(new RequestFailed({ reason: 'connect_timeout', detail: `${unfinishedStep} within ${timeoutMs / 1_000} s.` }))
    }, timeoutMs)
    const timedOut = new Promise<never>((_, reject) => {
      stopping.signal.addEventListener('abort', () => reject(stopping.signal.reason))
    })
    const times = [performance.now()]
    const connecting = async (): Promise<OpenedSocket> => {
      tcp = await connectTcp(endpoint, stopping.signal, () => {
        unfinishedStep = 'The host did not accept the connection'
        times.push(performance.now())
      })
      times.push(performance.now())
      unfinishedStep = 'The TLS handshake did not end'
      const socket = endpoint.isTls ? await startTls(tcp, endpoint) : tcp
      return { socket, timings: timingsOf(endpoint, [...times, performance.now()]) }
    }
    try {
      return await Promise.race([connecting(), timedOut])
    } catch (error) {
      tcp?.destroy()
      throw error instanceof RequestFailed ? error : new RequestFailed(failureOf(errorAboutHost(error)), { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }
}

/** @param times when the request for a connection began, the name was resolved, TCP was connected, and the connection was open */
function timingsOf({ host, isTls }: Endpoint, [started = 0, resolved = 0, connected = 0, opened = 0]: readonly number[]): ConnectTimings {
  return {
    dns_ms: isIP(host) === 0 ? Math.round(resolved - started) : null,
    connect_ms: Math.round(connected - resolved),
    tls_ms: isTls ? Math.round(opened - connected) : null,
  }
}

/**
 * Returns the first error that says something about the host, out of the errors of all addresses. An error that says that this machine has no IPv4 or
 * no IPv6 is returned only if there is no other.
 */
function errorAboutHost(error: unknown): unknown {
  if (!(error instanceof AggregateError)) return error
  return error.errors.find((cause) => !noNetwork.has(codeOf(cause) ?? '')) ?? error.errors[0]
}
const noNetwork = new Set(['ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT'])
