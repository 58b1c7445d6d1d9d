import { ulid } from 'ulid'
import { appendLogEvent } from '../commands/log-events.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { defaultTenant, type EventId } from '../events/ids.ts'
import { logStream } from '../events/log.ts'
import { step } from '../events/steps.ts'
import { uuidV5 } from '../events/uuid.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import type { EventStore } from '../ports/event-store.ts'
import { whenAvailable } from './patience.ts'
import type { Shared } from './shared.ts'

const startedId = uuidV5('log', 'started') as EventId
const attemptMacsId = uuidV5('log', 'attempt macs') as EventId
/** Milliseconds between two checks whether the log has started or can start. */
const lookMs = 2_000

/**
 * Starts the audit log: appends LogStarted, from which on every command event must have a MAC, and AttemptMacsStarted, from which on every attempt must
 * have one. Each event is appended as soon as every live process writes such MACs. Until then, this process waits in the background. A log that has
 * started stays as it is.
 */
export async function startLog(shared: Shared): Promise<void> {
  const { macs, parts, patience, log } = shared
  await whenAvailable('event store', () => tryToStart(shared), patience)
  if (macs.attemptsStart !== null) return
  log.info({}, 'log.waiting_for_older_processes')
  const stopping = new AbortController()
  const waiting = keepRunning(
    async () => {
      await pause(lookMs, stopping.signal)
      if (!stopping.signal.aborted) await tryToStart(shared)
      if (macs.attemptsStart !== null) stopping.abort()
    },
    { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.start_failed') },
  )
  parts.add('log start', async () => {
    stopping.abort()
    await waiting
  })
}

async function tryToStart(shared: Shared): Promise<void> {
  const { macs, live } = shared
  await macs.refresh()
  if (macs.start === null && (await live.allWrite('writes_macs'))) await startCommands(shared)
  if (macs.start !== null && macs.attemptsStart === null && (await live.allWrite('writes_attempt_macs'))) await startAttempts(shared)
}

async function startCommands({ macs, streams, keyring, log }: Shared): Promise<void> {
  const { origin, vkey } = await openLogSigner(keyring)
  const decided = { id: startedId, type: 'LogStarted', data: { origin, vkey } }
  const author = {
    actor: 'system:log',
    tenant: defaultTenant,
    time: new Date().toISOString(),
    $correlationId: ulid(),
    $causationId: null,
  } as const
  // Two processes may append LogStarted at the same time. They use the same id, so both get the position of the first append.
  const noPast = { events: [], revision: -1, position: null, hash: null }
  const { position } = await step('log.start', () => streams.append(logStream, [decided], 'none', noPast, author))
  await step('log.start_position', () => macs.setStarts({ commands: position }))
  log.info({ origin, vkey }, 'log.started')
}

async function startAttempts({ store, macs, streams, log }: Shared): Promise<void> {
  // The event exists already if a process died before it stored the position, or if somebody has put back an older state of the secret
  // with the key of the MACs, which holds this position too.
  const existing = await findLogEvent(store, attemptMacsId)
  const append = () => appendLogEvent({ store, streams }, { id: attemptMacsId, type: 'AttemptMacsStarted', data: {}, now: new Date() })
  const position = existing?.position ?? (await step('log.start', append))
  await step('log.start_position', () => macs.setStarts({ attempts: position }))
  log.info({}, 'log.attempt_macs_started')
}

const eventsPerRead = 500
/** Returns an event about the audit log by its id, or null. It reads the whole stream, which is normally needed only once in the life of a database. */
async function findLogEvent(store: Pick<EventStore, 'read'>, id: EventId): Promise<RecordedEvent | null> {
  for (let from = 0; ; from += eventsPerRead) {
    const events = await store.read(logStream, { from, limit: eventsPerRead })
    const match = events.find((event) => event.id === id)
    if (match !== undefined) return match
    if (events.length < eventsPerRead) return null
  }
}
