import { type BaseOptions, EventStoreDBClient } from '@eventstore/db-client'
import { KolbakError } from '../../lib/errors.ts'
import { backoff, pause } from '../../lib/retry.ts'
import { StoreUnavailable } from '../../ports/event-store.ts'
import { isPassing, toPortError } from './errors.ts'

/** EventStoreDB, as the rest of this folder asks it. */
export interface Engine {
  readonly client: EventStoreDBClient
  /** What every append and every read carries. */
  readonly callOptions: Required<Pick<BaseOptions, 'credentials' | 'requiresLeader' | 'deadline'>>
  /**
   * Makes a call, which must be idempotent, up to five times while the engine is away, within `timeoutMs` in all; then the
   * signal aborts. Throws the port's errors, or WrongExpectedVersionError.
   */
  ask<T>(stream: string, call: (signal: AbortSignal) => Promise<T>): Promise<T>
}

const maxTries = 5

/**
 * Every append is given credentials of its own, because only then it goes by the RPC Append. Without them the client 6.2.1
 * takes BatchAppend, which knows no deadline and keeps what is under way in one map of the whole module, so that a fault of
 * one connection fails the appends of all (KurrentDB-Client-NodeJS#523). Without TLS the client sends none, whatever it is given.
 * Throws when the connection string is not one.
 */
export function engineAt(url: string, timeoutMs: number): Engine {
  const client = clientOf(url)
  const isPlain = /[?&]tls=false(&|$)/i.test(url)
  const [, username, password] = /^[^:]+:\/\/([^:@/]+):([^@]+)@/.exec(url.trim()) ?? []
  if (!isPlain && (username === undefined || password === undefined))
    throw new KolbakError(
      'invalid_config',
      'EVENTSTOREDB_URL needs a user where TLS is spoken: esdb://user:password@host:port (without TLS: ?tls=false).',
    )
  const credentials = isPlain
    ? { username: 'none', password: 'none' }
    : { username: decodeURIComponent(username!), password: decodeURIComponent(password!) }
  return {
    client,
    // Of a cluster only the leader has for certain what was just appended.
    callOptions: { credentials, requiresLeader: true, deadline: timeoutMs },
    async ask(stream, call) {
      const delays = backoff(50, 1_000)
      const end = performance.now() + timeoutMs
      for (let tries = 1; ; tries++)
        try {
          return await within(end - performance.now(), call)
        } catch (error) {
          const failure = toPortError(error, stream)
          const delay = delays.next()
          if (!isPassing(failure) || tries === maxTries || performance.now() + delay > end) throw failure
          await pause(delay)
        }
    },
  }
}

function clientOf(url: string): EventStoreDBClient {
  try {
    return EventStoreDBClient.connectionString(url)
  } catch (error) {
    // The client's error of a string that it cannot parse carries all of it, with the password: so it is not the cause.
    const reason = error instanceof Error && !('connectionString' in error) ? `: ${error.message}` : ''
    throw new KolbakError('invalid_config', `EVENTSTOREDB_URL is no connection string such as esdb://user:password@host:port${reason}.`)
  }
}

/** The client has deadlines, but none while it looks for the node of a cluster to talk to. */
async function within<T>(ms: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const tooLong = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new StoreUnavailable('the event store did not answer in time'))
      tooLong.abort()
    }, ms)
  })
  try {
    return await Promise.race([call(tooLong.signal), late])
  } finally {
    clearTimeout(timer)
  }
}
