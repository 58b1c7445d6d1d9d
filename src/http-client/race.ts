import { connect, type Socket } from 'node:net'
import type { Address } from '../lib/addresses.ts'

/** After this many milliseconds without success, the next address is tried at the same time (RFC 8305, 8). */
const attemptDelayMs = 250

export interface Race {
  /** Resolves with the first socket that connects. Rejects with the errors of all addresses when all have failed. */
  readonly winner: Promise<Socket>
  /** Adds addresses to try. */
  add(addresses: readonly Address[]): void
  /** Says that no more addresses will be added, so that the race can fail. */
  allAdded(): void
  /** Closes all sockets that have not won. */
  stop(): void
}

/**
 * Connects to the first address that accepts (RFC 8305, 5). The next address is tried after 250 ms, or at once when all earlier ones have failed.
 * Earlier attempts continue meanwhile.
 *
 * Node's own `autoSelectFamily` is not used, because it gives up every address except the last after 250 ms. A good address that takes longer is then
 * never reached (https://github.com/nodejs/node/issues/54359).
 */
export function startRace(port: number): Race {
  const waiting: Address[] = []
  const sockets = new Set<Socket>()
  const errors: unknown[] = []
  let areAllAdded = false
  let isOver = false
  /** The timer until the next address is tried. */
  let timer: NodeJS.Timeout | undefined
  const { promise: winner, resolve, reject } = Promise.withResolvers<Socket>()
  const stop = () => {
    isOver = true
    clearTimeout(timer)
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  const next = () => {
    if (isOver) return
    clearTimeout(timer)
    timer = undefined
    const address = waiting.shift()
    if (address === undefined) {
      if (sockets.size > 0 || !areAllAdded) return
      isOver = true
      reject(new AggregateError(errors, 'no address of the host accepted the connection'))
      return
    }
    const socket = connect({ host: address.address, port, family: address.family, autoSelectFamily: false, noDelay: true })
    sockets.add(socket)
    socket.once('connect', () => {
      sockets.delete(socket)
      stop()
      resolve(socket)
    })
    socket.on('error', (error) => {
      errors.push(error)
      sockets.delete(socket)
      next()
    })
    timer = setTimeout(next, attemptDelayMs)
  }
  return {
    winner,
    add(addresses) {
      waiting.push(...addresses)
      if (timer === undefined) next()
    },
    allAdded() {
      areAllAdded = true
      if (sockets.size === 0 && waiting.length === 0) next()
    },
    stop,
  }
}

/**
 * Orders the addresses so that the families alternate (RFC 8305, 4). IPv4 comes first, because it works more often. @param preferred the address that
 * connected last
 */
export function alternatingFamilies(addresses: readonly Address[], preferred: string | undefined): Address[] {
  const four = addresses.filter(({ family }) => family === 4)
  const six = addresses.filter(({ family }) => family === 6)
  const mixed: Address[] = []
  for (let i = 0; i < Math.max(four.length, six.length); i++) mixed.push(...four.slice(i, i + 1), ...six.slice(i, i + 1))
  const first = mixed.find(({ address }) => address === preferred)
  return first === undefined ? mixed : [first, ...mixed.filter((address) => address !== first)]
}
