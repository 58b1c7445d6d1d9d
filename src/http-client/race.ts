import { connect, type Socket } from 'node:net'
import type { Address } from '../lib/addresses.ts'

/** How long an attempt to connect goes on alone before the next address is tried beside it (RFC 8305, 8). */
const attemptDelayMs = 250

export interface Race {
  /** The first socket that connects; rejects with the errors of all addresses when every one of them has failed. */
  readonly winner: Promise<Socket>
  /** Adds addresses. */
  add(addresses: readonly Address[]): void
  /** No more addresses will be added. */
  complete(): void
  /** Closes all sockets that have not won. */
  stop(): void
}

/**
 * Connects to the first address that accepts, as RFC 8305 (5) says: each address has all the time there is, and a later one is
 * tried beside it after 250 ms, or at once when all before it have failed.
 *
 * Node's own `autoSelectFamily` gives up each address but the last after 250 ms, so that a good address that takes longer is never
 * reached (https://github.com/nodejs/node/issues/54359).
 */
export function startRace(port: number): Race {
  const waiting: Address[] = []
  const sockets = new Set<Socket>()
  const errors: unknown[] = []
  let isComplete = false
  let isOver = false
  /** Runs while the newest attempt goes on alone. */
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
      if (sockets.size > 0 || !isComplete) return
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
    complete() {
      isComplete = true
      if (sockets.size === 0 && waiting.length === 0) next()
    },
    stop,
  }
}

/** Puts the families in turn (RFC 8305, 4), beginning with IPv4 because it is the one that works more often. @param preferred the address that connected last */
export function inTurn(addresses: readonly Address[], preferred: string | undefined): Address[] {
  const four = addresses.filter(({ family }) => family === 4)
  const six = addresses.filter(({ family }) => family === 6)
  const mixed: Address[] = []
  for (let i = 0; i < Math.max(four.length, six.length); i++) mixed.push(...four.slice(i, i + 1), ...six.slice(i, i + 1))
  const first = mixed.find(({ address }) => address === preferred)
  return first === undefined ? mixed : [first, ...mixed.filter((address) => address !== first)]
}
