import type { BaseOptions, EventStoreDBClient } from '@eventstore/db-client'
import type { Metadata } from '@grpc/grpc-js'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { StoreUnavailable } from '../../ports/event-store.ts'
import { parseConnectionString } from './connection-string.ts'
import { type Connection, type Connections, createConnections } from './connections.ts'
import { isLeaderless, isPassing, TimedOut, toPortError } from './errors.ts'
import type { StoreHealth } from './health.ts'

/** The connection to EventStoreDB that the rest of this folder uses. */
export interface Engine {
  readonly connections: Connections
  /** Returns the headers of a call that is made without the library's client. */
  headers(): Metadata
  readonly health: StoreHealth
  /** Whether the last call failed because the engine is unavailable, or refuses the user. */
  readonly isFailing: boolean
  /** The options of every append and every read. */
  readonly callOptions: Required<Pick<BaseOptions, 'credentials' | 'requiresLeader' | 'deadline'>>
  /** Milliseconds that one try of a call may take. */
  readonly tryMs: number
  /** The most milliseconds that a call takes, with its retries. */
  readonly timeoutMs: number
  /**
   * Makes a call, up to eight times while the engine is unavailable, until `end` (a time of `performance.now()`; default `timeoutMs` from
   * now). At `end` the signal aborts. With `once` the call is made only one time, because a repeat would not be safe. Throws the errors
   * that the port names, or WrongExpectedVersionError.
   */
  ask<T>(
    stream: string,
    call: (client: EventStoreDBClient, signal: AbortSignal, connection: Connection) => Promise<T>,
    options?: { end?: number; once?: boolean },
  ): Promise<T>
}

const maxTries = 8
/**
 * Milliseconds after which one try of a call ends. A try also ends after a third of `timeoutMs`. A node of a cluster that has not responded by then
 * is given up, because a healthy server responds to a write within 2 s. The election of another leader takes about 2 s.
 */
const longestTryMs = 3_000

/**
 * Makes the connection to EventStoreDB. Throws KolbakError `invalid_config` when the connection string cannot be used.
 *
 * Every append is sent with credentials, because the client uses the RPC Append only for such appends. For other appends the client
 * 6.2.1 uses BatchAppend, which has no deadline. It also keeps all appends in flight in one map of the module. So a fault of one connection
 * fails the appends of all connections (KurrentDB-Client-NodeJS#523).
 */
export function createEngine(url: string, timeoutMs: number, log: Log, health: StoreHealth): Engine {
  const target = parseConnectionString(url)
  const connections = createConnections(target, log, health)
  const calls = health.source()
  let isFailing = false
  /** Records the result of a try in `health`. A call that the server refuses because of its content counts as a success. */
  const note = (failure: unknown) => {
    isFailing = failure instanceof StoreUnavailable
    if (isFailing) calls.failed(failure)
    else calls.succeeded()
  }
  const tryMs = Math.min(longestTryMs, timeoutMs / 3)

  const tryOnce = async <T>(
    call: (client: EventStoreDBClient, signal: AbortSignal, connection: Connection) => Promise<T>,
    end: number,
  ): Promise<T> => {
    const connection = await connectedBefore(connections, end)
    try {
      return await within(Math.max(0, Math.min(tryMs, end - performance.now())), connection.lost, (signal) =>
        call(connection.client, signal, connection),
      )
    } catch (error) {
      if (isLeaderless(error)) connections.giveUp(connection, error)
      throw error
    }
  }
  return {
    connections,
    headers: target.headers,
    health,
    get isFailing() {
      return isFailing
    },
    // In a cluster, only the leader certainly has the events that were just appended.
    callOptions: { credentials: target.user, requiresLeader: true, deadline: tryMs },
    tryMs,
    timeoutMs,
    async ask(stream, call, { end = performance.now() + timeoutMs, once = false } = {}) {
      const delays = createBackoff(50, 1_000)
      for (let tries = 1; ; tries++)
        try {
          const result = await tryOnce(call, end)
          note(null)
          return result
        } catch (error) {
          const failure = toPortError(error, stream)
          note(failure)
          const delay = delays.next()
          if (once || !isPassing(failure) || tries === maxTries || performance.now() + delay > end) throw failure
          await pause(delay)
        }
    },
  }
}

/** Waits for a connection until `end`. Throws StoreUnavailable with the reason when there is none by then. */
async function connectedBefore(connections: Connections, end: number): Promise<Connection> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(connections.problem ?? new StoreUnavailable('no leader of EventStoreDB was found in time')),
      Math.max(0, end - performance.now()),
    )
  })
  try {
    return await Promise.race([connections.current(), timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** Ends a call that takes too long or whose connection is given up. The client's own deadlines do not cover every kind of call. */
async function within<T>(ms: number, lost: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ending = new AbortController()
  let end: (error: Error) => void = () => {}
  const ended = new Promise<never>((_, reject) => {
    end = (error) => {
      reject(error)
      ending.abort()
    }
  })
  const timer = setTimeout(() => end(new TimedOut('the event store did not respond in time')), ms)
  const onLost = () => end(new StoreUnavailable('the node of the event store was given up'))
  lost.addEventListener('abort', onLost, { once: true })
  try {
    return await Promise.race([call(ending.signal), ended])
  } finally {
    clearTimeout(timer)
    lost.removeEventListener('abort', onLost)
  }
}
