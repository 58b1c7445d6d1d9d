import type { Notification, Pool, PoolClient } from 'pg'
import type { Log } from './log.ts'
import { keepRunning, pause } from './retry.ts'

/**
 * The topics of notices: new events of the store, messages of the bus, due rows of the schedule, replay jobs, builds of projections, processes,
 * leases that are free, and destroyed keys.
 */
const topics = ['events', 'messages', 'schedule', 'jobs', 'builds', 'processes', 'leases', 'keys'] as const
export type Topic = (typeof topics)[number]

/**
 * Notices between the processes on one database, by NOTIFY of Postgres. A notice only says that there is something new to read, so that
 * readers need not poll often. A notice may be lost. So every reader also queries the database after `pollMs` without a notice.
 */
export interface Notices {
  /** Tells the other processes, within some milliseconds. Does nothing while this is the only process. Never throws. */
  tellOthers(topic: Topic): void
  /** Calls the listeners of this process at once, and tells the other processes. */
  tell(topic: Topic): void
  /** Calls the listener at each notice, and whenever notices may have been lost. Returns a function that removes the listener. */
  on(topic: Topic, listener: () => void): () => void
  /**
   * Milliseconds without a notice after which a reader queries the database: 10,000 while this is the only process, 2,000 beside others, and 50 while no
   * notice can be received.
   */
  readonly pollMs: number
}

const channel = 'kolbak'
const pollMs = { alone: 10_000, besideOthers: 2_000, withoutNotices: 50 }
/** The most milliseconds for which a reader sleeps without a notice, because `untilPoll` lengthens a pause by up to a half. */
export const longestRestMs = 1.5 * pollMs.alone
/** Milliseconds between two notices. All topics that are told within this time are sent in one notice. */
const throttleMs = 5

/** Notices of a process that sends and receives none. Tests use them, and so do commands of an operator that need no notices. */
export const noNotices: Notices = { tellOthers() {}, tell() {}, on: () => () => {}, pollMs: pollMs.withoutNotices }

/**
 * Opens the notices of this process. They take one connection of the pool for as long as they are open.
 * @param id unique to this start of the process
 * @param isAlone whether no other process is known. The topic `processes` is sent even then, because it announces a new process.
 * @param echoMs milliseconds within which the process must receive its own notice (default 5,000). Behind a pooler such as PgBouncer, notices
 * may never arrive. A warning is then logged.
 */
export function openNotices(options: {
  pool: Pool
  id: string
  log: Log
  isAlone(): boolean
  echoMs?: number
}): Notices & { close(): Promise<void> } {
  const { pool, id, log, isAlone, echoMs = 5_000 } = options
  const listeners = new Map(topics.map((topic) => [topic, new Set<() => void>()]))
  const closing = new AbortController()
  let isHeard = false

  const call = (topic: Topic) => {
    for (const listener of listeners.get(topic) ?? []) listener()
  }
  const callAll = () => {
    for (const topic of topics) call(topic)
  }
  const receive = ({ payload }: Notification) => {
    const [sender, names = ''] = (payload ?? '').split(' ')
    if (sender === id) isHeard = true
    // A process that starts or stops changes `pollMs`, so all readers query again.
    else if (names.split(',').includes('processes')) callAll()
    else for (const topic of names.split(',')) call(topic as Topic)
  }

  /** Listens on one connection until the connection is lost or the notices are closed. */
  const listen = async () => {
    const client: PoolClient = await pool.connect()
    const lost = new AbortController()
    client.on('notification', receive)
    client.on('error', () => lost.abort())
    client.on('end', () => lost.abort())
    try {
      await client.query(`listen ${channel}`)
      callAll() // notices from before this moment are lost
      await client.query(notifyStatement(`${id} `))
      const ended = AbortSignal.any([closing.signal, lost.signal])
      await pause(echoMs, ended)
      if (!ended.aborted && !isHeard) log.warn({}, 'notices.not_received')
      await untilAborted(ended)
      if (!closing.signal.aborted) throw new Error('the connection that listens for notices was lost')
    } finally {
      isHeard = false
      client.off('notification', receive)
      client.release(true) // a connection that listens must not be used for anything else
    }
  }
  const listening = keepRunning(listen, {
    signal: closing.signal,
    onError(error, delayMs) {
      callAll()
      log.warn({ error, delayMs }, 'notices.failed')
    },
  })

  const pending = new Set<Topic>()
  let sending: Promise<void> | null = null
  const send = async () => {
    while (pending.size > 0) {
      const names = [...pending].join(',')
      pending.clear()
      // If a notice fails, the other processes only find the change later, because they also query without notices.
      await pool.query(notifyStatement(`${id} ${names}`)).catch((error: unknown) => log.debug({ error }, 'notices.not_sent'))
      await pause(throttleMs)
    }
    sending = null
  }
  const tellOthers = (topic: Topic) => {
    if (closing.signal.aborted || (topic !== 'processes' && isAlone())) return
    pending.add(topic)
    sending ??= send()
  }
  return {
    tellOthers,
    tell(topic) {
      if (topic === 'processes') callAll()
      else call(topic)
      tellOthers(topic)
    },
    on(topic, listener) {
      listeners.get(topic)?.add(listener)
      return () => listeners.get(topic)?.delete(listener)
    },
    get pollMs() {
      if (!isHeard) return pollMs.withoutNotices
      return isAlone() ? pollMs.alone : pollMs.besideOthers
    },
    async close() {
      await sending
      closing.abort()
      await listening
    },
  }
}

const notifyStatement = (payload: string) => ({ name: 'notices-notify', text: `select pg_notify('${channel}', $1)`, values: [payload] })

/** Resolves when the signal aborts. */
const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
